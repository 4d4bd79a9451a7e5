"""What a rule answers to gradients of several sizes and shapes, on parameters of a few entries a leaf."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import vectors

_SETTLED, _HANDED_ON = 100, 12
_STEPS, STARTS, SHARES = 8, 6, 4
LEVELS = ((4e-3, 8e-3), (0.05, 0.1), (0.4, 2.0))  # norms of all gradients together; of their smallest entries
_POINTS = (0.0, 1.0, -1.0)
CLOSE = 2e-3


def small_params(params: Any) -> Any:
    """Zeros of two or three entries along each axis, in float32: what a rule does to one entry it does to all."""
    return jax.tree.map(
        lambda leaf: jnp.zeros(
            [min(length, 3 if jnp.ndim(leaf) < 3 else 2) for length in jnp.shape(leaf)], jnp.float32
        ),
        params,
    )


def sequences() -> np.ndarray:
    """At which steps there is a gradient, [sequences, steps]: at one of the first; in the last sequence at all."""
    return np.concatenate([np.eye(STARTS, _STEPS), np.ones((1, _STEPS))])


def answer_gradients(rule: optax.GradientTransformation, small: Any) -> tuple[jax.Array, jax.Array]:
    """Steps and gradients [levels, sizes, shapes, points, sequences, steps, entries], for steps one of a gradient.

    The points are zero parameters, some, and their negatives.
    """
    one, several = jax.tree.map(_first_entry, small), jax.tree.map(_pattern, small)
    norms = jnp.stack([optax.tree.norm(one), optax.tree.norm(several)])
    when = jnp.asarray(sequences())
    grid = (len(LEVELS), len(LEVELS[0]), len(norms), len(_POINTS), len(when))
    level, size, shape, point, sequence = (each.ravel() for each in jnp.indices(grid))
    sizes = jnp.asarray(LEVELS)[level, size] / jnp.where(level == 0, norms[shape], 1.0)

    def answer(size: jax.Array, shape: jax.Array, point: jax.Array, on: jax.Array) -> tuple[jax.Array, jax.Array]:
        gradient = jax.tree.map(lambda a, b: size * jnp.where(shape == 0, a, b), one, several)
        params = jax.tree.map(lambda leaf: point * leaf, several)

        def step(state: Any, factor: jax.Array) -> tuple[Any, Any]:
            updates, state = rule.update(jax.tree.map(lambda leaf: factor * leaf, gradient), state, params)
            return state, _flat(updates)

        return jax.lax.scan(step, rule.init(params), on)[1], _flat(gradient)[None]

    updates, gradients = jax.vmap(answer)(sizes, shape, jnp.asarray(_POINTS)[point], when[sequence])
    updates, gradients = (each.reshape(*grid, *each.shape[1:]) for each in (updates, gradients))
    return updates, gradients


def parts_of(answers: np.ndarray, gradients: np.ndarray) -> list[np.ndarray]:
    """Parts of the steps of a leaf; decay cancels between a point and its negative.

    Returns:
      The coefficient of the gradient, the rest over the gradient, the coefficient of the gradient's signs, and the
      largest difference from them.
    """
    u = np.stack([answers[:, :, :, 0], (answers[:, :, :, 1] + answers[:, :, :, 2]) / 2], 3).astype(np.float64)
    g = gradients[:, :, :, :1].astype(np.float64)
    square, signs = np.sum(g * g, -1), np.sign(g)
    coefficient = np.sum(u * g, -1) / square
    rest = np.sqrt(np.sum((u - coefficient[..., None] * g) ** 2, -1) / square)
    sign = np.sum(u * signs, -1) / np.sum(np.abs(signs), -1)
    return [coefficient, rest, sign, np.max(np.abs(u - sign[..., None] * signs), -1)]


def two_step_of(shares: np.ndarray) -> tuple[float, float] | None:
    """Momentum and lookahead of the two-step method whose impulse response over its first entry is `shares`; or None.

    Nesterov's is 1 + rho, rho^2, rho^3, ...
    """
    if np.abs(shares[1:]).max() < CLOSE:
        return 0.0, 0.0
    rho = float(shares[2] / shares[1]) if abs(shares[1]) > CLOSE else 0.0
    if not 0 < rho < 1:
        return None
    powers = rho ** np.arange(len(shares))
    if np.allclose(shares, powers, rtol=0, atol=CLOSE):
        return rho, 0.0
    is_nesterov = np.allclose(shares[1:], powers[1:] * rho / (1 + rho), rtol=0, atol=CLOSE)
    return (rho, rho) if is_nesterov else None


def velocity_behind(impulses: np.ndarray, b2: float) -> tuple[float, float] | None:
    """Momentum and lookahead of a velocity that sums normalized steps, by the rule's answers to single gradients.

    The schedule stands before the velocity, as in `optax.rmsprop`, or after it, and then moves all answers of a step.

    Args:
      impulses: steps of one entry [sequences, steps].
      b2: decay of the second moment, NaN without.
    """
    at_once = np.diagonal(impulses[:STARTS, :STARTS])
    start = int(np.argmax(at_once != 0))
    used = slice(start, start + SHARES)
    if start + SHARES > STARTS or not at_once[used].all():
        return None
    after = (impulses[start, used] / at_once[used] * each[used] / each[start] for each in _corrections(b2, STARTS))
    before = impulses[start, used] / at_once[start]
    found = (two_step_of(shares) for shares in (before, *after))
    return next((each for each in found if each is not None), None)


def _corrections(b2: float, steps: int) -> list[np.ndarray]:
    """Factors [steps] that take the bias out of the root of a second moment: none, and those of one whose stays in."""
    factors = [np.ones(steps)]
    return [*factors, np.sqrt(1 - b2 ** np.arange(1, steps + 1))] if 0 < b2 < 1 else factors


def _flat(tree: Any) -> jax.Array:
    return jnp.concatenate([leaf.ravel().astype(jnp.float32) for leaf in jax.tree.leaves(tree) if leaf.size])


def _first_entry(leaf: jax.Array) -> jax.Array:
    return leaf if not leaf.size else leaf.at[(0,) * leaf.ndim].set(1.0)


def _pattern(leaf: jax.Array) -> jax.Array:
    """Entries of 1, -2, 1, -1, 2, ...: no two rows alike."""
    places = jnp.arange(leaf.size)
    return jnp.where(places % 3 == 1, -2.0, 1.0 - 2.0 * (places % 7 == 3)).reshape(leaf.shape)


def at_rest(rule: optax.GradientTransformation, small: Any) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Runs whose gradients end with their first step: at zero parameters, where it is one, and at ones without any.

    Returns:
      The mean step of each leaf [2, steps, leaves], and the first entries of the first moments, the second moments and
      the velocities that the state holds [2, steps, leaves of all of them].
    """
    ones = jax.tree.map(jnp.ones_like, small)

    def run(point: jax.Array, size: jax.Array) -> Any:
        params = jax.tree.map(lambda leaf: point * leaf, ones)

        def step(state: Any, place: jax.Array) -> tuple[Any, Any]:
            factor = jnp.where(place == 0, size, 0.0)
            updates, state = rule.update(jax.tree.map(lambda leaf: factor * leaf, ones), state, params)
            means = [jnp.mean(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(updates) if leaf.size]
            return state, (jnp.stack(means), *(_entries(state, name) for name in ("mu", "nu", "trace")))

        return jax.lax.scan(step, rule.init(params), jnp.arange(_SETTLED))[1]

    return jax.vmap(run)(jnp.array([0.0, 1.0]), jnp.array([1.0, 0.0]))


def _entries(state: Any, name: str) -> jax.Array:
    leaves = [leaf for _, tree in optax.tree.get_all_with_path(state, name) for leaf in jax.tree.leaves(tree)]
    return jnp.stack([leaf.ravel()[0].astype(jnp.float32) for leaf in leaves if leaf.size] or [jnp.zeros(())])


def ratio_of(moments: np.ndarray) -> float:
    """By what a step without a gradient multiplies moments [steps, entries]; NaN where they differ or there is none.

    Some steps after the gradient, where what comes before the moments, such as an average, has handed it on.
    """
    start = _HANDED_ON if moments[_HANDED_ON].all() else 0
    found = moments[start + 1] / np.where(moments[start] == 0, np.nan, moments[start])
    return float(found[0]) if np.isfinite(found).all() and np.ptp(found) < CLOSE else float("nan")


def steps_of_ones(steps: int, rule: optax.GradientTransformation, small: Any) -> jax.Array:
    """Norms of the steps that answer a gradient of ones that stays, [steps]: the schedule of the rule."""
    ones = jax.tree.map(jnp.ones_like, small)

    def step(state: Any, _: None) -> tuple[Any, jax.Array]:
        updates, state = rule.update(ones, state, small)
        return state, vectors.norm(updates)

    return jax.lax.scan(step, rule.init(small), None, length=steps)[1]
