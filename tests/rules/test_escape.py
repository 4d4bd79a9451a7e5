import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import rules, theory
from jaxopt_lab.core import InputError, precision


def steps_to_leave(losses, level):
    return np.argmax(losses < level, axis=1)


def test_without_a_small_gradient_perturbed_is_its_inner_rule():
    rule, plain = rules.perturbed(rules.sgd(0.1), gradient_threshold=1e-6), rules.sgd(0.1)
    grads = {"w": jnp.ones(3)}
    kicked = rule.update(grads, rule.init(grads))[0]
    np.testing.assert_array_equal(kicked["w"], plain.update(grads, plain.init(grads))[0]["w"])


def test_kicks_lie_in_the_ball_and_wait_their_time():
    rule = rules.perturbed(rules.sgd(0.1), radius=0.5, wait=3)
    zero = {"a": jnp.zeros((4, 5)), "b": jnp.zeros(7)}
    state, lengths = rule.init(zero), []
    for _ in range(12):
        step, state = rule.update(zero, state)
        lengths.append(float(optax.tree.norm(step)))
    kicks = np.flatnonzero(lengths)
    assert kicks.tolist() == [0, 4, 8]
    assert max(lengths) <= 0.5
    assert int(state.num_kicks) == 3


def test_kicks_are_uniform_in_the_ball():
    dim = 3
    rule = rules.perturbed(rules.sgd(0.1), radius=2.0, wait=1)

    def kick(seed):
        state = rule.init(jnp.zeros(dim))._replace(key=jax.random.key_data(jax.random.key(seed)))
        return rule.update(jnp.zeros(dim), state)[0]

    points = np.asarray(jax.vmap(kick)(jnp.arange(4000)))
    radii = np.linalg.norm(points, axis=1) / 2
    assert radii.max() <= 1 + 1e-6
    assert abs(np.mean(radii**dim) - 0.5) < 4 / np.sqrt(12 * 4000)  # r^d is uniform
    assert np.abs(points.mean(0)).max() < 4 * 2 / np.sqrt(5 * 4000)  # variance radius^2 / (d + 2) a coordinate


@pytest.mark.parametrize("dim", [10, 1000])
def test_perturbed_descent_leaves_a_saddle_when_the_law_says(dim):
    rule = rules.perturbed(rules.sgd(0.01), radius=1e-3, wait=10_000)

    def escape(key):
        state = rule.init(jnp.zeros(dim))._replace(key=jax.random.key_data(key))

        def step(carry):
            params, state, count = carry
            updates, state = rule.update(params.at[0].multiply(-1.0), state)  # the eigenvalue of y is -1, others are 1
            return params + updates, state, count + 1

        start = (jnp.zeros(dim), state, jnp.int32(0))
        return jax.lax.while_loop(lambda carry: jnp.abs(carry[0][0]) < 1, step, start)[2]

    with precision():
        steps = np.asarray(jax.lax.map(escape, jax.random.split(jax.random.key(0), 40)))
    law = theory.escapes.perturbed_escape_time(0.01, dim, 1e-3)
    # The step that kicks is the first, and a run leaves at a whole step.
    assert abs(np.mean(steps) - 1.5 - law.mean) < 4 * law.deviation / np.sqrt(40)


def test_noise_has_the_variance_that_it_is_given_and_anneals():
    rule = rules.noisy(rules.sgd(1.0), noise=0.5, decay=1.0)
    zero = jnp.zeros(20_000)
    state, deviations = rule.init(zero), []
    for _ in range(4):
        step, state = rule.update(zero, state)
        deviations.append(float(jnp.std(step)))
    np.testing.assert_allclose(deviations, 0.5 / np.sqrt([1, 2, 3, 4]), rtol=0.02)  # 20,000 draws


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda inner: rules.perturbed(inner, gradient_threshold=-1.0), "gradient_threshold must be positive"),
        (lambda inner: rules.perturbed(inner, radius=0.0), "radius must be positive"),
        (lambda inner: rules.perturbed(inner, wait=0), "wait must be a whole number of at least 1"),
        (lambda inner: rules.perturbed(inner, seed=-1), "seed must be a whole number of at least 0"),
        (lambda inner: rules.noisy(inner, noise=-1.0), "noise must be in"),
        (lambda inner: rules.noisy(inner, decay=-1.0), "A negative one lets the noise grow"),
    ],
)
def test_wrong_arguments_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make(rules.sgd(0.1))
