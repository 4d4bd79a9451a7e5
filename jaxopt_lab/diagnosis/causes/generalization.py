"""overfitting: the validation loss lies far above the training loss, both in evaluation mode and on as many examples.

Threshold: the gap exceeds a quarter of the loss of the best constant output (or of the scale of the loss where that is
not known), and three of its standard errors. A quarter: what was learned and does not carry over is then at least a
third of what does. Where the training loss is a tenth of the validation loss, and thus memorized, three fifths of that
gap are enough; where it is no lower than that constant output's, nothing is memorized.
"""

import numpy as np

from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import decay_weights
from jaxopt_lab.diagnosis.validation import Validation

GAP = 0.25
BY_HEART, LESS = 0.1, 0.6
ERRORS = 3.0
STRONGER, MOST = (10.0, 100.0), 0.3  # decays: the quadratic is that of the end, where the gradient is small


def examine(evidence: Evidence) -> Finding | None:
    """A finding where the validation loss lies far above the training loss."""
    if evidence.validation is None or evidence.run is None or evidence.run.diverged:
        return None
    scale = evidence.point.baseline if evidence.point.baseline else evidence.scale
    if not np.isfinite(evidence.lower_bound):  # a likelihood: what was learned is its scale
        scale = max(scale, (evidence.point.baseline or evidence.point.loss) - evidence.end)
    modes = None if evidence.program is None else evidence.program.modes
    seen = float(
        np.nanmax([evidence.end, evidence.end if modes is None else modes.evaluation, evidence.validation.alike])
    )
    gap = evidence.validation.loss.value - seen
    error = evidence.validation.loss.standard_error or 0.0
    if evidence.point.baseline is not None and seen >= evidence.point.baseline:
        return None
    by_heart = 0 <= seen < BY_HEART * evidence.validation.loss.value
    limit = LESS * GAP if by_heart else GAP
    if not (gap > limit * scale and gap > ERRORS * error):
        return None
    measurements = [
        measured("training loss", seen),
        measured("validation loss", evidence.validation.loss),
        measured("gap over the loss of a constant output", Estimate(gap / scale, error / scale), limit),
    ]
    text = "The model has memorized its training examples: the validation loss stays behind."
    gain, rate = evidence.validation.shrink_gain, _decay(evidence, evidence.validation)
    return make_finding(
        "overfitting", text, measurements, decay_weights(rate), max(gain, 1.0),
        gain_in="validation loss", horizon=max(evidence.num_steps, min(2000, int(3 / rate))),
        follows_from=("non-finite", "learning-rate-too-high", "bad-initialization", "exploding-signal"),
        alternatives=tuple(decay_weights(min(factor * rate, MOST)) for factor in STRONGER if rate < MOST),
    )  # fmt: skip


def _decay(evidence: Evidence, validation: Validation) -> float:
    """The decay a step that holds the weights at `shrink_factor` of themselves, on a quadratic of their curvature.

    Ridge regression keeps lambda / (lambda + alpha) of a direction; a decay of lr alpha a step does that.
    """
    rate = evidence.setting.optimizer.effective_rate
    kept, curvature = validation.shrink_factor, validation.weight_curvature
    if kept >= 1 or curvature <= 0 or not rate > 0:
        return 1e-3
    return float(np.clip(rate * curvature * (1 - kept) / kept, 1e-4, MOST))
