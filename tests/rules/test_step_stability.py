import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules, theory
from jaxopt_lab.core import InputError, from_loss, precision

DIM = 6
SEEDS = (0, 1, 2)


def bowl(seed, dim=DIM):
    """A quadratic in two leaves, without a gradient at 0, and its matrix."""
    rng = np.random.default_rng(seed)
    turned = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
    matrix = (turned * np.linspace(0.5, 4.0, dim)) @ turned.T
    matrix = jnp.asarray((matrix + matrix.T) / 2)

    def loss(params, batch, key):
        point = jnp.concatenate([params["a"], params["b"]])
        return point @ matrix @ point / 2

    params = {"a": jnp.zeros(dim // 2), "b": jnp.zeros(dim - dim // 2)}
    return from_loss(loss, params), params, np.asarray(matrix)


def shifted(params, seed):
    rng = np.random.default_rng(seed + 100)
    return jax.tree.map(lambda leaf: leaf + rng.normal(size=leaf.shape), params)


def settled(rule, params, seed):
    """The rule's state with a second moment at rest, so late that its bias is corrected; the moment as a vector."""
    rng = np.random.default_rng(seed + 200)
    moment = jax.tree.map(lambda leaf: jnp.asarray(rng.uniform(0.5, 2.0, leaf.shape)), params)
    adam = rule.init(params)[0]._replace(nu=moment, count=jnp.asarray(10**6, jnp.int32))
    return (adam, *rule.init(params)[1:]), np.concatenate([moment["a"], moment["b"]])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("make", "edge"),
    [
        (rules.sgd, 2.0),
        (lambda rate: rules.heavy_ball(rate, 0.9), theory.stability.heavy_ball_edge(0.9)),
        (lambda rate: rules.nesterov(rate, 0.9), theory.stability.nesterov_edge(0.9)),
        (lambda rate: optax.chain(optax.ema(0.9, debias=False), optax.scale(-rate)), 38.0),
    ],
    ids=["sgd", "heavy ball", "Nesterov", "averaged heavy ball"],
)
def test_the_critical_rate_is_the_closed_form(make, edge, seed):
    with precision():
        problem, params, matrix = bowl(seed)
        params = shifted(params, seed)
        exact = edge / np.linalg.eigvalsh(matrix)[-1]
        found = rules.critical_learning_rate(problem, make, params, make(0.1).init(params), 0.1, accuracy=1e-7)
        np.testing.assert_allclose(found.value, exact, rtol=1e-7)  # the accuracy asked for
        assert found.interval[0] <= exact * (1 + 1e-12)  # rounding of the eigenvalues
        assert found.interval[1] >= exact * (1 - 1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_adam_with_moments_at_rest_has_the_preconditioned_edge(seed):
    with precision():
        problem, params, matrix = bowl(seed)
        state, moment = settled(optax.adam(0.1), params, seed)
        scale = 1 / np.sqrt(np.sqrt(moment / (1 - 0.999**1e6)) * 1.0)
        largest = np.linalg.eigvalsh(scale[:, None] * matrix * scale)[-1]
        found = rules.critical_learning_rate(problem, optax.adam, params, state, 0.1, accuracy=1e-7)
        # The moment decays by b2 in the step, and with it its root; the gradient at the minimum adds nothing.
        np.testing.assert_allclose(found.value, 38 / largest * np.sqrt(0.999), rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 10, 1000])
@pytest.mark.parametrize("seed", SEEDS)
def test_schedule_free_descent_has_the_edge_of_its_two_sequences(seed, steps):
    """z <- z - lr H y, x <- (1 - c) x + c z, y = (1 - b1) z + b1 x: a root at -1 where the determinant says so."""
    with precision():
        problem, params, matrix = bowl(seed)
        make, b1 = (lambda rate: optax.contrib.schedule_free_sgd(rate, weight_lr_power=0.0)), 0.9
        state = make(0.1).init(params)._replace(weight_sum=jnp.asarray(float(steps)), max_lr=jnp.asarray(0.1))
        c = 1 / (steps + 1)
        edge = 2 * (2 - c) / ((2 - c) * (1 - b1) + c * b1)
        exact = edge / np.linalg.eigvalsh(matrix)[-1]
        found = rules.critical_learning_rate(problem, make, params, state, 0.1, accuracy=1e-7)
        np.testing.assert_allclose(found.value, exact, rtol=1e-7)


def test_a_rate_for_each_leaf_and_a_frozen_leaf_are_told_of_the_matrix_between_them():
    with precision():
        problem, params, matrix = bowl(3)

        def make(rate):
            table = {"a": optax.sgd(rate), "b": optax.sgd(0.1 * rate)}
            return optax.partition(table, {"a": "a", "b": "b"})

        scale = np.sqrt(np.repeat([1.0, 0.1], DIM // 2))
        exact = 2 / np.linalg.eigvalsh(scale[:, None] * matrix * scale)[-1]
        found = rules.critical_learning_rate(problem, make, params, make(0.1).init(params), 0.1, accuracy=1e-7)
        np.testing.assert_allclose(found.value, exact, rtol=1e-7)

        def frozen(rate):
            return optax.partition({"a": optax.sgd(rate, 0.5), "b": optax.set_to_zero()}, {"a": "a", "b": "b"})

        exact = 3 / np.linalg.eigvalsh(matrix[: DIM // 2, : DIM // 2])[-1]
        found = rules.critical_learning_rate(problem, frozen, params, frozen(0.1).init(params), 0.1, accuracy=1e-7)
        np.testing.assert_allclose(found.value, exact, rtol=1e-7)


def test_arnoldi_finds_the_multipliers_of_the_whole_matrix():
    with precision():
        problem, params, matrix = bowl(4, dim=60)
        rule = rules.heavy_ball(0.9, 0.9)  # 120 entries, beyond what is taken as a whole
        found = rules.step_multipliers(problem, rule, params, rule.init(params), tolerance=1e-10)
        rows = np.block([[np.eye(60) - 0.9 * matrix, -0.81 * np.eye(60)], [matrix, 0.9 * np.eye(60)]])
        exact = np.linalg.eigvals(rows)
        exact = exact[np.argsort(-np.abs(exact - 1))][:6]
        np.testing.assert_allclose(np.sort(found.values.real), np.sort(exact.real), atol=1e-8)  # of the tolerance
        assert np.all(found.residuals < 1e-8)
        streamed = rules.critical_learning_rate(
            problem, lambda rate: rules.heavy_ball(rate, 0.9), params, rule.init(params), 0.9
        )
        np.testing.assert_allclose(streamed.value, 3.8 / 4, rtol=1e-3)  # the accuracy


def test_a_factory_at_a_rate_is_the_rule_at_that_rate():
    with precision():
        problem, params, matrix = bowl(0)
        found = rules.step_multipliers(problem, rules.sgd, params, rules.sgd(0.7).init(params), 0.7)
        # 1 - rate lambda, beyond twelve digits only rounding
        np.testing.assert_allclose(
            np.sort(found.values.real), np.sort(1 - 0.7 * np.linalg.eigvalsh(matrix)), rtol=1e-12
        )


def test_slow_states_and_negative_curvature_are_no_oscillation():
    with precision():
        problem = from_loss(lambda w, batch, key: (4 * w[0] ** 2 - w[1] ** 2) / 2, jnp.zeros(2))
        rule = rules.sgd(0.1)
        found = rules.step_multipliers(problem, rule, jnp.ones(2), rule.init(jnp.ones(2)))
        np.testing.assert_allclose(np.sort(found.values.real), [0.6, 1.1])  # 1 - .1 * 4, 1 + .1
        assert found.radius == 0.0
        rule = rules.heavy_ball(0.1, 0.9)
        found = rules.step_multipliers(problem, rule, jnp.ones(2), rule.init(jnp.ones(2)))
        np.testing.assert_allclose(found.radius, np.sqrt(0.9))  # a pair, whose product is rho


def test_entries_that_the_loss_does_not_depend_on_are_held():
    """Adam's root has no derivative at their second moment, which is zero."""
    with precision():
        problem = from_loss(lambda w, batch, key: 2 * w[0] ** 2 + jnp.sum(w[1:3] ** 4), jnp.zeros(4))
        rule = optax.adam(0.1)
        params = jnp.array([1.0, 2.0, -1.0, 5.0])
        state = rule.init(params)
        for _ in range(3):
            grads = jax.grad(lambda w: problem.loss(w, None, None))(params)
            updates, state = rule.update(grads, state, params)
            params = optax.apply_updates(params, updates)
        found = rules.step_multipliers(problem, rule, params, state)
        assert found.num_held == 1
        assert len(found.values) == 3 + 8  # three parameters, and both moments of all four


def test_it_is_the_product_with_the_jacobian_of_the_whole_step():
    """Muon on a matrix, whose steps have no closed form, against reverse differentiation of all of it."""
    with precision():
        start = jnp.asarray(np.random.default_rng(5).normal(size=(3, 4)))
        problem = from_loss(lambda w, batch, key: jnp.sum(jnp.sin(w) ** 2 + w**4 / 9) + w[0, 0] * w[1, 2], start)
        rule = optax.contrib.muon(0.05)
        state = rule.init(start)
        loss = lambda w: problem.loss(w, None, None)  # noqa: E731
        _, state = rule.update(jax.grad(loss)(start), state, start)
        found = rules.step_multipliers(problem, rule, start, state)
        leaves, structure = jax.tree.flatten(state)
        place = next(k for k, leaf in enumerate(leaves) if jnp.shape(leaf) == (3, 4))

        def step(pair):
            inside = structure.unflatten([*leaves[:place], pair[1], *leaves[place + 1 :]])
            updates, after = rule.update(jax.grad(loss)(pair[0]), inside, pair[0])
            return jnp.stack([pair[0] + updates, jax.tree.leaves(after)[place]])

        matrix = jax.jit(jax.jacrev(step))(jnp.stack([start, leaves[place]])).reshape(24, 24)
        exact = np.linalg.eigvals(np.asarray(matrix))
        assert len(found.values) == 24  # the coefficients of Newton and Schulz lie in the state, and are held
        gaps = np.abs(found.values[:, None] - exact)
        assert max(gaps.min(0).max(), gaps.min(1).max()) < 1e-6  # rounding, by the root for those near to a double one


def test_examples_in_chunks_give_the_multipliers_of_all():
    with precision():
        rng = np.random.default_rng(6)
        data = {"x": jnp.asarray(rng.normal(size=(20, 3))), "y": jnp.asarray(rng.normal(size=20))}
        problem = from_loss(lambda w, batch, key: jnp.mean((batch["x"] @ w - batch["y"]) ** 2), jnp.ones(3), data)
        rule = rules.nesterov(0.4, 0.5)
        state = rule.init(jnp.ones(3))
        whole = rules.step_multipliers(problem, rule, jnp.ones(3), state)
        parts = rules.step_multipliers(problem, rule, jnp.ones(3), state, chunk_size=6)
        np.testing.assert_allclose(np.sort_complex(parts.values), np.sort_complex(whole.values), atol=1e-12)


def test_float32_finds_the_edge_too():
    problem, params, _ = bowl(0)
    rule = rules.heavy_ball(3.8 / 4, 0.9)
    found = rules.step_multipliers(problem, rule, params, rule.init(params))
    np.testing.assert_allclose(found.radius, 1.0, rtol=1e-5)  # rounding of float32


@pytest.mark.parametrize(
    ("make", "wording"),
    [
        (
            lambda: optax.lion(0.1),
            "3 of 3 updates of a do not answer to small changes of the gradient, as those of a s",
        ),
        (lambda: optax.sign_sgd(0.1), "do not answer to small changes"),
        (lambda: optax.chain(optax.clip(1e-3), optax.sgd(0.1)), "do not answer to small changes"),
        (lambda: optax.set_to_zero(), "no update answers to the gradient at this step"),
        (lambda: optax.MultiSteps(optax.sgd(0.1), 3).gradient_transformation(), "no update answers to the gradient"),
    ],
    ids=["Lion", "sign", "clip", "frozen", "between steps"],
)
def test_what_the_linearization_cannot_tell_is_said(make, wording):
    problem, params, _ = bowl(0)
    params, rule = shifted(params, 0), make()
    with pytest.raises(InputError, match=wording):
        rules.step_multipliers(problem, rule, params, rule.init(params))


def test_a_root_at_zero_is_said():
    problem = from_loss(lambda w, batch, key: jnp.sum(w**2), jnp.zeros(2))
    rule = optax.adam(0.1)
    with pytest.raises(InputError, match="the step has no finite derivative at 2 of 2 entries of the parameters"):
        rules.step_multipliers(problem, rule, jnp.zeros(2), rule.init(jnp.zeros(2)))


def test_wrong_arguments_are_clear_sentences():
    problem, params, _ = bowl(0)
    rule = rules.sgd(0.1)
    state = rule.init(params)

    def look(**options):
        return rules.step_multipliers(problem, rule, params, state, **options)

    def search(factory=rules.sgd, rate=0.1, state=state, **options):
        return rules.critical_learning_rate(problem, factory, params, state, rate, **options)

    injected = optax.inject_hyperparams(optax.sgd)
    cases = [
        (lambda: look(num_modes=0), "num_modes must be a whole number of at least 1"),
        (lambda: look(tolerance=0.0), r"tolerance must be in \(0, 1\)"),
        (lambda: look(max_products=0), "max_products must be a whole number"),
        (lambda: rules.step_multipliers(problem, rules.sgd, params, state), "rule must be an optax.GradientTransf"),
        (lambda: rules.step_multipliers(problem, rule, params, state, 0.1), "learning_rate is given with a rule"),
        (lambda: rules.step_multipliers(problem, rules.sgd, params, state, -0.1), "learning_rate must be positive"),
        (lambda: rules.step_multipliers(problem, optax.adam(0.1), params, state), "the rule takes no step from these"),
        (lambda: search(rate=-0.1), "learning_rate must be positive"),
        (lambda: search(accuracy=1.0), r"accuracy must be in \(0, 1\)"),
        (lambda: search(factory=lambda rate: rate), "factory must return an optax.GradientTransformation, got float"),
        (
            lambda: search(factory=injected, state=injected(0.1).init(params)),
            "the update is the same at twice the rate",
        ),
    ]
    for call, wording in cases:
        with pytest.raises(InputError, match=wording):
            call()


def test_no_convergence_is_no_answer():
    with precision():
        problem, params, _ = bowl(4, dim=60)
        rule = rules.heavy_ball(0.9, 0.9)
        with pytest.raises(InputError, match="Whether the step is stable cannot be told: give more max_products"):
            rules.step_multipliers(problem, rule, params, rule.init(params), tolerance=1e-14, max_products=1)


def test_a_step_that_is_stable_at_every_rate_has_no_edge():
    problem = from_loss(lambda w, batch, key: -jnp.sum(w**2), jnp.ones(2))
    with pytest.raises(InputError, match="the step is within its edge at every rate that was tried"):
        rules.critical_learning_rate(problem, rules.sgd, jnp.ones(2), rules.sgd(0.1).init(jnp.ones(2)), 0.1)
