"""The laws of update rules: what every `optax.GradientTransformation` does under JAX's and optax's transformations."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import precision
from jaxopt_lab.rules.registry import RuleSpec
from jaxopt_lab.testing import rule_wrappers
from jaxopt_lab.testing.laws import check, named
from jaxopt_lab.testing.rule_cases import (
    SAME,
    STEPS,
    first_updates,
    gradient,
    in_float64,
    random_free,
    stepper,
    take,
    traced_of,
    tree,
    value,
    walk,
)

DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64")


def check_rule(
    factory: Callable[..., optax.GradientTransformation],
    defaults: Mapping[str, Any] | None = None,
    *,
    needs: tuple[str, ...] = (),
    laws: Iterable[str] | None = None,
) -> None:
    """Checks an update rule against the laws that hold for every rule.

    Args:
      factory: hyperparameters -> rule, all of them by keyword; floats among them are also given as traced values.
      defaults: a full set of hyperparameters, fit for a loss whose curvature is at most 1.
      needs: extra inputs that `update` cannot do without: "value", "grad", "value_fn", "grad_fn".
      laws: names of `RULE_LAWS`; None for all.

    Raises:
      InputError: an unknown law.
      LawError: a law that does not hold, the first one.

    Cost: a few seconds, most of it compiling.

    Example:
      >>> check_rule(lambda learning_rate: optax.sgd(learning_rate), {"learning_rate": 0.1}, laws=["jit equals eager"])
    """
    build: Any = factory
    spec = RuleSpec(build, dict(defaults or {}), needs)
    check(getattr(factory, "__name__", "the rule"), RULE_LAWS, laws, spec)


@in_float64
def jit_equals_eager(spec: RuleSpec) -> None:
    """Compiled steps are the eager ones, up to fused multiply-adds."""
    rule, start = spec.build(), tree("float64")
    jitted = jax.jit(lambda params, state: take(rule, params, state))
    params, state = start, rule.init(start)
    for _ in range(STEPS):
        params, state = jitted(params, state)
    chex.assert_trees_all_close((params, state), walk(rule, start), **SAME)


@in_float64
def scan_keeps_structure_shape_and_dtype(spec: RuleSpec) -> None:
    """Parameters and state can be carried through `lax.scan`."""
    rule, params = spec.build(), tree("float64")
    start = (params, rule.init(params))
    end, _ = jax.lax.scan(lambda carry, _: (take(rule, *carry), None), start, length=STEPS)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, end)
    chex.assert_trees_all_close(end[0], walk(rule, params)[0], **SAME)


def dtypes_are_kept(spec: RuleSpec, dtype: str = "float32") -> None:
    """With traced hyperparameters a leaf keeps its dtype, and the loss falls."""
    with precision("float64" if dtype == "float64" else "float32"):
        start, step = tree(dtype), stepper(spec)
        params, state = start, spec.build().init(start)
        for _ in range(3):
            params, state = step(traced_of(spec), params, state)
        chex.assert_trees_all_equal_shapes_and_dtypes(start, params)
        chex.assert_trees_all_equal_shapes_and_dtypes(spec.build().init(start), state)
        assert float(value(params)) < float(value(start))


def mixed_dtypes_are_kept(spec: RuleSpec) -> None:
    """Leaves of several dtypes live side by side."""
    start = {"half": jnp.ones(3, jnp.bfloat16), "full": jnp.ones(3, jnp.float32), "complex": jnp.ones(2, jnp.complex64)}
    end, _ = walk(spec.build(), start)
    chex.assert_trees_all_equal_shapes_and_dtypes(start, end)


def the_state_is_finite_at_the_start(spec: RuleSpec) -> None:
    """No infinity or NaN waits in the state, in any precision."""
    for dtype in ("float16", "bfloat16", "float32"):
        chex.assert_tree_all_finite(spec.build().init(tree(dtype)))


def counts_stay_at_the_end_of_int32(spec: RuleSpec) -> None:
    """A run of more than 2^31 steps does not count backwards."""
    most = jnp.iinfo(jnp.int32).max
    params, state = tree(), spec.build().init(tree())
    full = jax.tree.map(lambda leaf: jnp.full_like(leaf, most) if leaf.dtype == jnp.int32 else leaf, state)
    for _ in range(2):
        params, full = stepper(spec)({}, params, full)
    assert all(int(count) >= 0 for count in jax.tree.leaves(full) if count.dtype == jnp.int32)
    chex.assert_tree_all_finite(params)


@in_float64
def vmap_over_hyperparameters_equals_a_loop(spec: RuleSpec) -> None:
    """Configurations side by side take the steps that they take alone."""
    scales, start = jnp.array([0.5, 0.75, 1.0]), tree("float64")
    lanes = {key: jnp.asarray(number, jnp.float64) * scales for key, number in traced_of(spec).items()}
    step = stepper(spec)
    together = jax.jit(jax.vmap(step, axis_size=3))
    state = jax.vmap(lambda hyper: spec.build(**hyper).init(start), axis_size=3)(lanes)
    params = jax.tree.map(lambda leaf: jnp.stack([leaf] * 3), start)
    for _ in range(STEPS):
        params, state = together(lanes, params, state)
    for k in range(3):
        hyper = {key: lane[k] for key, lane in lanes.items()}
        alone, inner = start, spec.build(**hyper).init(start)
        for _ in range(STEPS):
            alone, inner = step(hyper, alone, inner)
        chex.assert_trees_all_close(jax.tree.map(lambda leaf, k=k: leaf[k], params), alone, **SAME)


@in_float64
def parameters_and_state_may_be_donated(spec: RuleSpec) -> None:
    """From the first step on: `init` keeps no parameter in the state."""
    rule = spec.build()
    params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), tree("float64"))
    state = rule.init(params)
    expected = walk(rule, tree("float64"), 2)[0]
    step = jax.jit(lambda params, state: take(rule, params, state), donate_argnums=(0, 1))
    for _ in range(2):
        params, state = step(params, state)
    chex.assert_trees_all_close(params, expected, **SAME)


def gradients_of_any_size_stay_finite(spec: RuleSpec) -> None:
    """Zero, tiny and huge gradients, in any precision, give finite updates and a finite state."""
    for dtype in ("float16", "bfloat16", "float32"):
        limits = jnp.finfo(dtype)
        for number in (0.0, float(limits.tiny), float(limits.max) / 8):
            rule, params = spec.build(), {"leaf": jnp.ones(3, dtype)}
            state = rule.init(params)
            for _ in range(2):
                grads = {"leaf": jnp.asarray([number, -number, 0.0], dtype)}
                extra = {"value": jnp.float32(1), "value_fn": value, "grad_fn": lambda _, grads=grads: grads}
                updates, state = optax.with_extra_args_support(rule).update(grads, state, params, **extra)
                floats = [leaf for leaf in jax.tree.leaves((updates, state)) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
                chex.assert_tree_all_finite(floats)


@in_float64
def sharding_is_kept(spec: RuleSpec) -> None:
    """Sharded parameters stay where they are, on axes of both kinds; needs two devices, and holds by itself on one."""
    expected = walk(spec.build(), {"leaf": jnp.linspace(-1, 1, 8)}, 1)[0]
    for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit):
        mesh = jax.make_mesh((min(jax.local_device_count(), 4),), ("x",), axis_types=(kind,))
        place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
        params, rule = {"leaf": jax.device_put(jnp.linspace(-1, 1, 8), place)}, spec.build()
        with jax.set_mesh(mesh):
            state = jax.jit(rule.init)(params)
            params, state = jax.jit(lambda params, state, rule=rule: take(rule, params, state))(params, state)
        assert params["leaf"].sharding.is_equivalent_to(place, 1)
        np.testing.assert_allclose(params["leaf"], expected["leaf"], **SAME)


def a_new_hyperparameter_does_not_recompile(spec: RuleSpec) -> None:
    """Traced hyperparameters are arguments of one program."""
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(hyper: Any, params: Any, state: Any) -> Any:
        return take(spec.build(**hyper), params, state)

    state = spec.build().init(tree())
    for scale in (1.0, 0.5, 0.25):
        step({key: jnp.float32(number * scale) for key, number in traced_of(spec).items()}, tree(), state)


def update_is_pure(spec: RuleSpec) -> None:
    """The same inputs give the same outputs, and nothing that went in is changed."""
    rule, params = spec.build(), tree()
    state = rule.init(params)
    before = jax.tree.map(np.array, random_free((params, state)))
    first, second = take(rule, params, state), take(rule, params, state)
    chex.assert_trees_all_equal(random_free(first), random_free(second))
    chex.assert_trees_all_equal(before, jax.tree.map(np.array, random_free((params, state))))


def is_differentiable_in_its_hyperparameters(spec: RuleSpec) -> None:
    """A gradient through three steps is finite, and for a learning rate the central difference of it."""
    traced = traced_of(spec)

    def final(hyper: dict[str, Any]) -> jax.Array:
        return value(walk(spec.build(**hyper), {"leaf": jnp.linspace(0.5, 1, 4)}, 3)[0])

    slopes = jax.grad(final)({key: jnp.float32(number) for key, number in traced.items()})
    chex.assert_tree_all_finite(slopes)
    if "learning_rate" in traced:
        step, rate = 1e-2, traced["learning_rate"]
        ends = [float(final({**traced, "learning_rate": jnp.float32(rate + sign * step)})) for sign in (1, -1)]
        measured = (ends[0] - ends[1]) / (2 * step)  # of a smooth function in float32: truncation 1e-4, rounding 1e-5
        np.testing.assert_allclose(float(slopes["learning_rate"]), measured, rtol=2e-2, atol=1e-3)


def unknown_extra_inputs_are_ignored(spec: RuleSpec) -> None:
    """A rule in a chain gets what its neighbours need."""
    extra = {
        "value": value(tree()),
        "value_fn": value,
        "grad": gradient(tree()),
        "grad_fn": gradient,
        "something_else": 1,
    }
    updates, _ = first_updates(spec.build(), gradient(tree()), tree(), **extra)
    chex.assert_trees_all_equal_shapes(updates, tree())


def init_takes_abstract_parameters(spec: RuleSpec) -> None:
    """Shapes and dtypes are all that `init` looks at."""
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree("bfloat16"))
    known, given = (jax.eval_shape(spec.build().init, each) for each in (tree("bfloat16"), shapes))
    chex.assert_trees_all_equal_shapes_and_dtypes(known, given)


RULE_LAWS = named(
    jit_equals_eager, scan_keeps_structure_shape_and_dtype, dtypes_are_kept, mixed_dtypes_are_kept,
    the_state_is_finite_at_the_start, counts_stay_at_the_end_of_int32, vmap_over_hyperparameters_equals_a_loop,
    parameters_and_state_may_be_donated, gradients_of_any_size_stay_finite, sharding_is_kept,
    a_new_hyperparameter_does_not_recompile, update_is_pure, is_differentiable_in_its_hyperparameters,
    unknown_extra_inputs_are_ignored, init_takes_abstract_parameters, *rule_wrappers.LAWS,
)  # fmt: skip
