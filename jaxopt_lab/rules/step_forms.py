"""The steps that a rule makes of gradients of one size: by a velocity, by moments and each way to correct them.

m_t = b1 m + (1 - b1) g, v_t = b2 v + (1 - b2) g^2; a step is lr m / sqrt(v), which a velocity behind may sum up. A rule
whose steps are such, whichever gradients came, has that lr as its learning rate. A rule for which no form of them is,
such as one whose second moment is that of what a momentum misses, has none that could be named.

Reference: Kingma and Ba 2015 (both corrected; adamax); Tieleman and Hinton 2012 (RMSProp, v as it is); Dozat 2016
(nesterov); Reddi, Kale, Kumar 2018 (largest v so far); Chen et al. 2023 (Lion, a sign).
"""

import itertools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_ALIKE = 1e-2  # what the rounding of small numbers beside large ones leaves
_SMOOTH = 0.05  # second differences of a schedule's first steps, over its rate


class StepForm(NamedTuple):
    """How a rule makes steps of gradients of one size.

    Attributes:
      form: of the moments, as `unit_steps` names it.
      b1: decay of the first moment, 0 without.
      b2: decay of the second moment, NaN without.
      rho: of a velocity that sums the steps up, 0 without.
      lookahead: 0, or rho where the velocity is Nesterov's.
      is_scaled_last: whether the learning rate scales what the velocity gives, not what it is given.
    """

    form: str = ""
    b1: float = 0.0
    b2: float = float("nan")
    rho: float = 0.0
    lookahead: float = 0.0
    is_scaled_last: bool = True

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Learning rates [..., steps] behind the sizes of steps that answer a gradient that stays."""
        unit = unit_steps(np.ones(steps.shape[-1]), self.b1, self.b2)[self.form]
        if self.is_scaled_last:
            return steps / _with_velocity(unit, self.rho, self.lookahead)
        return _without_velocity(steps, self.rho, self.lookahead) / unit


def unit_steps(gradients: np.ndarray, b1: float, b2: float) -> dict[str, np.ndarray]:
    """Steps [..., steps] at rate 1 for gradients of 0 and 1 [..., steps], by the name of each form.

    Args:
      gradients: from the rule's first step on.
      b1: decay of the first moment, 0 without.
      b2: decay of the second moment, NaN without: then the step is a sign.

    Example:
      >>> {name: steps.round(3).tolist() for name, steps in unit_steps(np.ones(2), 0.0, 0.75).items()}
      {'': [1.0, 1.0], 'biased v': [2.0, 1.512], 'largest v': [1.0, 1.0], 'largest g': [1.0, 1.0]}
    """
    counts = np.arange(1, gradients.shape[-1] + 1)
    m = (1 - b1) * _over_steps(lambda total, new: b1 * total + new, gradients)
    if not 0 < b2 < 1:
        return {"": np.sign(m)}
    v = (1 - b2) * _over_steps(lambda total, new: b2 * total + new, gradients)
    seconds = {
        "": v / (1 - b2**counts),
        "biased v": v,
        "largest v": np.maximum.accumulate(v / (1 - b2**counts), -1),
        "largest g": _over_steps(lambda total, new: np.maximum(b2 * total, new), gradients) ** 2,
    }
    firsts = {"": m / (1 - b1**counts)}
    if b1 > 0:
        lookahead = b1 * m / (1 - b1 ** (counts + 1)) + (1 - b1) * gradients / (1 - b1**counts)
        firsts |= {"nesterov": lookahead, "biased m": m}
    return {
        ", ".join(filter(None, (one, other))): np.divide(
            firsts[one], np.sqrt(seconds[other]), out=np.zeros_like(m), where=seconds[other] > 0
        )
        for one, other in itertools.product(firsts, seconds)
    }


def recognize_steps(steps: np.ndarray, gradients: np.ndarray, decays: StepForm) -> tuple[StepForm, np.ndarray] | None:
    """How a rule makes its steps, and its learning rates [steps]; None where no form gives each step one rate.

    The bias that a moment keeps is told from a schedule by its course: without it the rates are smoother.

    Args:
      steps: that the rule took, [runs, sequences, steps].
      gradients: of 0 and 1 that they answer, [sequences, steps].
      decays: of its moments and its velocity; what else is in it is not read.
    """
    found, velocity = [], (decays.rho, decays.lookahead)
    for is_scaled_last in (True, False) if decays.rho else (True,):
        answers = steps if is_scaled_last else _without_velocity(steps, *velocity)
        tried = []
        for form, unit in unit_steps(gradients, decays.b1, decays.b2).items():
            rates, apart = _common_rates(answers, _with_velocity(unit, *velocity) if is_scaled_last else unit)
            bend = np.abs(np.diff(rates, 2)).max() / max(np.abs(rates).max(), 1e-300)
            if apart < _ALIKE:
                tried.append((bend, apart, decays._replace(form=form, is_scaled_last=is_scaled_last), rates))
        if tried:
            smoothest = min(tried, key=lambda each: each[0])
            found.append(smoothest if smoothest[0] < min(tried[0][0] / 2, _SMOOTH) else tried[0])
    return min(found, key=lambda each: each[1])[2:] if found else None


def _common_rates(steps: np.ndarray, unit: np.ndarray) -> tuple[np.ndarray, float]:
    """-steps / unit, one number for each step [steps], and how far those of all runs are apart, as a share of it."""
    moves = np.broadcast_to(unit > 0, steps.shape)
    rates = np.divide(-steps, unit, out=np.zeros(steps.shape), where=moves)
    mean = rates.sum((0, 1)) / np.maximum(moves.sum((0, 1)), 1)
    apart = np.where(moves, np.abs(rates - mean), 0.0).max((0, 1)) / np.where(mean == 0, 1e-300, np.abs(mean))
    left = np.where(moves, 0.0, np.abs(steps)).max() / max(np.abs(steps).max(), 1e-300)
    return mean, float(max(apart.max(), left))


def _with_velocity(steps: np.ndarray, rho: float, lookahead: float) -> np.ndarray:
    """v_k = rho v_(k-1) + s_k, or Nesterov's s_k + rho v_k."""
    velocity = _over_steps(lambda total, new: rho * total + new, steps)
    return steps + lookahead * velocity if lookahead else velocity


def _without_velocity(steps: np.ndarray, rho: float, lookahead: float) -> np.ndarray:
    """What `_with_velocity` was given."""
    given, velocity = np.zeros_like(steps), np.zeros(steps.shape[:-1])
    ahead = lookahead * rho if lookahead else rho
    for k in range(steps.shape[-1]):
        given[..., k] = (steps[..., k] - ahead * velocity) / (1 + lookahead)
        velocity = rho * velocity + given[..., k]
    return given


def _over_steps(together: Callable[[np.ndarray, np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    return np.moveaxis(np.array(list(itertools.accumulate(np.moveaxis(values, -1, 0), together))), 0, -1)
