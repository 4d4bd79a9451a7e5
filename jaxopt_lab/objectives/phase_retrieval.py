"""Phase retrieval: a vector from the squares of its inner products. Its saddles are known, and all of them are strict.

    sample       f(x) = mean over i of ((a_i.x)^2 - (a_i.x*)^2)^2 / 4,      a_i ~ N(0, I), |x*| = 1
    population   f(x) = (3 |x|^4 + 3 - 2 |x|^2 - 4 (x.x*)^2) / 4

Critical points of the population: +-x* at loss 0 (eigenvalues 6 and 2), the maximum 0 at loss 3/4 (-3 and -1), and
the saddles x.x* = 0, |x| = 1 / sqrt(3) at loss 2/3: an eigenvalue -2 along x*, a 2 along x, and zeros.
From a random point there, descent has to find one direction of d: h = 2 lr in `theory.escapes.random_escape_time`.

Reference: Sun, Qu and Wright, A geometric analysis of phase retrieval, 2018.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.errors import require_count, require_memory
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.core.problem import Batch, Key

PHASE_SADDLE_LOSS = 2 / 3
PHASE_SADDLE_RADIUS = float(np.sqrt(1 / 3))


def phase_retrieval(dim: int, *, num_examples: int | None = None, seed: int = 0) -> Problem:
    """The population loss, or that of a sample; x* is the first unit vector.

    Args:
      dim: d >= 2.
      num_examples: n >= d examples, drawn once, or None for the population.
      seed: seeds the examples, >= 0.

    Returns:
      The problem, which starts in a uniform direction at the saddles' distance 1 / sqrt(3). `truth` holds the
      minimizer, the minimum 0, the saddles' index 1 and, for the population, the eigenvalues at the minimizer. Cost of
      a gradient: O(d) for the population, O(n d) and 4 n d bytes for a sample in float32.

    Raises:
      InputError: dim below 2, fewer examples than dimensions, or more than fit into memory.

    Example:
      >>> problem = phase_retrieval(3)
      >>> round(float(problem.full_loss(jnp.array([0.0, PHASE_SADDLE_RADIUS, 0.0]))), 6)
      0.666667
    """
    require_count("phase_retrieval", "dim", dim, minimum=2)
    require_count("phase_retrieval", "seed", seed, minimum=0)
    real = jnp.zeros((), float).dtype
    minimizer = jnp.zeros(dim, real).at[0].set(1)
    truth = Truth(minimum=0.0, minimizer=minimizer, index=1)
    if num_examples is None:
        eigenvalues = jnp.full(dim, 2, real).at[-1].set(6)
        return Problem(
            loss=_population_loss,
            init=_Sphere(dim),
            truth=dataclasses.replace(truth, eigenvalues=eigenvalues),
            name="phase-retrieval",
        )
    require_count("phase_retrieval", "num_examples", num_examples)
    if num_examples < dim:
        raise fail(
            "phase_retrieval", f"num_examples must be at least dim = {dim}, got {num_examples}",
            "With fewer, other vectors have the same squares; about 10 dim find x*.",
        )  # fmt: skip
    needed = num_examples * dim * real.itemsize
    require_memory("phase_retrieval", needed, available_memory(), f"{num_examples} examples", "Take fewer.")
    features = jax.random.normal(jax.random.key(seed), (num_examples, dim), real)
    data = (features, jnp.square(features[:, 0]))
    return Problem(loss=_sample_loss, init=_Sphere(dim), data=data, truth=truth, name="phase-retrieval-sample")


@dataclasses.dataclass(frozen=True)
class _Sphere:
    """A uniform point of the sphere on which the saddles lie."""

    dim: int

    def __call__(self, key: Key) -> jax.Array:
        direction = jax.random.normal(key, (self.dim,), float)
        return direction * (PHASE_SADDLE_RADIUS / jnp.sqrt(jnp.sum(jnp.square(direction))))


def _population_loss(params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del batch, key
    square = jnp.sum(jnp.square(params))
    return 0.25 * (3 * jnp.square(square) + 3 - 2 * square - 4 * jnp.square(params[0]))


def _sample_loss(params: jax.Array, batch: Batch, key: Key | None) -> jax.Array:
    del key
    features, squares = batch
    return 0.25 * jnp.mean(jnp.square(jnp.square(features @ params) - squares))
