"""unreachable-loss and unbounded-loss: what the criterion and the output activation let any outputs reach.

Unreachable: with the outputs as free variables the loss stays high, and falls without the output activation by at least
a tenth of the loss of a constant output; or floating targets lie thirty times farther off than the outputs are large,
so that a run spends its steps on their mean; or outputs fitted to every target are less than a twentieth better than a
constant one; or a softmax shares one unit among labels that do not exclude each other; or outputs that know every
class keep six tenths of what the best constant output costs.
Unbounded: the loss of free outputs falls without end on class numbers, or that of the best constant output does; or
a loss of probabilities lies below zero, but where numbers of both signs weigh the classes: the objective of a policy
may be negative. A likelihood with a variance of its own may do so for free outputs; for a constant output it does not,
and a run brings it down by a logarithm only: one that comes thirty times its first loss below zero, and still falls,
has no end. A run that settles below zero has met a lower end, whatever free outputs do: a penalty may hold them.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Measurement, Prescription, make_finding, measured
from jaxopt_lab.diagnosis.output_search import OutputSearch
from jaxopt_lab.diagnosis.prescriptions import (
    advise,
    bypass_activation,
    negate_loss,
    normalize_outputs,
    standardize_targets,
    take_criterion,
)
from jaxopt_lab.tracing.criteria import usual_criterion
from jaxopt_lab.tracing.targets import classes_of, has_signed_weights, several_labels, target_leaf

GAP = 0.1
BELOW = 0.05
FAR = 30.0
ALIKE = 0.05
NEAR = 3.0
FALLEN, STILL = 30.0, 0.1
SEVERAL = 0.1
HELD = 0.6  # labels smoothed by three tenths keep half
SOURCE = "interval of the activation; the criterion's own minimum"
_UNMOVED = 1e-3  # the rounding of sums in float32 and bfloat16
_SQUASHED = {"sigmoid", "logistic", "softmax", "log_softmax", "log_sigmoid"}


def examine_unreachable(evidence: Evidence) -> Finding | None:
    """A finding where no outputs bring the loss down, or the targets lie far outside of what the outputs begin with."""
    search = _search(evidence)
    if search is None or search.place.is_pairwise or examine_unbounded(evidence) is not None:
        return None  # what compares examples asks for outputs that differ, not for those of targets
    gap = -np.inf if search.bypassed is None else (search.reachable.loss - search.bypassed.loss) / search.scale
    found = (
        (_unreachable(evidence, search, gap) if gap >= GAP else None)
        or _same_for_all(evidence, search)
        or _shared_unit(evidence, search)
        or _held_up(evidence, search)
        or _far_targets(evidence, search)
    )
    flow = evidence.part("program.gradients")
    if found is not None and flow is not None and flow.opposed:  # the search goes by the same gradient
        return dataclasses.replace(found, follows_from=(*found.follows_from, "gradient-ascent"))
    return found


def usual_criterion_of(evidence: Evidence, why: str = "", *, of_classes: bool = False) -> Prescription | None:
    """The criterion that the targets ask for in the place of the loss, behind what else a person may look at.

    With `of_classes` only where they are classes: the squared error of other numbers may be the loss in use.
    """
    search = _search(evidence)
    found = None if search is None else usual_criterion(search.place, evidence.setting.problem.data)
    if found is None or (of_classes and not found.of_classes):
        return None
    return take_criterion(found, f"{why} " if why else "")


def _same_for_all(evidence: Evidence, search: OutputSearch) -> Finding | None:
    """A finding where outputs fitted to every target are hardly better than the best constant output."""
    paid = evidence.penalty.start  # by the parameters, whatever the outputs are
    best, same = search.reachable.loss - paid, search.constant.loss - paid
    is_near = 0 < same < np.inf and search.loss - paid < NEAR * same  # from far off the search may not get there
    if not (search.slope > 0 and is_near and 0 < same - best < ALIKE * same):
        return None
    text = (
        f"The criterion hardly tells the targets apart: outputs fitted to each of them reach {best:.4g}, one output for"
        f" all {same:.4g}."
    )
    look = "Look at what the loss makes of its targets: smoothing, weights, a tolerance, a mask, a temperature."
    cure = usual_criterion_of(evidence, look) or advise(look)
    measurements = [*_numbers(search), measured("what is to be learned over that loss", 1 - best / same, ALIKE)]
    return make_finding(
        "unreachable-loss", text, measurements, cure, same / (same - best), gain_in="loss", horizon=evidence.num_steps,
        follows_from=("mixed-examples",),  # each output with all targets: their mean is best
    )  # fmt: skip


def _shared_unit(evidence: Evidence, search: OutputSearch) -> Finding | None:
    """A finding where a softmax is asked for several ones at once."""
    labels = several_labels(search.place, evidence.setting.problem.data)
    if labels is None or search.shift > _UNMOVED:
        return None
    several, left = float(np.mean(labels.sum(-1) > 1)), _left(evidence, search)
    if several < SEVERAL or not left >= GAP:
        return None
    measurements = [
        *_numbers(search),
        measured("share of the examples that have several labels", several, SEVERAL),
        measured("least loss over that of the best constant output", left, GAP),
    ]
    text = f"A softmax shares one unit among the labels of an example, of which {100 * several:.3g} % have several."
    alone = advise("Take a criterion of each label by itself: optax.sigmoid_binary_cross_entropy.")
    cure = usual_criterion_of(evidence) or alone
    return make_finding(
        "unreachable-loss", text, measurements, cure, 1 / max(1 - left, GAP), gain_in="loss", horizon=evidence.num_steps
    )


def _held_up(evidence: Evidence, search: OutputSearch) -> Finding | None:
    """A finding where outputs that know every class keep most of the loss, as behind a softmax over the wrong axis."""
    found = classes_of(search.place, evidence.setting.problem.data)
    left = _left(evidence, search)
    is_felt = search.slope > 0 and len(search.place.shape) > 1
    if found is None or not found[1] or not is_felt or not evidence.is_underperforming:
        return None
    if not (found[0].size and 0 <= found[0].min() <= found[0].max() < search.place.shape[-1]) or not left >= HELD:
        return None
    text = (
        f"Outputs that know each class bring the loss to {search.reachable.loss:.3g}, the best constant output to"
        f" {search.constant.loss:.3g}: the criterion lets them come no lower."
    )
    look = (
        "Look over which axis the softmax runs (the classes', the last one for optax's criteria), and what the loss"
        " makes of its targets."
    )
    cure = usual_criterion_of(evidence, look) or advise(look)
    measurements = [*_numbers(search), measured("least loss over that of the best constant output", left, HELD)]
    return make_finding(
        "unreachable-loss", text, measurements, cure, 1 / max(1 - left, GAP), gain_in="loss", horizon=evidence.num_steps
    )


def _unreachable(evidence: Evidence, search: OutputSearch, gap: float) -> Finding:
    assert search.bypassed is not None
    measurements = [
        *_numbers(search),
        measured("the same without the output activation", search.bypassed.loss),
        measured("difference over the loss of a constant output", gap, GAP, SOURCE),
    ]
    text = (
        f"Whatever the outputs are, the loss stays at {search.reachable.loss:.3g}: the {search.activation} on them lets"
        f" it come no lower; without it {search.bypassed.loss:.3g} is reached."
    )
    least = max(search.bypassed.loss, 1e-2 * search.scale)
    same = sum(name == search.activation for _, name in search.place.activations)
    silent, seen = search.silent
    never_felt, other = 0 < len(silent) == len(seen), usual_criterion_of(evidence, of_classes=True)
    return make_finding(
        "unreachable-loss", text, measurements, bypass_activation(search.activation, same),
        search.reachable.loss / least, gain_in="loss", horizon=evidence.num_steps,
        alternatives=() if other is None else (other,),
        follows_from=("no-gradient",) if never_felt or search.slope == 0 else (),  # from elsewhere it might come lower
    )  # fmt: skip


def _far_targets(evidence: Evidence, search: OutputSearch) -> Finding | None:
    data = evidence.setting.problem.data
    number = target_leaf(search.place, data)
    if number is None or not evidence.is_underperforming:
        return None
    size = max(float(np.sqrt(np.mean(np.square(search.outputs)))), 1.0)
    distance = float(np.sqrt(np.mean(np.square(search.reachable.outputs - search.outputs)))) / size
    if not distance > FAR:
        return None
    measurements = [
        *_numbers(search),
        measured("distance of the targets from the outputs, over the size of the outputs", distance, FAR),
    ]
    inputs = evidence.part("data.inputs")
    cure = standardize_targets(number, inputs is not None and inputs.unnormalized)
    text = f"The targets lie {distance:.3g} times farther off than the outputs are large: the steps go into their mean."
    return make_finding(
        "unreachable-loss", text, measurements, cure, distance, gain_in="loss",
        horizon=evidence.num_steps, follows_from=("learning-rate-too-high",),
    )  # fmt: skip


def examine_unbounded(evidence: Evidence) -> Finding | None:
    """A finding where the loss falls without end, or below what its criterion can be."""
    search = _search(evidence)
    if _falls_without_end(evidence):
        return _fallen(evidence)
    if search is None:
        return None
    data = evidence.setting.problem.data
    numbers = classes_of(search.place, data) is not None and not has_signed_weights(search.place, data)
    wrong = (numbers and (_are_probabilities(search) or search.runs_away)) or _no_probabilities(search, data)
    below = bool(wrong) and search.reachable.loss < -BELOW * search.scale
    runs_away = search.constant_runs_away or (numbers and search.runs_away)
    if not (below or (runs_away and not evidence.is_settled)):  # a penalty on the parameters may hold the outputs
        return None
    text = (
        f"The loss is no bounded criterion of these targets: outputs bring it from {search.loss:.3g} to"
        f" {search.reachable.loss:.3g} and further. Its minimum is no good model."
    )
    other = usual_criterion_of(evidence, of_classes=True)
    return make_finding(
        "unbounded-loss", text, [*_numbers(search), measured("targets are class numbers", float(numbers))],
        _bounded(evidence, search), float("inf"), horizon=evidence.num_steps,
        alternatives=() if other is None else (other,),
    )  # fmt: skip


def _are_probabilities(search: OutputSearch) -> bool:
    return bool(_SQUASHED & {name for _, name in search.place.activations})


def _no_probabilities(search: OutputSearch, data: Any) -> tuple[float, float] | None:
    """Between which numbers floating targets lie where the outputs are probabilities and they leave [0, 1]."""
    number = target_leaf(search.place, data) if _are_probabilities(search) else None
    targets = np.zeros(1) if number is None else np.asarray(jax.tree.leaves(data)[number])
    low, high = float(targets.min()), float(targets.max())
    return (low, high) if low < 0 or high > 1 else None


def _falls_without_end(evidence: Evidence) -> bool:
    """Whether the run ends thirty times its first loss below zero, and still falls by a tenth in its last quarter.

    Nine hundred times where it begins below zero, as a density's logarithm may. Of a loss over data: a function without
    any may be meant to have no end.
    """
    run, start = evidence.run, evidence.point.loss
    size = max(abs(start), abs(evidence.point.baseline or 0.0))
    if evidence.setting.problem.data is None or run is None or run.diverged or not size > 0:
        return False
    third, last = run.late_losses
    return last < -(FALLEN if start > 0 else FALLEN**2) * size and last < third - STILL * abs(third)


def _fallen(evidence: Evidence) -> Finding:
    text = f"The loss falls without end: from {evidence.point.loss:.3g} to {evidence.end:.3g}, and further."
    look = (
        "Look which term of the loss has no lowest value: a sign, a logarithm of a variance, targets that the criterion"
        " does not take (a cross-entropy takes numbers from 0 to 1)."
    )
    is_negated = evidence.part("program.is_negated")
    cure = negate_loss() if is_negated else usual_criterion_of(evidence, look) or advise(look)
    numbers = [
        measured("loss before the first step", evidence.point.loss),
        measured("loss at the end of the short run", evidence.end, -FALLEN * evidence.point.loss),
    ]
    return make_finding("unbounded-loss", text, numbers, cure, float("inf"), horizon=evidence.num_steps)


def _bounded(evidence: Evidence, search: OutputSearch) -> Prescription:
    data = evidence.setting.problem.data
    found = classes_of(search.place, data)
    if evidence.part("program.is_negated"):
        return negate_loss()
    if (ends := _no_probabilities(search, data)) is not None:
        scale = f"Scale the targets: they run from {ends[0]:g} to {ends[1]:g}, a cross-entropy takes 0 to 1."
        return usual_criterion_of(evidence, f"{scale[:-1]}; or take another criterion.") or advise(scale)
    single = len(search.place.shape) < 2 or search.place.shape[-1] == 1
    if found is not None and found[0].size and found[0].max() > 1 and single:
        return advise(
            f"The labels run to {found[0].max()}: a binary criterion takes 0 and 1. Give the model an output for each"
            " class and use optax.softmax_cross_entropy_with_integer_labels."
        )
    if found is not None and not single and search.shift > _UNMOVED and not search.place.activations:
        return normalize_outputs()
    return negate_loss()


def _left(evidence: Evidence, search: OutputSearch) -> float:
    """What free outputs leave of what the best constant output costs, without what the loss asks of the parameters."""
    paid = evidence.penalty.start
    return (search.reachable.loss - paid) / max(search.constant.loss - paid, 1e-30)


def _search(evidence: Evidence) -> OutputSearch | None:
    return None if evidence.program is None else evidence.program.outputs


def _numbers(search: OutputSearch) -> list[Measurement]:
    return [
        measured("loss at the model's outputs", search.loss),
        measured("least loss with the outputs free", search.reachable.loss),
        measured("loss of the best constant output", search.constant.loss),
    ]
