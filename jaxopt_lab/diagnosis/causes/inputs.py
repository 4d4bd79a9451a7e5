"""unnormalized-inputs: means far from zero, or scales far apart, make every model on these inputs ill-conditioned.

Thresholds: the features' means exceed their deviations (rms) or their deviations differ ten times, and standardizing
saves a linear model on the same inputs and targets four times the steps. At mean = deviation in d features the
condition number is already about d^2 (`theory.preprocessing.condition_number_with_bias`; LeCun, Kanter, Solla 1991).
And training must suffer: the run diverged, has more than a fifth of a constant output's loss left, or is
ill-conditioned.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis import predicted_gain
from jaxopt_lab.diagnosis.causes import conditioning
from jaxopt_lab.diagnosis.evidence import Evidence, horizon_for
from jaxopt_lab.diagnosis.findings import Finding, make_finding, read
from jaxopt_lab.diagnosis.inputs import OFFSET, SPREAD, InputStatistics
from jaxopt_lab.diagnosis.prescriptions import standardize_inputs

SOURCE = "theory.preprocessing.condition_number_with_bias; LeCun, Kanter, Solla 1991"


def examine(known: Evidence) -> Finding | None:
    """The finding, or None."""
    inputs = known.inputs
    if inputs is None or not inputs.unnormalized:
        return None
    diverged = known.run is not None and known.run.diverged
    if not (known.suffers or conditioning.examine(known) is not None):
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
    factor, horizon = _same_share(known), horizon_for(known, inputs.gain)
    forecast = None if diverged else _forecast(known, factor)
    gain = float("inf") if diverged else inputs.gain if forecast is None else forecast(horizon)
    return make_finding(
        "unnormalized-inputs", words, evidence, standardize_inputs(factor), gain, horizon=horizon, forecast=forecast,
        follows_from=("non-finite",),
    )  # fmt: skip


def _same_share(known: Evidence) -> float:
    """The factor that gives the rate, on standardized inputs, the share of the edge that it has now, at most a half."""
    use, raw, standardized = known.in_use, known.model, known.model_standardized
    if standardized is None or raw is None or use.kind == "adaptive" or not np.isfinite(use.edge):
        return 1.0
    return min(use.share_of_edge(raw.largest), 0.5) / max(use.share_of_edge(standardized.largest), 1e-12)


def _forecast(known: Evidence, factor: float) -> Callable[[int], float] | None:
    """Steps -> gain by the local models of both problems; None where they are not known for the rule in use."""
    standardized, method = known.model_standardized, known.method
    if standardized is None or method is None or known.in_use.kind == "adaptive":
        return None
    after = dataclasses.replace(method, learning_rate=factor * method.learning_rate)
    return lambda count: predicted_gain.speed_up(known, count, standardized, after, same=False)


def _closed_form(inputs: InputStatistics) -> float:
    """The condition number of features whose means are `offset` of one common deviation."""
    norm = inputs.offset * np.sqrt(max(inputs.num_features - inputs.num_constant, 1))
    return float(theory.preprocessing.condition_number_with_bias(norm))
