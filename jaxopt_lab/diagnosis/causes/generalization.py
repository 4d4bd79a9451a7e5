"""overfitting: the validation loss lies far above the training loss.

Threshold: the gap exceeds a quarter of the loss of the best constant output (or of the scale of the loss where that is
not known), and three of its standard errors. A quarter: what was learned and does not carry over is then at least a
third of what does.
"""

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
    rate = 1 - kept ** (1 / max(known.steps, 1)) if kept < 1 else 1e-3
    return make_finding(
        "overfitting", words, evidence, decay_weights(rate), max(gain, 1.0), gain_in="validation loss",
        horizon=known.steps, follows_from=("non-finite",),
    )  # fmt: skip
