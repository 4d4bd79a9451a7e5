"""What holds for every rule of the registry."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules
from jaxopt_lab.core import precision, vectors
from jaxopt_lab.rules import REGISTRY, RuleSpec

NAMES = sorted(REGISTRY)
STEPS = 4
HALVES, SINGLES = ("float16", "bfloat16"), ("float32",)
# Two compilations of one step fuse multiplications and additions in other ways, and every processor in its own: up to 15
# eps apart after four steps, where a rule divides by small differences (barzilai_borwein, Krylov spaces). In float64 that
# is 3e-15, and this bound is no matter of a processor.
SAME = {"rtol": 1e-12, "atol": 1e-12}
TRACED = {
    name: {key: value for key, value in spec.defaults.items() if isinstance(value, float)}
    for name, spec in REGISTRY.items()
}


def tree(dtype=jnp.float32) -> dict:
    """Parameters with a matrix, a 0-d leaf and an empty leaf."""
    return {
        "matrix": jnp.linspace(-1, 1, 6).reshape(2, 3).astype(dtype),
        "scalar": jnp.asarray(0.5, dtype),
        "empty": jnp.zeros((0, 3), dtype),
    }


def gradient(params):
    """Gradient of a quadratic with eigenvalues 0.1, 0.2, ... along each leaf, in the leaf's own dtype."""

    def of_leaf(leaf):
        return (0.1 + 0.1 * jnp.arange(leaf.size).reshape(leaf.shape)).astype(leaf.dtype) * leaf

    return jax.tree.map(of_leaf, params)


def value(params):
    return sum(jnp.sum(vectors.widened(jnp.abs(leaf)) ** 2) for leaf in jax.tree.leaves(params))


def take(rule, params, state, grads=None):
    """One update with every extra input that a rule may need."""
    grads = gradient(params) if grads is None else grads
    extra = {"value": value(params), "grad": grads, "value_fn": value, "grad_fn": gradient}
    updates, state = optax.with_extra_args_support(rule).update(grads, state, params, **extra)
    return optax.apply_updates(params, updates), state


def walk(rule, params, steps=STEPS):
    state = rule.init(params)
    for _ in range(steps):
        params, state = take(rule, params, state)
    return params, state


def stepper(spec):
    """One compiled step of a rule whose hyperparameters are arguments."""
    return jax.jit(lambda hyper, params, state: take(spec.build(**hyper), params, state))


@pytest.fixture(params=NAMES)
def spec(request) -> RuleSpec:
    return REGISTRY[request.param]


@pytest.fixture
def wide():
    with precision("float64"):
        yield


@pytest.fixture
def traced(spec) -> dict:
    return {key: value for key, value in spec.defaults.items() if isinstance(value, float)}


def test_entry_is_complete(spec):
    assert spec.reference
    assert set(spec.needs) <= {"value", "grad", "value_fn", "grad_fn"}
    assert spec.build().init(tree()) is not None


def test_jit_equals_eager(spec, wide):
    rule, start = spec.build(), tree(jnp.float64)
    jitted = jax.jit(lambda params, state: take(rule, params, state))
    params, state = start, rule.init(start)
    for _ in range(STEPS):
        params, state = jitted(params, state)
    chex.assert_trees_all_close((params, state), walk(rule, start), **SAME)


def test_scan_keeps_structure_shape_and_dtype(spec, wide):
    rule, params = spec.build(), tree(jnp.float64)
    start = (params, rule.init(params))
    end, _ = jax.lax.scan(lambda carry, _: (take(rule, *carry), None), start, length=STEPS)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, end)
    chex.assert_trees_all_close(end[0], walk(rule, params)[0], **SAME)


# A Krylov space takes seconds to compile, and other laws run it in these dtypes.
COVERED = {(name, dtype) for name in NAMES if "num_products" in REGISTRY[name].defaults for dtype in HALVES + SINGLES}


@pytest.mark.parametrize(
    ("spec", "dtype"),
    [
        pytest.param(name, dtype, marks=[pytest.mark.slow] * ((name, dtype) in COVERED))
        for name in NAMES
        for dtype in (*HALVES, *SINGLES, "float64", "complex64")
    ],
    indirect=["spec"],
)
def test_dtypes_are_kept_with_traced_hyperparameters(spec, traced, dtype):
    with precision("float64" if dtype == "float64" else "float32"):
        start, step = tree(dtype), stepper(spec)
        params, state = start, spec.build().init(start)
        for _ in range(3):
            params, state = step(traced, params, state)
        chex.assert_trees_all_equal_shapes_and_dtypes(start, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(spec.build().init(start), state)
        assert float(value(params)) < float(value(start))


@pytest.mark.parametrize("dtype", [*HALVES, *SINGLES])
def test_the_state_is_finite_at_the_start(spec, dtype):
    chex.assert_tree_all_finite(spec.build().init(tree(dtype)))


def test_counts_stay_at_the_end_of_int32(spec):
    most = jnp.iinfo(jnp.int32).max
    params, state = tree(), spec.build().init(tree())
    full = jax.tree.map(lambda leaf: jnp.full_like(leaf, most) if leaf.dtype == jnp.int32 else leaf, state)
    for _ in range(2):
        params, full = stepper(spec)({}, params, full)
    counts = [leaf for leaf in jax.tree.leaves(full) if leaf.dtype == jnp.int32]
    assert all(int(count) >= 0 for count in counts)
    chex.assert_tree_all_finite(params)


def test_mixed_dtypes_are_kept(spec):
    start = {"half": jnp.ones(3, jnp.bfloat16), "full": jnp.ones(3, jnp.float32), "complex": jnp.ones(2, jnp.complex64)}
    end, _ = walk(spec.build(), start)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, end)


def test_vmap_over_traced_hyperparameters_equals_a_loop(spec, traced, wide):
    scales, start = jnp.array([0.5, 0.75, 1.0]), tree(jnp.float64)
    lanes = {key: jnp.asarray(value, jnp.float64) * scales for key, value in traced.items()}
    step = stepper(spec)
    together = jax.jit(jax.vmap(step, axis_size=3))
    state = jax.vmap(lambda hyper: spec.build(**hyper).init(start), axis_size=3)(lanes)
    params = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), start)
    for _ in range(STEPS):
        params, state = together(lanes, params, state)
    for k in range(3):
        alone, inner = start, spec.build().init(start)
        for _ in range(STEPS):
            alone, inner = step({key: lane[k] for key, lane in lanes.items()}, alone, inner)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, k=k: leaf[k], params), alone, **SAME)


def test_parameters_and_state_may_be_donated_from_the_first_step(spec, wide):
    rule = spec.build()
    params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree(jnp.float64))
    state = rule.init(params)
    expected = walk(rule, tree(jnp.float64), 2)[0]
    step = jax.jit(lambda params, state: take(rule, params, state), donate_argnums=(0, 1))
    for _ in range(2):
        params, state = step(params, state)
    chex.assert_trees_all_close(params, expected, **SAME)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("size", [0.0, "tiny", "huge"])
def test_gradients_of_any_size_stay_finite(spec, dtype, size):
    limits = jnp.finfo(dtype)
    number = {"tiny": float(limits.tiny), "huge": float(limits.max) / 8}.get(size, size)
    rule = spec.build()
    params = {"leaf": jnp.ones(3, dtype)}
    state = rule.init(params)
    for _ in range(2):
        grads = {"leaf": jnp.asarray([number, -number, 0.0], dtype)}
        extra = {"value": jnp.float32(1), "value_fn": value, "grad_fn": lambda _, grads=grads: grads}
        updates, state = optax.with_extra_args_support(rule).update(grads, state, params, **extra)
        assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves((updates, state)) if leaf.dtype != int)


def test_masked_leaves_pass_untouched(spec):
    if "grad_fn" in spec.needs:
        pytest.skip("grad_fn maps whole parameters, of which a masked rule sees a part")
    mask = {"matrix": True, "scalar": False, "empty": True}
    rule = optax.masked(spec.build(), mask)
    grads = gradient(tree())
    updates, _ = rule.update(grads, rule.init(tree()), tree())
    alone = spec.build()
    part = {"matrix": tree()["matrix"], "empty": tree()["empty"]}
    expected, _ = alone.update({"matrix": grads["matrix"], "empty": grads["empty"]}, alone.init(part), part)
    chex.assert_trees_all_close(updates["matrix"], expected["matrix"], rtol=1e-6)  # the same operations, 8 eps
    chex.assert_trees_all_equal(updates["scalar"], grads["scalar"])


def test_partition_gives_each_group_its_rule(spec):
    if "grad_fn" in spec.needs:
        pytest.skip("grad_fn maps whole parameters, of which a partitioned rule sees a part")
    labels = {"matrix": "ours", "scalar": "plain", "empty": "ours"}
    rule = optax.partition({"ours": spec.build(), "plain": optax.sgd(1.0)}, labels)
    updates, _ = rule.update(gradient(tree()), rule.init(tree()), tree())
    chex.assert_trees_all_close(updates["scalar"], -gradient(tree())["scalar"], rtol=1e-6)  # one product
    assert float(jnp.abs(updates["matrix"]).sum()) > 0


def test_multi_steps_equals_the_mean_gradient(spec):
    rule = optax.MultiSteps(spec.build(), every_k_schedule=2)
    params, state = tree(), rule.init(tree())

    @jax.jit
    def step(params, state):
        updates, state = rule.update(gradient(params), state, params, value=value(params), grad_fn=gradient)
        return optax.apply_updates(params, updates), state

    for _ in range(2 * STEPS):
        params, state = step(params, state)
    chex.assert_trees_all_close(params, walk(spec.build(), tree())[0], rtol=1e-5, atol=1e-6)  # float32 means


def test_injected_hyperparameters_give_the_same_steps(spec):
    rule = optax.inject_hyperparams(spec.factory)(**spec.defaults)
    injected, state = walk(rule, tree())
    for key in (key for key, value in spec.defaults.items() if isinstance(value, float)):
        assert key in state.hyperparams
    # A hyperparameter rounded to float32 and used in another order: up to 15 eps after four steps, as for SAME.
    chex.assert_trees_all_close(injected, walk(spec.build(), tree())[0], rtol=1e-5, atol=1e-6)


def test_chains_with_optax(spec):
    rule = optax.chain(optax.clip(10.0), spec.build(), optax.scale(0.5))
    assert float(value(walk(rule, tree())[0])) < float(value(tree()))


def test_runs_inside_apply_if_finite(spec):
    rule = optax.apply_if_finite(optax.with_extra_args_support(spec.build()), max_consecutive_errors=3)
    bad = jax.tree.map(lambda leaf: leaf * jnp.nan, tree())
    extra = {"value": jnp.float32(1), "grad_fn": lambda _: bad}
    updates, state = rule.update(bad, rule.init(tree()), tree(), **extra)
    assert int(state.total_notfinite) == 1
    assert all(bool((leaf == 0).all()) for leaf in jax.tree.leaves(updates))


def test_sharding_is_kept_on_four_devices(spec, wide):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    params = {"leaf": jax.device_put(jnp.linspace(-1, 1, 8), place)}
    rule = spec.build()
    state = jax.jit(rule.init)(params)
    params, state = jax.jit(lambda params, state: take(rule, params, state))(params, state)
    assert params["leaf"].sharding.is_equivalent_to(place, 1)
    expected = walk(rule, {"leaf": jnp.linspace(-1, 1, 8)}, 1)[0]
    np.testing.assert_allclose(params["leaf"], expected["leaf"], **SAME)


def test_a_new_learning_rate_does_not_recompile(spec, traced):
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(hyper, params, state):
        return take(spec.build(**hyper), params, state)

    state = spec.build().init(tree())
    for scale in (1.0, 0.5, 0.25):
        step({key: jnp.float32(value * scale) for key, value in traced.items()}, tree(), state)


def test_update_is_pure(spec):
    rule = spec.build()
    params = tree()
    state = rule.init(params)
    before = jax.tree.map(np.array, (params, state))
    first, second = take(rule, params, state), take(rule, params, state)
    chex.assert_trees_all_equal(first, second)
    chex.assert_trees_all_equal(before, jax.tree.map(np.array, (params, state)))


def test_is_differentiable_in_its_hyperparameters(spec, traced):
    def final(hyper):
        return value(walk(spec.build(**hyper), {"leaf": jnp.linspace(0.5, 1, 4)}, 3)[0])

    slopes = jax.grad(final)({key: jnp.float32(value) for key, value in traced.items()})
    assert all(bool(jnp.isfinite(slope)) for slope in jax.tree.leaves(slopes))
    if "learning_rate" in traced:
        step = 1e-2
        rate = traced["learning_rate"]
        ends = [float(final({**traced, "learning_rate": jnp.float32(rate + sign * step)})) for sign in (1, -1)]
        # central difference of a smooth function in float32: truncation 1e-4, rounding 1e-5
        assert float(slopes["learning_rate"]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=2e-2, abs=1e-3)


def test_schedules_are_followed():
    halves = optax.piecewise_constant_schedule(0.2, {2: 0.5})
    for name in ("sgd", "heavy_ball", "quasi_hyperbolic", "aggregated_momentum"):
        spec = REGISTRY[name]
        scheduled, _ = walk(spec.build(learning_rate=halves), tree(), 4)
        rule, params, state = spec.build(learning_rate=0.2), tree(), None
        state = rule.init(params)
        for k in range(4):
            if k == 2:
                rule = spec.build(learning_rate=0.1)
            params, state = take(rule, params, state)
        chex.assert_trees_all_close(scheduled, params, rtol=1e-6)  # one rounding of the rate a step


def test_every_public_factory_is_in_the_registry():
    factories = {spec.factory for spec in REGISTRY.values()}
    readers = {rules.averaged_params, rules.RuleSpec}
    public = {getattr(rules, name) for name in rules.__all__ if callable(getattr(rules, name))}
    assert public - readers == factories


def test_unknown_extra_inputs_are_ignored(spec):
    rule = spec.build()
    extra = {"grad_fn": gradient, "something_else": 1}
    updates, _ = rule.update(gradient(tree()), rule.init(tree()), tree(), **extra)
    chex.assert_trees_all_equal_shapes(updates, tree())


def test_init_takes_abstract_parameters(spec):
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree(jnp.bfloat16))
    chex.assert_trees_all_equal_shapes_and_dtypes(spec.build().init(shapes), spec.build().init(tree(jnp.bfloat16)))


def test_map_params_of_optax_finds_the_states_vectors(spec):
    rule = spec.build()
    doubled = optax.tree.map_params(rule, lambda leaf: leaf + 1, rule.init(tree()))
    vectors_in = [leaf for leaf in jax.tree.leaves(rule.init(tree())) if leaf.shape == (2, 3)]
    vectors_out = [leaf for leaf in jax.tree.leaves(doubled) if leaf.shape == (2, 3)]
    assert all(bool((after == before + 1).all()) for before, after in zip(vectors_in, vectors_out, strict=True))
