"""unnormalized-inputs: means far from zero, or scales far apart, make every model on these inputs ill-conditioned.

Thresholds: the features' means exceed their deviations (rms) or their deviations differ ten times, and standardizing
saves a linear model on the same inputs and targets four times the steps. At mean = deviation in d features the
condition number is already about d^2 (`theory.condition_number_with_bias`; LeCun, Kanter, Solla 1991).
And training must suffer: the run diverged, has more than a fifth of a constant output's loss left, or is
ill-conditioned.
"""

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.causes import conditioning
from jaxopt_lab.diagnosis.evidence import Evidence, horizon_for
from jaxopt_lab.diagnosis.findings import Finding, make_finding, read
from jaxopt_lab.diagnosis.inputs import InputStatistics
from jaxopt_lab.diagnosis.prescriptions import standardize_inputs

SOURCE = "theory.condition_number_with_bias; LeCun, Kanter, Solla 1991"
OFFSET, SPREAD, GAIN = 1.0, 10.0, 4.0


def examine(known: Evidence) -> Finding | None:
    """The finding, or None."""
    inputs = known.inputs
    if inputs is None:
        return None
    far = inputs.offset >= OFFSET or inputs.spread >= SPREAD
    diverged = known.run is not None and known.run.diverged
    if not far or inputs.gain < GAIN or not (known.suffers or conditioning.examine(known) is not None):
        return None
    calm = known.in_use.learning_rate * inputs.top_standardized / max(known.in_use.edge, 1e-300)
    if diverged and inputs.top_raw < 4 * inputs.top_standardized and not np.isnan(calm):
        return None
    evidence = [
        read("mean over deviation of the features", inputs.offset, OFFSET, SOURCE),
        read("largest over smallest deviation", inputs.spread, SPREAD),
        read("condition number of a linear model on them", Estimate(inputs.kappa_raw)),
        read("the same by the closed form for equal scales", _closed_form(inputs), source=SOURCE),
        read("the same, standardized", Estimate(inputs.kappa_standardized)),
        read("steps of a linear model, raw", inputs.steps_raw),
        read("steps of a linear model, standardized", inputs.steps_standardized),
    ]
    words = (
        f"The inputs ({inputs.path or 'data'}) are not normalized: means of {inputs.offset:.3g} deviations, scales"
        f" {inputs.spread:.3g} times apart."
    )
    gain = float("inf") if diverged else inputs.gain
    return make_finding(
        "unnormalized-inputs", words, evidence, standardize_inputs(), gain, horizon=horizon_for(known, gain),
        follows_from=("non-finite",),
    )  # fmt: skip


def _closed_form(inputs: InputStatistics) -> float:
    """The condition number of features whose means are `offset` of one common deviation."""
    norm = inputs.offset * np.sqrt(max(inputs.num_features - inputs.num_constant, 1))
    return float(theory.condition_number_with_bias(norm))
