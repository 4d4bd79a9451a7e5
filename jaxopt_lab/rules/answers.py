"""What a rule answers to gradients of several sizes and shapes, on parameters of a few entries a leaf."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import vectors

_SETTLED, _HANDED_ON = 100, 12
_STEPS, STARTS = 8, 6
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


def answer_gradients(rule: optax.GradientTransformation, small: Any) -> tuple[jax.Array, jax.Array]:
    """Steps and gradients [levels, sizes, shapes, points, sequences, steps, entries], for steps one of a gradient.

    The points are zero parameters, some, and their negatives. A sequence has its gradient at one of the first steps;
    the last one at all of them.
    """
    one, several = jax.tree.map(_first_entry, small), jax.tree.map(_pattern, small)
    norms = jnp.stack([optax.tree.norm(one), optax.tree.norm(several)])
    when = jnp.concatenate([jnp.eye(STARTS, _STEPS), jnp.ones((1, _STEPS))])
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


def _flat(tree: Any) -> jax.Array:
    return jnp.concatenate([leaf.ravel().astype(jnp.float32) for leaf in jax.tree.leaves(tree) if leaf.size])


def _first_entry(leaf: jax.Array) -> jax.Array:
    return leaf if not leaf.size else leaf.at[(0,) * leaf.ndim].set(1.0)


def _pattern(leaf: jax.Array) -> jax.Array:
    """Entries of 1, -2, 1, -1, 2, ...: no two rows alike."""
    places = jnp.arange(leaf.size)
    return jnp.where(places % 3 == 1, -2.0, 1.0 - 2.0 * (places % 7 == 3)).reshape(leaf.shape)


def at_rest(rule: optax.GradientTransformation, small: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Runs whose gradients end with their first step: at zero parameters, where it is one, and at ones without any.

    Returns:
      The mean step of each leaf [2, steps, leaves], and the first entries of the first and of the second moments that
      the state holds [2, steps, leaves of all of them].
    """
    ones = jax.tree.map(jnp.ones_like, small)

    def run(point: jax.Array, size: jax.Array) -> Any:
        params = jax.tree.map(lambda leaf: point * leaf, ones)

        def step(state: Any, place: jax.Array) -> tuple[Any, Any]:
            factor = jnp.where(place == 0, size, 0.0)
            updates, state = rule.update(jax.tree.map(lambda leaf: factor * leaf, ones), state, params)
            means = [jnp.mean(leaf).astype(jnp.float32) for leaf in jax.tree.leaves(updates) if leaf.size]
            return state, (jnp.stack(means), *(_entries(state, name) for name in ("mu", "nu")))

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
