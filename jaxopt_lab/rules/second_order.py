"""Second-order rules without a matrix: each step looks at the Hessian through a few products with it.

    saddle_free_newton   x <- x - lr (|H| + damping)^-1 g          in the Krylov space of H and g
    cubic_newton         s = argmin g's + s'Hs / 2 + (M / 6) |s|^3   in the Krylov space of H and g
    newton_cg            (H + damping) s = -g by conjugate gradients; where s'Hs < 0, to the edge of a ball

All leave a saddle in a few steps from wherever the gradient has a share in the way out; none moves where it is zero.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxopt_lab.core import vectors
from jaxopt_lab.core.errors import require_between, require_choice, require_positive
from jaxopt_lab.curvature.krylov import combine
from jaxopt_lab.rules import krylov
from jaxopt_lab.rules.arguments import LearningRate, next_count, rate_at, require_learning_rate, required

_LARGEST_RATIO = 1e15  # of the trust radius to the gradient, so that its square stays finite in float32


class SecondOrderState(NamedTuple):
    """State of the second-order rules.

    Attributes:
      count: number of updates so far, int32 scalar.
      num_products: Hessian products so far, int32 scalar.
    """

    count: jax.Array
    num_products: jax.Array


def saddle_free_newton(
    learning_rate: LearningRate = 1.0,
    damping: float | jax.Array = 1e-3,
    max_norm: float | jax.Array = 1.0,
    num_products: int = 10,
) -> optax.GradientTransformationExtraArgs:
    """Newton's step with the Hessian's absolute value, in the Krylov space of the gradient.

    Args:
      learning_rate: share of the step that is taken, > 0.
      damping: added to each |eigenvalue|, > 0, in the unit of the curvature.
      max_norm: longest step, > 0, in the unit of the parameters.
      num_products: dimension of the space, >= 1; memory as many vectors. A traced one, as `inject_hyperparams` makes
        it, is at most 32 and takes the memory of 32.

    Returns:
      The rule; `update` needs `params` and `grad_fn`. Cost: `num_products` products a step.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without its inputs.

    Reference: Dauphin et al., Identifying and attacking the saddle point problem in high-dimensional non-convex
    optimization, 2014, algorithm 1, with its space spanned from the gradient.
    """
    where = "saddle_free_newton"
    require_learning_rate(where, learning_rate)
    _require_damping(where, damping, max_norm, num_products)

    def step(grads: Any, product: krylov.Product, count: jax.Array) -> tuple[Any, jax.Array]:
        space = krylov.krylov_space(product, grads, num_products)
        first = jnp.zeros(len(space.matrix), space.matrix.dtype).at[0].set(1)
        weights = _inverse_magnitude(space.matrix, jnp.asarray(damping, first.dtype), first)
        wanted = rate_at(learning_rate, count) * space.length
        factor = jnp.minimum(wanted, max_norm / krylov.safe_norm(weights)).astype(first.dtype)
        return combine(space.basis, -factor * weights), space.num_products

    return _rule(where, step)


def cubic_newton(
    hessian_lipschitz: float | jax.Array = 1.0, num_products: int = 10
) -> optax.GradientTransformationExtraArgs:
    """Newton's method with cubic regularization, in the Krylov space of the gradient.

    Args:
      hessian_lipschitz: M, > 0: |H(x) - H(y)| <= M |x - y|; with a true bound the loss never rises.
      num_products: as in `saddle_free_newton`.

    Returns:
      The rule; `update` needs `params` and `grad_fn`. Cost: `num_products` products a step.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without its inputs.

    Reference: Nesterov and Polyak, Cubic regularization of Newton method and its global performance, 2006; Carmon and
    Duchi, Analysis of Krylov subspace solutions of regularized nonconvex quadratic problems, 2018, for the subspace.
    """
    where = "cubic_newton"
    require_positive(where, "hessian_lipschitz", hessian_lipschitz, "It bounds how fast the Hessian changes.")
    krylov.require_products(where, num_products)

    def step(grads: Any, product: krylov.Product, count: jax.Array) -> tuple[Any, jax.Array]:
        del count
        space = krylov.krylov_space(product, grads, num_products)
        cubic = jnp.asarray(hessian_lipschitz, space.matrix.dtype)
        return combine(space.basis, _cubic_minimizer(space.matrix, space.length, cubic)), space.num_products

    return _rule(where, step)


def newton_cg(
    learning_rate: LearningRate = 1.0,
    damping: float | jax.Array = 1e-3,
    max_norm: float | jax.Array = 1.0,
    tolerance: float | jax.Array = 0.1,
    num_products: int = 10,
    curvature: str = "hessian",
) -> optax.GradientTransformationExtraArgs:
    """Newton's step by conjugate gradients, stopped at a small residual, a long step or negative curvature.

    Along a direction of negative curvature it goes to the edge of the ball of radius `max_norm`.

    Args:
      learning_rate: share of the step that is taken, > 0.
      damping: added to each eigenvalue, >= 0, in the unit of the curvature.
      max_norm: longest step, > 0, in the unit of the parameters.
      tolerance: residual over gradient at which it stops, in [0, 1).
      num_products: most products a step, >= 1.
      curvature: "hessian", or "gauss_newton", which is never negative and needs a loss in composite form.

    Returns:
      The rule; `update` needs `params` and `grad_fn`, or `gauss_newton_fn`: params -> (v -> product). Cost: up to
      `num_products` products a step, memory 4 vectors.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without its inputs.

    Reference: Steihaug, The conjugate gradient method and trust regions in large scale optimization, 1983; Martens,
    Deep learning via Hessian-free optimization, 2010, for the Gauss-Newton matrix.
    """
    where = "newton_cg"
    require_learning_rate(where, learning_rate)
    _require_damping(where, damping, max_norm, num_products, ends="[)")
    require_between(where, "tolerance", tolerance, 0, 1, ends="[)")
    require_choice(where, "curvature", curvature, ("hessian", "gauss_newton"))

    def step(grads: Any, product: krylov.Product, count: jax.Array) -> tuple[Any, jax.Array]:
        unit, length = krylov.normalized(grads)
        longest = rate_at(learning_rate, count) * length
        radius = jnp.minimum(max_norm / jnp.where(longest > 0, longest, 1), _LARGEST_RATIO).astype(length.dtype)
        damped = lambda vector: vectors.axpy(damping, vector, product(vector))  # noqa: E731
        solution, taken = _steihaug(damped, unit, radius, tolerance, num_products)
        return vectors.scale(jnp.minimum(longest, max_norm / _positive(krylov.safe_norm(solution))), solution), taken

    return _rule(where, step, curvature)


def _require_damping(where: str, damping: Any, max_norm: Any, num_products: Any, ends: str = "()") -> None:
    why = "It bounds the inverse of the curvature."
    require_between(where, "damping", damping, 0, float("inf"), ends=ends, why=why)
    require_positive(where, "max_norm", max_norm)
    krylov.require_products(where, num_products)


def _rule(where: str, step: Any, curvature: str = "hessian") -> optax.GradientTransformationExtraArgs:
    """The transformation whose step is `step`: (real gradient, product, count) -> (real step, products taken)."""

    def init(params: Any) -> SecondOrderState:
        del params
        return SecondOrderState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def update(
        updates: Any, state: Any, params: Any = None, *, grad_fn: Any = None, gauss_newton_fn: Any = None, **extra: Any
    ) -> tuple[Any, SecondOrderState]:
        del extra
        params = required(where, "params", params)
        if curvature == "hessian":
            product = krylov.hessian_product(required(where, "grad_fn", grad_fn), params)
        else:
            linear = required(where, "gauss_newton_fn", gauss_newton_fn)(params)
            product = lambda vector: krylov.realized(linear(krylov.restored(vector, params)))  # noqa: E731
        moved, taken = step(krylov.realized(updates), product, state.count)
        counts = SecondOrderState(next_count(state.count), next_count(state.num_products, taken))
        return krylov.restored(moved, updates), counts

    return optax.GradientTransformationExtraArgs(init, update)


@jax.custom_jvp
def _inverse_magnitude(matrix: jax.Array, damping: jax.Array, vector: jax.Array) -> jax.Array:
    """(|T| + damping)^-1 v for a symmetric T [k, k]."""
    values, rotation = jnp.linalg.eigh(matrix)
    return rotation @ ((rotation.T @ vector) / (jnp.abs(values) + damping))


@_inverse_magnitude.defjvp
def _inverse_magnitude_jvp(primals: Any, tangents: Any) -> tuple[jax.Array, jax.Array]:
    """The derivative by divided differences (Daleckii and Krein), which equal eigenvalues do not disturb."""
    (matrix, damping, vector), (matrix_dot, damping_dot, vector_dot) = primals, tangents
    values, rotation = jnp.linalg.eigh(matrix)
    inverse, seen = 1 / (jnp.abs(values) + damping), rotation.T @ vector
    gap = values[:, None] - values
    magnitude_gap = jnp.abs(values)[:, None] - jnp.abs(values)
    slope = jnp.where(gap == 0, jnp.sign(values), magnitude_gap / jnp.where(gap == 0, 1, gap))
    turned = (rotation.T @ matrix_dot @ rotation) * (-slope * inverse[:, None] * inverse)
    moved = turned @ seen - damping_dot * inverse**2 * seen + inverse * (rotation.T @ vector_dot)
    return rotation @ (inverse * seen), rotation @ moved


def _cubic_minimizer(matrix: jax.Array, length: jax.Array, cubic: jax.Array) -> jax.Array:
    """argmin length s_1 + s'Ts / 2 + (M / 6) |s|^3, from the one r with |(T + (M r / 2) I)^-1 length e_1| = r."""
    values, rotation = jnp.linalg.eigh(lax.stop_gradient(matrix))
    size, rate, first = lax.stop_gradient((length, cubic, rotation[0]))

    def radius_of(value: jax.Array) -> jax.Array:
        """The r of a single eigenvalue: M r^2 / 2 + value r = length."""
        root = jnp.hypot(value, jnp.sqrt(2 * rate) * jnp.sqrt(size))
        return jnp.where(value > 0, 2 * size / _positive(value + root), (root - value) / rate)

    def too_short(radius: jax.Array) -> jax.Array:
        ratio = first * (size / radius) / _positive(values + 0.5 * rate * radius)
        return jnp.sum(jnp.square(ratio)) > 1

    def halve(_: int, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        longer = too_short(_positive(middle))
        return jnp.where(longer, middle, low), jnp.where(longer, high, middle)

    low = jnp.maximum(radius_of(values[-1]), -2 * jnp.minimum(values[0], 0) / rate)
    steps = 2 * jnp.finfo(matrix.dtype).nmant
    radius = lax.fori_loop(0, steps, halve, (low, jnp.maximum(radius_of(values[0]), low)))[1]

    def solved(radius: jax.Array) -> jax.Array:
        shift = jnp.where(radius > 0, 0.5 * cubic * radius, 1)
        start = jnp.zeros_like(values).at[0].set(-length)
        return jnp.linalg.solve(matrix + shift * jnp.eye(len(values), dtype=values.dtype), start)

    # One Newton step on |s(r)| = r from its root changes nothing but gives r its derivative.
    excess = krylov.safe_norm(solved(radius)) - radius
    shift = _positive(values + 0.5 * rate * radius)
    weights = jnp.square(first * (size / _positive(radius)) / shift)
    slope = -0.5 * rate * radius * jnp.sum(weights / shift) - 1
    return solved(radius - (excess - lax.stop_gradient(excess)) / slope)


def _steihaug(
    product: krylov.Product, gradient: Any, radius: jax.Array, tolerance: Any, num_products: Any
) -> tuple[Any, jax.Array]:
    """Conjugate gradients on A z = -gradient, |gradient| = 1, inside of |z| <= radius; and the products taken."""
    start = vectors.scale(-1.0, gradient)
    square = vectors.sum_of_squares(start)

    def iterate(carry: tuple[Any, ...], place: jax.Array) -> tuple[tuple[Any, ...], jax.Array]:
        solution, residual, direction, square, alive = carry
        image = lax.cond(alive, product, vectors.zeros_like, direction)
        curvature = vectors.dot(direction, image)
        length = square / jnp.where(curvature > 0, curvature, 1)
        inside = vectors.axpy(length, direction, solution)
        leaves = (curvature <= 0) | (vectors.sum_of_squares(inside) >= radius**2)
        edge = vectors.axpy(_to_edge(solution, direction, radius), direction, solution)
        moved = jax.tree.map(lambda out, new, old: jnp.where(alive, jnp.where(leaves, out, new), old),
                             edge, inside, solution)  # fmt: skip
        residual = vectors.axpy(-length, image, residual)
        new_square = vectors.sum_of_squares(residual)
        goes_on = alive & ~leaves & (new_square > tolerance**2) & (place + 1 < num_products) & (new_square > 0)
        direction = vectors.axpy(new_square / _positive(square), direction, residual)
        kept = jax.tree.map(lambda leaf: jnp.where(goes_on, leaf, 0), (residual, direction))
        return (moved, *kept, jnp.where(goes_on, new_square, 1), goes_on), alive

    carry = (vectors.zeros_like(start), start, start, square, square > 0)
    rows = jnp.arange(krylov.capacity(num_products), dtype=jnp.int32)
    (solution, *_), taken = lax.scan(iterate, carry, rows)
    return solution, jnp.sum(taken, dtype=jnp.int32)


def _to_edge(solution: Any, direction: Any, radius: jax.Array) -> jax.Array:
    """The t >= 0 with |solution + t direction| = radius."""
    square, mixed = vectors.sum_of_squares(direction), vectors.dot(solution, direction)
    room = jnp.maximum(radius**2 - vectors.sum_of_squares(solution), 0)
    reach = mixed**2 + square * room
    root = jnp.where(reach > 0, jnp.sqrt(_positive(reach)), 0)
    return jnp.where(mixed > 0, room / _positive(mixed + root), (root - mixed) / _positive(square))


def _positive(value: jax.Array) -> jax.Array:
    """The value itself where it is positive, else 1, for denominators whose quotient is not used there."""
    return jnp.where(value > 0, value, 1)
