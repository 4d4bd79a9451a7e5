"""`Estimate`: a measured number together with its error and its cost; Holm's correction where there are several."""

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A value with its error.

    Attributes:
      value: the number itself.
      standard_error: its standard error, in the unit of `value`, or None.
      interval: (low, high), or None; an end may be infinite when only a bound is certified.
      level: the confidence of `interval`; 1.0 for a certified enclosure.
      cost: gradient-equivalents or operator products spent on it.
      unit: the unit of `value`, "" for a pure number.
    """

    value: float
    standard_error: float | None = None
    interval: tuple[float, float] | None = None
    level: float = 0.95
    cost: int = 0
    unit: str = ""

    def __str__(self) -> str:
        text = f"{self.value:.6g}"
        if self.standard_error is not None:
            text += f" +- {self.standard_error:.2g}"
        elif self.interval is not None:
            text += f" in [{self.interval[0]:.6g}, {self.interval[1]:.6g}]"
        return f"{text} {self.unit}".rstrip()


def mean_of_samples(samples: np.ndarray, *, unit: str = "", cost: int = 0) -> Estimate:
    """Mean of independent samples [s] with its standard error (n - 1 in the denominator).

    The error is infinite of a single sample, and where one is not finite.

    Example:
      >>> print(mean_of_samples(np.array([1.0, 2.0, 3.0])))
      2 +- 0.58
    """
    samples = np.asarray(samples, np.float64)
    is_known = samples.size > 1 and np.isfinite(samples).all()
    error = samples.std(ddof=1) / np.sqrt(samples.size) if is_known else float("inf")
    return Estimate(float(samples.mean()), float(error), cost=cost, unit=unit)


def mean_of_batches(series: np.ndarray, num_batches: int = 20, *, unit: str = "") -> Estimate:
    """Mean of a correlated series [t] with a batch-means standard error.

    Consecutive samples of a training run are correlated, so the naive error is too small; means of
    `num_batches` long stretches are nearly independent.

    Args:
      series: measurements in time order, shape [t]; the first t mod num_batches are left out.
      num_batches: number of stretches; each must be much longer than the correlation time.
      unit: the unit of the measurements.

    Reference: Asmussen and Glynn, Stochastic Simulation, 2007, section IV.5.
    """
    series = np.asarray(series, np.float64)
    length = series.size // num_batches
    return mean_of_samples(series[series.size - length * num_batches :].reshape(num_batches, length).mean(1), unit=unit)


def holm(ps: Sequence[float]) -> list[float]:
    """The p-values of a family, corrected so that the chance of any false claim in it stays below the level.

    Args:
      ps: p-values, all that were looked at.

    Returns:
      The corrected ones, in the same order, at most 1.

    Example:
      >>> holm([0.001, 0.04, 0.02])
      [0.003, 0.04, 0.04]

    Reference: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    ranked = np.asarray(ps, float)
    order = np.argsort(ranked, kind="stable")
    raised = np.maximum.accumulate(ranked[order] * (len(ranked) - np.arange(len(ranked))))
    corrected = np.empty(len(ranked))
    corrected[order] = np.minimum(raised, 1.0)
    return corrected.tolist()
