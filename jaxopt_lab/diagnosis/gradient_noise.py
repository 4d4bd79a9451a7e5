"""Losses, gradients, and their noise as the rule meets it: batches of its own size, and the loss's own randomness.

    tr S_B = E |g_B - G|^2,        tr(H S_B) = E (g_B - G)' H (g_B - G)

G is the gradient over all data, which is known here. One step of SGD at rate lr changes the expected loss by
-lr |G|^2 + lr^2 / 2 (G'HG + tr(H S_B)): noise takes the gain away at lr = 2 |G|^2 / (G'HG + tr(H S_B)), and a run that
stands at its noise floor stands about lr tr S_B / 4 above the minimum, times 1 / (1 - rho) with momentum.

Reference: McCandlish et al. 2018, equation 2.6; Mandt, Hoffman, Blei 2017; `theory.noise_floors.loss_floor`.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Estimate, Problem, mean_of_samples, meshes, vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.output_search import OutputSearch, constant_output_loss, loss_at_constant, search_outputs
from jaxopt_lab.tracing.targets import classes_of
from jaxopt_lab.training.baselines import constant_loss

_TRAPEZOID = 1e-3


@dataclasses.dataclass(frozen=True)
class GradientNoise:
    """The noise of one step's gradient.

    Attributes:
      trace: tr S_B; of P^-1 S_B for a rule that divides by P.
      gradient_square: |G|^2, in the same measure.
      num_samples: gradients it rests on.
    """

    trace: Estimate
    gradient_square: float
    num_samples: int

    @property
    def ratio(self) -> float:
        """Noise over signal in one step, tr S_B / |G|^2: B_simple / B."""
        return self.trace.value / max(self.gradient_square, 1e-300)


def measure_noise(
    problem: Problem, params: Any, gradient: Any, *, batch_size: int | None, num_samples: int, seed: int,
    preconditioner: Any = None,
) -> GradientNoise:  # fmt: skip
    """Draws gradients as a run would, and compares them with the expected one.

    Args:
      problem: its loss, data and own randomness.
      params: the point.
      gradient: of the expected loss there.
      batch_size: examples a step; None for all.
      num_samples: gradients, at least 2.
      seed: seeds the draws.
      preconditioner: P, or None.

    Returns:
      The noise. Cost: num_samples batch gradients.
    """
    num = problem.num_examples or 1
    size = num if batch_size is None else batch_size
    rows = np.stack([np.random.default_rng((seed, k)).permutation(num)[:size] for k in range(num_samples)])
    squares = _deviations(
        as_partial(problem.loss), params, gradient, problem.data, jnp.asarray(rows, jnp.int32),
        jax.random.key(seed), preconditioner,
    )  # fmt: skip
    samples = np.asarray(squares, np.float64)
    return GradientNoise(
        mean_of_samples(samples, cost=num_samples), float(_square(gradient, preconditioner)), num_samples
    )


@jax.jit
def _square(tree: Any, preconditioner: Any) -> jax.Array:
    """<v, P^-1 v>."""
    return vectors.dot(tree, tree if preconditioner is None else jax.tree.map(jnp.divide, tree, preconditioner))


@jax.jit
def _deviations(
    loss: Any, params: Any, gradient: Any, data: Any, rows: jax.Array, key: jax.Array, preconditioner: Any
) -> jax.Array:
    """|g_B - G|^2 of each draw, [s]."""

    def one(carry: None, drawn: tuple[jax.Array, jax.Array]) -> tuple[None, jax.Array]:
        places, place = drawn
        batch = jax.tree.map(lambda leaf: leaf[places], data)
        sample = jax.grad(loss)(params, batch, jax.random.fold_in(key, place))
        return carry, _square(jax.tree.map(jnp.subtract, sample, gradient), preconditioner)

    return jax.lax.scan(one, None, (rows, jnp.arange(len(rows))))[1]


def draw_batch(problem: Problem, batch_size: int | None, seed: tuple[int, int]) -> Any:
    """Examples as a step of a run draws them; all of the data for None."""
    num = problem.num_examples
    if num is None or batch_size is None:
        return problem.data
    rows = np.random.default_rng(seed).permutation(num)[:batch_size]
    return meshes.take(problem.data, rows)


@jax.jit
def value_and_gradient(loss: Any, params: Any, data: Any) -> Any:
    """The expected loss and its gradient."""
    return jax.value_and_grad(loss)(params, data, None)


@jax.jit
def sample_gradient(loss: Any, params: Any, data: Any, key: jax.Array) -> Any:
    """The gradient of one draw of the loss's own randomness."""
    return jax.grad(loss)(params, data, key)


@jax.jit
def value(loss: Any, params: Any, data: Any) -> jax.Array:
    """The expected loss."""
    return jnp.asarray(loss(params, data, None))


def constant_output(problem: Problem, params: Any, search: OutputSearch | None) -> tuple[float | None, int | None]:
    """The loss of the best constant output, and the number of classes.

    Where neither the problem's form nor its program tells the outputs, the loss with all parameters zero. None without
    data, and where zero parameters cost infinitely much, as a logarithm of their determinant does: what stands against
    the best constant output is then no part of the outputs.
    """
    loss, num_classes = constant_loss(problem)
    if loss is not None or problem.data is None:
        return loss, num_classes
    frozen = problem.freeze()
    if search is not None:
        loss = constant_output_loss(frozen, params, search)
        if not search.place.is_pairwise and loss_at_constant(frozen, vectors.zeros_like(params), search) == np.inf:
            return None, _num_classes(search, problem.data)
        if loss is not None:
            return loss, _num_classes(search, problem.data)
    zero = float(value(as_partial(frozen.loss), vectors.zeros_like(params), problem.data))
    return (zero if np.isfinite(zero) else None), None


def units_of_loss(before: float | None, problem: Problem, params: Any, seed: int) -> tuple[float, float] | None:
    """The loss of the best constant output before, as given, and of a changed problem; None where one is not known."""
    after = constant_output(problem, params, search_outputs(problem.freeze(), params, seed))[0]
    return (before, after) if before is not None and before > 0 and after is not None and after > 0 else None


def _num_classes(search: OutputSearch, data: Any) -> int | None:
    found = classes_of(search.place, data)
    return int(search.place.shape[-1]) if found is not None and found[1] and len(search.place.shape) > 1 else None


def is_quadratic(problem: Problem, start: Any, end: Any) -> bool:
    """Whether the trapezoidal rule gives the change of the loss over all data, to a thousandth: on quadratics it does.

    f(y) - f(x) = <f'(x) + f'(y), y - x> / 2
    """
    loss = as_partial(problem.freeze().loss)
    (before, first), (after, last) = (value_and_gradient(loss, params, problem.data) for params in (start, end))
    expected = 0.5 * vectors.dot(vectors.combination((1.0, first), (1.0, last)), vectors.subtract(end, start))
    return bool(abs(expected - (after - before)) <= _TRAPEZOID * abs(after - before))
