"""unnormalized-inputs: means far from zero, or scales far apart, make every model on these inputs ill-conditioned.

Thresholds: the features' means exceed their deviations (rms) or their deviations differ ten times, and standardizing
saves a linear model on the same inputs and targets four times the steps. At mean = deviation in d features the
condition number is already about d^2 (`theory.preprocessing.condition_number_with_bias`; LeCun, Kanter, Solla 1991).
And training must suffer: the run diverged, has more than a fifth of a constant output's loss left, or is
ill-conditioned. Where the deviations are thirty times what the quartiles give, a few values set the scale and the
others are as good as equal: standardizing does not help there, and clipping is tried. Of inputs that are the targets
too it is not told: other inputs would ask for other outputs.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis import predicted_gain
from jaxopt_lab.diagnosis.causes import conditioning
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.inputs import OFFSET, SPREAD, TAIL, InputStatistics, find_inputs
from jaxopt_lab.diagnosis.predicted_gain import horizon_for
from jaxopt_lab.diagnosis.prescriptions import clip_inputs, standardize_inputs
from jaxopt_lab.diagnosis.quadratic_model import QuadraticModel

MOST = 1e3
SOURCE = "theory.preprocessing.condition_number_with_bias; LeCun, Kanter, Solla 1991"


def examine(evidence: Evidence) -> Finding | None:
    """A finding where standardizing the inputs would save a linear model steps, and training suffers."""
    inputs = evidence.part("data.inputs")
    if inputs is None or _are_targets(evidence):
        return None
    if inputs.tail >= TAIL and evidence.is_underperforming:
        return _crushed(evidence, inputs)
    if not inputs.unnormalized:
        return None
    diverged = evidence.run is not None and evidence.run.diverged
    if not (evidence.is_underperforming or conditioning.examine(evidence) is not None):
        return None
    calm = (
        evidence.setting.optimizer.learning_rate
        * inputs.standardized.largest
        / max(evidence.setting.optimizer.edge, 1e-300)
    )
    if diverged and inputs.raw.largest < 4 * inputs.standardized.largest and not np.isnan(calm):
        return None
    measurements = [
        measured("mean over standard deviation of the features", inputs.offset, OFFSET, SOURCE),
        measured("largest over smallest deviation", inputs.spread, SPREAD),
        measured("condition number of a linear model on them", Estimate(inputs.raw.condition_number)),
        measured("the same by the closed form for equal scales", _closed_form(inputs), source=SOURCE),
        measured("the same, standardized", Estimate(inputs.standardized.condition_number)),
        measured("steps of a linear model, raw", inputs.raw.steps),
        measured("steps of a linear model, standardized", inputs.standardized.steps),
    ]
    text = (
        f"The inputs ({inputs.path or 'data'}) are not normalized: means of {inputs.offset:.3g} standard deviations,"
        f" scales {inputs.spread:.3g} times apart."
    )
    factor, horizon = _same_share(evidence), horizon_for(evidence, inputs.gain)
    forecast = None if diverged else _forecast(evidence, factor)
    gain = float("inf") if diverged else inputs.gain if forecast is None else forecast(horizon)
    cure = standardize_inputs(factor, evidence.setting.optimizer)
    return make_finding(
        "unnormalized-inputs", text, measurements, cure, gain, horizon=horizon,
        forecast=forecast,
        follows_from=("non-finite",),
    )  # fmt: skip


def _crushed(evidence: Evidence, inputs: InputStatistics) -> Finding:
    text = (
        f"A few values set the scale of the inputs ({inputs.path or 'data'}): half of the others lie within 1 /"
        f" {inputs.tail:.3g} of a deviation."
    )
    numbers = [measured("standard deviation over what the quartiles give, median of the features", inputs.tail, TAIL)]
    gain = min(inputs.tail, MOST)
    return make_finding(
        "unnormalized-inputs", text, numbers, clip_inputs(), gain, horizon=horizon_for(evidence, gain)
    )  # fmt: skip


def _are_targets(evidence: Evidence) -> bool:
    """Whether the loss compares the outputs with the inputs themselves: standardized, they ask for other outputs."""
    search = evidence.part("program.outputs")
    return search is not None and find_inputs(evidence.setting.problem.data) in search.place.targets


def _same_share(evidence: Evidence) -> float:
    """The factor that gives the rate, on standardized inputs, the share of the edge that it has now, at most a half.

    1 where there is no curvature on raw or on standardized inputs, or none that is known: there is no share then. And
    where the rate is past the edge on standardized inputs too: what a lower one gives is not the inputs' to give.
    """
    use, raw, standardized = evidence.setting.optimizer, evidence.model_at_point, _standardized(evidence)
    if standardized is None or raw is None or use.kind == "adaptive" or not np.isfinite(use.edge):
        return 1.0
    now, then = use.relative_sharpness(raw.largest), use.relative_sharpness(standardized.largest)
    return min(now, 0.5) / then if now > 0 and 0 < then < 1 else 1.0


def _forecast(evidence: Evidence, factor: float) -> Callable[[int], float] | None:
    """Steps -> gain by the local models of both problems; None where they are not known for the rule in use."""
    standardized, method = _standardized(evidence), evidence.method
    if standardized is None or method is None or evidence.setting.optimizer.kind == "adaptive":
        return None
    after = dataclasses.replace(method, learning_rate=factor * method.learning_rate)
    return lambda count: predicted_gain.speed_up(evidence, count, standardized, after, same=False)


def _standardized(evidence: Evidence) -> QuadraticModel | None:
    return None if evidence.curvature is None else evidence.curvature.standardized


def _closed_form(inputs: InputStatistics) -> float:
    """The condition number of features whose means are `offset` of one common deviation."""
    norm = inputs.offset * np.sqrt(max(inputs.num_features - inputs.num_constant, 1))
    return float(theory.preprocessing.condition_number_with_bias(norm))
