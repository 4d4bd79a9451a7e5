"""The density of an operator's eigenvalues by stochastic Lanczos quadrature, with error bars from independent probes.

    density(x) = (1/d) sum_i K(x - lambda_i)  ~  mean over probes of  sum_j w_j K(x - theta_j)

On a logarithmic axis the kernel stands on log10 |x|, and the two signs are kept apart.

Reference: Ghorbani, Krishnan, Xiao 2019, arXiv 1901.10159; Lin, Saad, Yang 2016, Approximating spectral densities of
large matrices.
"""

import dataclasses

import jax
import numpy as np

from jaxopt_lab.core.errors import require_choice, require_count, require_positive
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.quadratures import Quadrature, gauss_quadratures

AXES = ("linear", "log")


@dataclasses.dataclass(frozen=True)
class Density:
    """A smoothed density of eigenvalues.

    Attributes:
      axis: "linear" or "log".
      grid: eigenvalues [g], or magnitudes [g] on the log axis, in increasing order.
      values: the density [g] on the axis: shares of the d eigenvalues per unit, or per decade of positive ones.
      errors: its standard error over the probes, [g]; infinite for a single probe.
      negative: on the log axis, the density of negative eigenvalues by their magnitude, [g]; else None.
      negative_errors: its standard error, [g], or None.
      near_zero: on the log axis, the share of eigenvalues below the grid's start or the rounding error; else 0.
      width: standard deviation of the kernel, in units of the axis (decades on the log axis).
      quadratures: the rules behind it.
    """

    axis: str
    grid: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    negative: np.ndarray | None
    negative_errors: np.ndarray | None
    near_zero: float
    width: float
    quadratures: tuple[Quadrature, ...]

    @property
    def products(self) -> int:
        """Products spent."""
        return sum(rule.products for rule in self.quadratures)


def spectral_density(
    operator: Operator,
    *,
    num_probes: int = 4,
    num_steps: int = 40,
    axis: str = "linear",
    num_points: int = 400,
    width: float | None = None,
    decades: float = 8.0,
    basis: str = "device",
    key: jax.Array | None = None,
) -> Density:
    """The density of eigenvalues.

    Args:
      operator: symmetric, d rows.
      num_probes: s random sign vectors.
      num_steps: k products for each.
      axis: "linear" or "log".
      num_points: g points of the grid.
      width: standard deviation of the kernel: by default a hundredth of the range, or a tenth of a decade.
      decades: the log axis reaches so far below the largest |eigenvalue|.
      basis: where the k vectors of a probe are kept: on the "device", there in "bfloat16", on the "host", or not at all
        ("none"; 5 vectors are enough for any k then). What rounding does is taken to be 16 epsilon of the largest
        |eigenvalue|, with "bfloat16" 6e-5 and with "none" sqrt(epsilon), below which the log axis counts all as near
        zero.
      key: PRNG key; 0 by default.

    Returns:
      The density; it integrates to 1 over the axis, with `near_zero` on the log axis. Cost: at most s k products; k + 3
      vectors of memory, or 5 on the device.

    Raises:
      InputError: an argument out of its range, or too little memory.

    Example:
      >>> import jax.numpy as jnp
      >>> from jaxopt_lab.curvature import from_diagonal
      >>> density = spectral_density(from_diagonal(jnp.array([1.0, 1.0, 3.0, 3.0])), num_points=2000)
      >>> round(float(np.trapezoid(density.values, density.grid)), 3)
      1.0
    """
    require_choice("spectral_density", "axis", axis, AXES)
    require_count("spectral_density", "num_points", num_points, 2)
    require_positive("spectral_density", "decades", decades)
    if width is not None:
        require_positive("spectral_density", "width", width)
    return density_of(
        gauss_quadratures(operator, num_probes, num_steps, key, basis=basis),
        axis,
        num_points=num_points,
        width=width,
        decades=decades,
    )


def density_of(
    quadratures: list[Quadrature],
    axis: str = "linear",
    *,
    num_points: int = 400,
    width: float | None = None,
    decades: float = 8.0,
) -> Density:
    """The density that quadratures, already paid for, give; the arguments are those of `spectral_density`."""
    nodes = np.concatenate([rule.rule[0] for rule in quadratures])
    low, high, largest = nodes.min(), nodes.max(), float(np.abs(nodes).max()) or 1.0
    if axis == "linear":
        width = width or 0.01 * (high - low) or 0.01 * largest
        grid = np.linspace(low - 5 * width, high + 5 * width, num_points)
        values, errors = _smoothed(quadratures, grid, width, lambda nodes: nodes)
        return Density(axis, grid, values, errors, None, None, 0.0, width, tuple(quadratures))
    width = width or 0.1
    places = np.linspace(np.log10(largest) - decades, np.log10(largest) + 5 * width, num_points)
    start = max(10 ** places[0], *(rule.rounding for rule in quadratures))
    sides = [
        _smoothed(quadratures, places, width, lambda nodes, sign=sign: _logarithm(sign * nodes, start))
        for sign in (1, -1)
    ]
    inside = [float(rule.rule[1][np.abs(rule.rule[0]) < start].sum()) for rule in quadratures]
    (values, errors), (negative, negative_errors) = sides
    return Density(
        axis, 10**places, values, errors, negative, negative_errors, float(np.mean(inside)), width, tuple(quadratures)
    )


def _logarithm(nodes: np.ndarray, start: float) -> np.ndarray:
    """log10 of the nodes; far off the grid for those below its start."""
    return np.where(nodes >= start, np.log10(np.maximum(nodes, start)), -np.inf)


def _smoothed(quadratures: list[Quadrature], grid: np.ndarray, width: float, place: object) -> tuple[np.ndarray, ...]:
    assert callable(place)
    each = np.zeros((len(quadratures), len(grid)))
    for row, quadrature in zip(each, quadratures, strict=True):
        nodes, weights = quadrature.rule
        offsets = (grid[:, None] - place(nodes)) / width
        row[:] = np.exp(-0.5 * np.square(offsets)) @ weights / (width * np.sqrt(2 * np.pi))
    num = len(each)
    errors = each.std(0, ddof=1) / np.sqrt(num) if num > 1 else np.full(len(grid), np.inf)
    return each.mean(0), errors
