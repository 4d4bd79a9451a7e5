"""Rules that leave saddles: by kicks or along negative curvature where the gradient is small, or by steady noise.

perturbed:                if |g| <= threshold and `wait` steps have passed:  inner's step + uniform point of a ball
negative_curvature_step:  there, if v'Hv < -curvature_threshold:             inner's step -+ distance v
noisy:                    g <- g + noise sqrt(1 / (1 + t)^decay) N(0, I),    then inner
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import meshes, vectors
from jaxopt_lab.core.errors import require_between, require_count, require_positive
from jaxopt_lab.curvature.krylov import combine
from jaxopt_lab.rules import krylov
from jaxopt_lab.rules.arguments import next_count, require_rule, required


class PerturbedState(NamedTuple):
    """State of `perturbed`.

    Attributes:
      inner: the state of the inner rule.
      key: data of the PRNG key of the next kick, uint32: a plain array, as tools that store states expect.
      since: steps since the last kick, int32 scalar.
      num_kicks: kicks so far, int32 scalar.
    """

    inner: Any
    key: jax.Array
    since: jax.Array
    num_kicks: jax.Array


class NegativeCurvatureState(NamedTuple):
    """State of `negative_curvature_step`.

    Attributes:
      inner: the state of the inner rule.
      key: data of the PRNG key of the next search, uint32.
      since: steps since the last search, int32 scalar.
      num_gradients: gradients taken by searches so far, besides the one a step; one for each search, int32 scalar.
      num_products: Hessian products so far, int32 scalar.
    """

    inner: Any
    key: jax.Array
    since: jax.Array
    num_gradients: jax.Array
    num_products: jax.Array


class NoisyState(NamedTuple):
    """State of `noisy`.

    Attributes:
      inner: the state of the inner rule.
      key: data of the PRNG key of the next step's noise, uint32.
      count: number of updates so far, int32 scalar.
    """

    inner: Any
    key: jax.Array
    count: jax.Array


def perturbed(
    inner: optax.GradientTransformation,
    gradient_threshold: float | jax.Array = 1e-3,
    radius: float | jax.Array = 1e-3,
    wait: int = 50,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Adds a uniform point of a ball to the step of `inner` where the gradient is small, at most once in `wait` steps.

    In d dimensions a strict saddle is then left after about ln(sqrt(d) / radius) / ln(1 + h) steps.

    Args:
      inner: any rule.
      gradient_threshold: kicks when |g| is at most this, > 0.
      radius: of the ball, > 0, in the unit of the parameters.
      wait: least number of steps between two kicks, >= 1.
      seed: seeds the kicks, >= 0.

    Returns:
      The rule. Its state is that of inner, a key and two counts; a kick draws one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Jin, Ge, Netrapalli, Kakade and Jordan, How to escape saddle points efficiently, 2017, algorithm 1.
    """
    require_positive("perturbed", "gradient_threshold", gradient_threshold, "A saddle is left where |g| is below it.")
    require_positive("perturbed", "radius", radius)
    require_count("perturbed", "wait", wait)
    require_count("perturbed", "seed", seed, minimum=0)
    inner = require_rule("perturbed", inner)

    def init(params: Any) -> PerturbedState:
        zero = jnp.zeros((), jnp.int32)
        return PerturbedState(inner.init(params), jax.random.key_data(jax.random.key(seed)), zero + wait, zero)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, PerturbedState]:
        due = (vectors.norm(updates) <= gradient_threshold) & (state.since >= wait)
        key, draw = _split(state.key)
        steps, inner_state = inner.update(updates, state.inner, params, **extra)
        steps = _kicked_where(due, steps, draw, radius)
        key = jnp.where(due, key, state.key)
        since = jnp.where(due, 0, next_count(state.since))
        return steps, PerturbedState(inner_state, key, since, next_count(state.num_kicks, due))

    return optax.GradientTransformationExtraArgs(init, update)


def negative_curvature_step(
    inner: optax.GradientTransformation,
    gradient_threshold: float | jax.Array = 1e-3,
    curvature_threshold: float | jax.Array = 1e-3,
    distance: float | jax.Array = 0.1,
    wait: int = 10,
    num_products: int = 10,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Adds to the step of `inner`, where the gradient is small, a step down the most negative curvature that it finds.

    The direction is the lowest Ritz vector of a Krylov space from a random vector: it leaves even the exact saddle.

    Args:
      inner: any rule.
      gradient_threshold: searches when |g| is at most this, > 0.
      curvature_threshold: takes the step when the curvature found is below minus this, >= 0.
      distance: length of the step, > 0, in the unit of the parameters.
      wait: least number of steps between two searches, >= 1.
      num_products: dimension of the space, >= 1; memory as many vectors. A traced one is at most 32.
      seed: seeds the searches, >= 0.

    Returns:
      The rule; `update` needs `params` and `grad_fn`. Cost of a search: one gradient and `num_products` products.

    Raises:
      InputError: a concrete argument is out of its range, or `update` is called without its inputs.

    Reference: Carmon, Duchi, Hinder and Sidford, Accelerated methods for nonconvex optimization, 2018, section 3; Xu,
    Jin and Yang, First-order stochastic algorithms for escaping from saddle points in almost linear time, 2018.
    """
    where = "negative_curvature_step"
    require_positive(where, "gradient_threshold", gradient_threshold, "A saddle is left where |g| is below it.")
    require_between(where, "curvature_threshold", curvature_threshold, 0, float("inf"), ends="[)")
    require_positive(where, "distance", distance)
    require_count(where, "wait", wait)
    krylov.require_products(where, num_products)
    require_count(where, "seed", seed, minimum=0)
    inner = require_rule(where, inner)

    def init(params: Any) -> NegativeCurvatureState:
        zero, key = jnp.zeros((), jnp.int32), jax.random.key_data(jax.random.key(seed))
        return NegativeCurvatureState(inner.init(params), key, zero + wait, zero, zero + 0)

    def update(updates: Any, state: Any, params: Any = None, *, grad_fn: Any = None, **extra: Any) -> tuple[Any, Any]:
        params, grad_fn = required(where, "params", params), required(where, "grad_fn", grad_fn)
        due = (vectors.norm(updates) <= gradient_threshold) & (state.since >= wait)
        key, draw = _split(state.key)
        steps, inner_state = inner.update(updates, state.inner, params, grad_fn=grad_fn, **extra)

        def moved() -> tuple[Any, jax.Array]:
            product = krylov.hessian_product(grad_fn, params)
            space = krylov.krylov_space(product, krylov.realized(_normal(draw, updates)), num_products)
            values, rotation = jnp.linalg.eigh(space.matrix)
            way = combine(space.basis, rotation[:, 0])
            uphill = vectors.dot(way, krylov.realized(updates)) > 0
            signed = jnp.where(uphill, -distance, distance) * (values[0] < -curvature_threshold)
            way = krylov.restored(jax.lax.stop_gradient(vectors.scale(signed, way)), updates)
            return vectors.axpy(1.0, way, steps), space.num_products

        steps, products = jax.lax.cond(due, moved, lambda: (steps, jnp.zeros((), jnp.int32)))
        state = NegativeCurvatureState(
            inner_state, jnp.where(due, key, state.key), jnp.where(due, 0, next_count(state.since)),
            next_count(state.num_gradients, due), next_count(state.num_products, products),
        )  # fmt: skip
        return steps, state

    return optax.GradientTransformationExtraArgs(init, update)


def noisy(
    inner: optax.GradientTransformation,
    noise: float | jax.Array = 1e-3,
    decay: float | jax.Array = 0.0,
    seed: int = 0,
) -> optax.GradientTransformationExtraArgs:
    """Adds isotropic Gaussian noise to every gradient before `inner` sees it, of variance noise^2 / (1 + t)^decay.

    Args:
      inner: any rule.
      noise: standard deviation of the noise per coordinate at step 0, >= 0, in the unit of the gradient.
      decay: annealing exponent of the variance, >= 0; 0 keeps it constant, .55 is usual for networks.
      seed: seeds the noise, >= 0.

    Returns:
      The rule. Its state is that of inner, a key and a count; each step draws one vector.

    Raises:
      InputError: a concrete argument is out of its range.

    Reference: Ge, Huang, Jin and Yuan, Escaping from saddle points, 2015; the annealing is that of Neelakantan et al.,
    Adding gradient noise improves learning for very deep networks, 2015.
    """
    require_between("noisy", "noise", noise, 0, float("inf"), ends="[)")
    require_between("noisy", "decay", decay, 0, float("inf"), ends="[)", why="A negative one lets the noise grow.")
    require_count("noisy", "seed", seed, minimum=0)
    inner = require_rule("noisy", inner)

    def init(params: Any) -> NoisyState:
        return NoisyState(inner.init(params), jax.random.key_data(jax.random.key(seed)), jnp.zeros((), jnp.int32))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, NoisyState]:
        key, draw = _split(state.key)
        deviation = noise * (1.0 + state.count) ** (-0.5 * decay)
        grads = vectors.axpy(deviation, _normal(draw, updates), updates)
        steps, inner_state = inner.update(grads, state.inner, params, **extra)
        return steps, NoisyState(inner_state, key, next_count(state.count))

    return optax.GradientTransformationExtraArgs(init, update)


def _split(data: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The data of the next key, and a key to draw from."""
    key, draw = jax.random.split(jax.random.wrap_key_data(data))
    return jax.random.key_data(key), draw


@jax.jit
def _kicked_where(due: jax.Array, steps: Any, key: jax.Array, radius: float | jax.Array) -> Any:
    return jax.lax.cond(due, lambda: _kicked(steps, key, radius), lambda: steps)


def _kicked(steps: Any, key: jax.Array, radius: float | jax.Array) -> Any:
    """The steps plus a uniform point of the ball: a random direction at a distance radius u^(1 / d)."""
    direction_key, distance_key = jax.random.split(key)
    direction = _normal(direction_key, steps)
    share = jax.random.uniform(distance_key) ** (1.0 / max(vectors.size(steps), 1))
    length = vectors.norm(direction)
    return vectors.axpy(radius * share / jnp.where(length > 0, length, 1), direction, steps)


@jax.jit
def _normal(key: jax.Array, like: Any) -> Any:
    """Independent N(0, 1) entries, drawn in float32 or wider and rounded once."""
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(key, max(len(leaves), 1))
    drawn = [
        meshes.placed_like(jax.random.normal(k, leaf.shape, vectors.wide_dtype(leaf.dtype)).astype(leaf.dtype), leaf)
        for k, leaf in zip(keys, leaves, strict=False)
    ]
    return structure.unflatten(drawn)
