"""overfitting: the validation loss lies far above the training loss.

Threshold: the gap exceeds a quarter of the loss of the best constant output (or of the scale of the loss where that is
not known), and three of its standard errors. A quarter: what was learned and does not carry over is then at least a
third of what does.
"""

import numpy as np

from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, read
from jaxopt_lab.diagnosis.prescriptions import decay_weights

GAP = 0.25
ERRORS = 3.0


def examine(known: Evidence) -> Finding | None:
    """The finding, or None."""
    if known.validation is None or known.run is None or known.run.diverged:
        return None
    scale = known.baseline if known.baseline else known.scale
    gap = known.validation.value - known.end
    error = known.validation.standard_error or 0.0
    if not (gap > GAP * scale and gap > ERRORS * error):
        return None
    evidence = [
        read("training loss", known.end),
        read("validation loss", known.validation),
        read("gap over the loss of a constant output", Estimate(gap / scale, error / scale), GAP),
    ]
    words = "The model has learned its training examples and not the task."
    kept, gain = known.shrinking if known.shrinking is not None else (1.0, 1.0)
    rate = _decay(known, kept)
    return make_finding(
        "overfitting", words, evidence, decay_weights(rate), max(gain, 1.0), gain_in="validation loss",
        horizon=max(known.steps, min(2000, int(3 / rate))), follows_from=("non-finite", "learning-rate-too-high"),
    )  # fmt: skip


def _decay(known: Evidence, kept: float) -> float:
    """The decay a step that holds the weights at `kept` of themselves against a quadratic of their own curvature.

    Ridge regression keeps lambda / (lambda + alpha) of a direction; a decay of lr alpha a step does that.
    """
    rate = known.in_use.effective_rate
    if kept >= 1 or known.weight_curvature <= 0 or not rate > 0:
        return 1e-3
    return float(np.clip(rate * known.weight_curvature * (1 - kept) / kept, 1e-4, 0.3))
