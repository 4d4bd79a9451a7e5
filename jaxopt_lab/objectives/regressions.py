"""Regressions: least squares on given data or on an endless stream of examples, and logistic regression."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.errors import require_between, require_finite, require_memory, require_size
from jaxopt_lab.core.memory import available_memory
from jaxopt_lab.objectives.spectra import require_spectrum


def linear_regression(features: jax.typing.ArrayLike, targets: jax.typing.ArrayLike, *, ridge: float = 0.0) -> Problem:
    """Least squares on given data: the mean of 1/2 (x.w - y)^2, plus ridge / 2 |w|^2.

    Args:
      features: X, shape [n, d]; a column of ones in it is a bias unit.
      targets: y, shape [n].
      ridge: penalty >= 0.

    Returns:
      The problem, starting at w = 0. `truth` holds the spectrum of X'X / n + ridge I, computed in float64 at a cost of
      O(n d min(n, d)), the minimizer (of least norm) and the minimum.

    Raises:
      InputError: shapes that do not fit, entries that are not finite, a negative ridge.

    Example:
      >>> problem = linear_regression([[1.0, 0.0], [0.0, 2.0]], [1.0, 2.0])
      >>> problem.truth.condition_number
      4.0
    """
    matrix, column = _examples("linear_regression", features, targets)
    require_between("linear_regression", "ridge", ridge, 0, np.inf, ends="[)")
    num, dim = matrix.shape
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    kept = singular > np.finfo(np.float64).eps * max(num, dim) * singular[0]
    gain = np.where(kept, singular / np.where(kept, singular**2 + num * ridge, 1), 0)
    minimizer = right.T @ (gain * (left.T @ column))
    spectrum = np.zeros(dim)
    spectrum[: len(singular)] = np.where(kept, singular, 0) ** 2 / num
    spectrum = np.sort(spectrum + ridge)
    minimum = 0.5 * np.mean((matrix @ minimizer - column) ** 2) + 0.5 * ridge * minimizer @ minimizer
    truth = Truth(
        eigenvalues=jnp.asarray(spectrum, float),
        smoothness=float(spectrum[-1]),
        strong_convexity=float(spectrum[0]) if spectrum[0] > 0 else None,
        minimum=float(minimum),
        minimizer=jnp.asarray(minimizer, float),
        index=0,
    )
    return Problem(
        loss=jax.tree_util.Partial(_squared_loss, jnp.asarray(ridge, float)),
        init=lambda key: jnp.zeros(dim, float),
        data=(jnp.asarray(matrix, float), jnp.asarray(column, float)),
        truth=truth,
        name="linear-regression",
    )


def streaming_regression(
    eigenvalues: jax.typing.ArrayLike | Sequence[float],
    *,
    batch_size: int = 1,
    label_noise: float = 0.0,
    start: float | None = None,
) -> Problem:
    """Least squares on fresh examples at every step: x ~ N(0, diag(lambda)), y = x.w* + N(0, label_noise^2), w* = 0.

    The expected loss is 1/2 (sum_i lambda_i w_i^2 + label_noise^2); the gradient noise is multiplicative, as in
    real training. Cost of a gradient: 4 B d and B d normal draws.

    Args:
      eigenvalues: of the covariance of x, shape [d], all positive.
      batch_size: B >= 1 examples a step.
      label_noise: standard deviation of the labels' noise, >= 0.
      start: initial parameters, a constant; None draws them from N(0, I) by the key.

    Returns:
      The problem; its loss draws the batch from the key, and without a key is the expected loss.

    Raises:
      InputError: an argument is out of its range, or a batch does not fit in memory.
    """
    spectrum = require_spectrum("streaming_regression", eigenvalues)
    require_size("streaming_regression", "batch_size", batch_size)
    require_between("streaming_regression", "label_noise", label_noise, 0, np.inf, ends="[)")
    low, high = float(jnp.min(spectrum)), float(jnp.max(spectrum))
    if low <= 0:
        raise fail("streaming_regression", f"eigenvalues must be positive, got {low}", "They are variances.")
    dim = spectrum.shape[0]
    needed = 3 * batch_size * spectrum.nbytes
    require_memory("streaming_regression", needed, available_memory(), f"a batch of {batch_size} x {dim:.3g} entries")
    dtype = spectrum.dtype
    truth = Truth(
        eigenvalues=spectrum,
        smoothness=high,
        strong_convexity=low,
        minimum=0.5 * label_noise**2,
        minimizer=jnp.zeros((), dtype),
        index=0,
    )
    constants = (spectrum, jnp.asarray(label_noise, dtype))
    return Problem(
        loss=jax.tree_util.Partial(_StreamLoss(batch_size), constants),
        init=lambda key: jax.random.normal(key, (dim,), dtype) if start is None else jnp.full((dim,), start, dtype),
        truth=truth,
        name="streaming-regression",
    )


def logistic_regression(features: jax.typing.ArrayLike, labels: jax.typing.ArrayLike, *, ridge: float = 0.0) -> Problem:
    """Two-class logistic regression: the mean of log(1 + exp(-s x.w)), s = +-1, plus ridge / 2 |w|^2.

    At w = 0 the loss is ln 2 and the Hessian X'X / (4 n) + ridge I, whose largest eigenvalue bounds the curvature
    everywhere.

    Args:
      features: X, shape [n, d].
      labels: 0 or 1, shape [n].
      ridge: penalty >= 0.

    Returns:
      The problem, starting at w = 0; `truth.smoothness` is the bound on the curvature, and with ridge > 0
      `truth.strong_convexity` is ridge.

    Raises:
      InputError: shapes that do not fit, entries that are not finite, labels other than 0 and 1, a negative ridge.
    """
    matrix, column = _examples("logistic_regression", features, labels)
    require_between("logistic_regression", "ridge", ridge, 0, np.inf, ends="[)")
    if not np.isin(column, (0, 1)).all():
        raise fail("logistic_regression", f"labels must be 0 or 1, got {np.unique(column)[:5]}")
    num, dim = matrix.shape
    smoothness = float(np.linalg.norm(matrix, 2) ** 2 / (4 * num) + ridge)
    return Problem(
        loss=jax.tree_util.Partial(_logistic_loss, jnp.asarray(ridge, float)),
        init=lambda key: jnp.zeros(dim, float),
        data=(jnp.asarray(matrix, float), jnp.asarray(column, float)),
        truth=Truth(smoothness=smoothness, strong_convexity=ridge or None, index=0),
        name="logistic-regression",
    )


class _StreamLoss:
    """The streaming loss for one batch size; equal for equal batch sizes, so that programs are shared."""

    def __init__(self, batch_size: int) -> None:
        self.batch_size = batch_size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StreamLoss) and other.batch_size == self.batch_size

    def __hash__(self) -> int:
        return hash(self.batch_size)

    def __call__(
        self, constants: tuple[jax.Array, jax.Array], params: jax.Array, batch: None, key: jax.Array | None
    ) -> jax.Array:
        del batch
        spectrum, noise = constants
        if key is None:
            return 0.5 * (jnp.sum(spectrum * jnp.square(params)) + noise**2)
        example_key, label_key = jax.random.split(key)
        shape = (self.batch_size, params.shape[0])
        examples = jnp.sqrt(spectrum) * jax.random.normal(example_key, shape, params.dtype)
        labels = noise * jax.random.normal(label_key, (self.batch_size,), params.dtype)
        return 0.5 * jnp.mean(jnp.square(jnp.sum(examples * params, axis=1) - labels))


def _squared_loss(ridge: jax.Array, params: jax.Array, batch: tuple[jax.Array, jax.Array], key: None) -> jax.Array:
    del key
    features, targets = batch
    return 0.5 * jnp.mean(jnp.square(features @ params - targets)) + 0.5 * ridge * jnp.sum(jnp.square(params))


def _logistic_loss(ridge: jax.Array, params: jax.Array, batch: tuple[jax.Array, jax.Array], key: None) -> jax.Array:
    del key
    features, labels = batch
    margin = (2 * labels - 1) * (features @ params)
    return jnp.mean(jax.nn.softplus(-margin)) + 0.5 * ridge * jnp.sum(jnp.square(params))


def _examples(
    where: str, features: jax.typing.ArrayLike, targets: jax.typing.ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    matrix, column = np.asarray(features, np.float64), np.asarray(targets, np.float64)
    if matrix.ndim != 2 or column.shape != matrix.shape[:1] or matrix.size == 0:
        raise fail(where, f"features must be [n, d] and targets [n], got {matrix.shape} and {column.shape}")
    require_finite(where, "features", matrix)
    require_finite(where, "targets", column)
    return matrix, column
