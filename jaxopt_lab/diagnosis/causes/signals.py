"""vanishing-signal, exploding-signal, dead-units, bad-initialization: what the layers do to the signal.

Forward: rms of the layers' outputs. Backward: rms of the gradient with respect to them. At mean-field's critical point
both keep their size from layer to layer; off it they change by sqrt(chi) a layer, and networks train to a depth of
about 6 / |ln chi| (Schoenholz et al. 2017): a change of more than e^3 = 20 in all is too much, and so is one through
the steps of a recurrence, whose best layer counts.
Dead: half of a layer's units pass no gradient on any example; with zero biases and n centred examples a share of
2^-n is expected; or the activation on the outputs is flat at all of them, and outputs from elsewhere cost less than
half. Saturated: three quarters of the entries have a derivative below 5 % of its largest.
Initialization: the loss before the first step exceeds ln C by 3 (or is four times that of a constant output), or units
are copies of each other, or saturated before the first step, or the rows or columns of a leaf are the same before and
after the run, or the signal changes twentyfold within three layers: not depth makes it, but the weights.
In all of them training must suffer: more than a fifth of a constant output's loss is left, or half of it on validation
data, or the run diverged. A high start is no cause where a quarter of the run brings the loss to half of a constant
output's; one 10 nats above ln C, which is confidently wrong, is told where that costs steps alone.
"""

import itertools

import jax.numpy as jnp
import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import vectors
from jaxopt_lab.diagnosis.causes import recurrences
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Measurement, listed, make_finding, measured
from jaxopt_lab.diagnosis.predicted_gain import horizon_for
from jaxopt_lab.diagnosis.prescriptions import advise, initialize_by_data
from jaxopt_lab.tracing.signals import Signals

DEPTH = "Schoenholz et al. 2017: trainable to about 6 depth scales; theory.mean_field.mean_field_factor"
TOO_MUCH, ENOUGH = recurrences.TOO_MUCH, 10.0
DEAD, SATURATED = 0.5, 0.75
EXCESS, COPIES = 3.0, 0.5
CONFIDENT, RECOVERED, LEFT_ELSEWHERE = 10.0, 0.5, 0.5
_FEW, CLIP = 3, "clip"
_NAMES = {"relu": "relu", "tanh": "tanh", "logistic": "sigmoid"}


def examine_vanishing(evidence: Evidence) -> Finding | None:
    """A finding where the signal shrinks twentyfold through the hidden layers, tenfold where nothing is learned."""
    signals = _suffering(evidence)
    if signals is None:
        return None
    least, most = min(signals.forward_gain, signals.backward_gain), ENOUGH if evidence.learned_nothing else TOO_MUCH
    if signals.num_hidden < 2 or not 0 < least < 1 / most:  # exactly zero: it is cut off, or its units are dead
        recurs = recurrences.changes(signals) and signals.recurrent_gain < 1
        return recurrences.examine(evidence, signals, "vanishing-signal", _decayed(evidence)) if recurs else None
    text = f"The signal shrinks {1 / least:.3g} times over {signals.num_hidden} hidden layers: they hardly learn."
    return make_finding(
        "vanishing-signal", text, _measurements(evidence, signals), initialize_by_data(), min(1 / least, 1e9),
        horizon=horizon_for(evidence, 1 / least),
        follows_from=("dead-units", *_blamed(evidence, signals)),
    )  # fmt: skip


def examine_exploding(evidence: Evidence) -> Finding | None:
    """A finding where the signal grows twentyfold through the hidden layers."""
    signals = _suffering(evidence)
    if signals is None:
        return None
    most = max(signals.forward_gain, signals.backward_gain)
    if signals.num_hidden < 2 or not most > TOO_MUCH:
        recurs = recurrences.changes(signals) and signals.recurrent_gain > 1
        return recurrences.examine(evidence, signals, "exploding-signal", _decayed(evidence)) if recurs else None
    text = f"The signal grows {most:.3g} times over {signals.num_hidden} hidden layers."
    return make_finding(
        "exploding-signal", text, _measurements(evidence, signals), initialize_by_data(), min(most, 1e9),
        horizon=horizon_for(evidence, most),
        follows_from=_blamed(evidence, signals),
    )  # fmt: skip


def examine_dead(evidence: Evidence) -> Finding | None:
    """A finding where half of a layer's units are dead, or three quarters of its entries saturated."""
    signals, activation = _suffering(evidence), flat_outputs(evidence)
    if signals is not None and activation not in (None, CLIP):
        return _dead_outputs(evidence, activation)
    if signals is None or not signals.activations:
        return None
    dead = max(each.dead for each in signals.activations)
    saturated = _saturated(signals)
    if dead < DEAD and saturated < SATURATED:
        return None
    measurements = [
        measured("largest share of dead units in a layer", dead, DEAD, "Glorot, Bordes, Bengio 2011"),
        measured("largest share of saturated entries in a layer", saturated, SATURATED, "Glorot and Bengio 2010"),
        measured("layers with dead units", sum(each.dead >= DEAD for each in signals.activations)),
    ]
    text = f"In one layer {dead:.0%} of the units pass no gradient on any example; {saturated:.0%} are saturated."
    alive = max(1 - max(dead, saturated), 1e-3)
    return make_finding(
        "dead-units", text, measurements, initialize_by_data(), 1 / alive, horizon=horizon_for(evidence, 1 / alive),
        follows_from=("bad-initialization", "exploding-signal", "unnormalized-inputs", *_decayed(evidence)),
    )  # fmt: skip


def flat_outputs(evidence: Evidence) -> str | None:
    """The activation on the outputs where it is flat at all of them, and outputs elsewhere cost little; else None."""
    search = evidence.part("program.outputs")
    if search is None or search.slope > 0 or not search.place.activations:
        return None
    return search.place.activations[-1][1] if search.reachable.loss < LEFT_ELSEWHERE * search.scale else None


def _dead_outputs(evidence: Evidence, activation: str) -> Finding:
    text = f"The {activation} on the outputs passes no gradient on any example: nothing is learned from here."
    search = evidence.part("program.outputs")
    left = search.reachable.loss / search.scale
    numbers = [measured("least loss of outputs that begin elsewhere, over its scale", left, LEFT_ELSEWHERE)]
    return make_finding(
        "dead-units", text, numbers, initialize_by_data(), float("inf"), horizon=evidence.num_steps,
        follows_from=("bad-initialization", "unnormalized-inputs"),
    )  # fmt: skip


def examine_initialization(evidence: Evidence) -> Finding | None:
    """A finding where the initial weights, and not depth or data, cost the first steps."""
    excess = _excess(evidence)
    is_wrong = evidence.point.num_classes is not None and excess > CONFIDENT
    signals, flow = _suffering(evidence, although_learned=is_wrong), evidence.part("program.gradients")
    copies = 0.0 if signals is None else copies_of(signals)
    unknown = evidence.program is not None and evidence.program.outputs is None  # whether the run ends well
    if copies <= COPIES and flow is not None and flow.symmetric and (evidence.is_underperforming or unknown):
        return _symmetric(evidence, flow.symmetric)  # no layer's: those are drawn anew
    if signals is None:
        return None
    saturated = _saturated(signals)
    gains = [gain for gain in (signals.forward_gain, signals.backward_gain) if np.isfinite(gain)] or [1.0]
    scaled = _shallow(signals) and (max(gains) > TOO_MUCH or min(gains) < 1 / TOO_MUCH)
    begins_high = excess > EXCESS and (is_wrong or not _recovers(evidence))
    if not (copies > COPIES or (evidence.setting.from_init and (begins_high or scaled or saturated >= SATURATED))):
        return None
    sizes = [*gains, *(1 / max(gain, 1e-9) for gain in gains), 1 + max(np.nan_to_num(excess), 0.0)]
    sizes.append(1 / max(1 - max(copies, saturated), 1e-3))  # as many units as differ, or answer
    gain = min(max(sizes), 1e9)
    is_deep = copies <= COPIES and (not _shallow(signals) or recurrences.changes(signals))
    return make_finding(
        "bad-initialization", *_described(evidence, signals, excess), initialize_by_data(), gain,
        horizon=horizon_for(evidence, gain),
        follows_from=("unnormalized-inputs", *(("exploding-signal", "vanishing-signal") if is_deep else ())),
    )  # fmt: skip


def _excess(evidence: Evidence) -> float:
    """The loss before the first step, in training mode, above a constant output's; in nats, or in its size."""
    base = evidence.point.baseline if evidence.point.baseline is not None else float("nan")
    unit = 1.0 if evidence.point.num_classes else base if base > 0 else float("nan")
    return (_start(evidence) - base) / unit


def _start(evidence: Evidence) -> float:
    """Of a model with running statistics the run's first loss: at a start evaluation mode has none to go by."""
    run, loss = evidence.run, evidence.point.loss
    return loss if run is None or evidence.setting.problem.stateful is None else min(loss, float(run.losses[0]))


def _described(evidence: Evidence, signals: Signals, excess: float) -> tuple[str, list[Measurement]]:
    copies, saturated = copies_of(signals), _saturated(signals)
    text = "The initial weights have the wrong scale."
    if copies > COPIES:
        text = f"{copies:.0%} of a layer's units are copies with equal gradients: symmetry is never broken."
    elif saturated >= SATURATED:
        text = f"{saturated:.0%} of a layer's entries are saturated before the first step: the weights are too large."
    elif excess > EXCESS:
        base = evidence.point.baseline
        text = f"The loss starts at {_start(evidence):.3g}, where the best constant output has {base:.3g}."
    what = "nats" if evidence.point.num_classes else "times its size"
    return text, [
        measured(
            f"loss before the first step above a constant output's, {what}", excess, EXCESS, "softmax at zero: ln C"
        ),
        measured("largest share of units that are copies of others", copies, COPIES),
        measured("largest share of saturated entries in a layer", saturated, SATURATED, "Glorot and Bengio 2010"),
        *_measurements(evidence, signals),
    ]


def _saturated(signals: Signals) -> float:
    """The largest share of saturated entries in a layer."""
    return max((each.saturated for each in signals.activations if np.isfinite(each.saturated)), default=0.0)


def _recovers(evidence: Evidence) -> bool:
    """Whether a quarter of the run brings the loss to half of a constant output's."""
    run, base = evidence.run, evidence.point.baseline
    if run is None or run.diverged or base is None:
        return False
    return bool(run.losses[len(run.losses) // 4] < RECOVERED * base)


def _symmetric(evidence: Evidence, leaves: tuple[str, ...]) -> Finding:
    text = f"The rows or columns of {listed(leaves)} begin alike and stay alike: symmetry is never broken."
    cure = advise("Draw the initial numbers of each at random, such as from a normal distribution.")
    numbers = [measured("leaves whose rows or columns are the same before and after the short run", len(leaves), 0.0)]
    weights = vectors.leaves_by_path(evidence.setting.params)
    ends = [size for path in leaves for size in (weights[path].shape[0], weights[path].shape[-1])]
    gain = float(max(ends))  # as many as could differ
    return make_finding(
        "bad-initialization", text, numbers, cure, gain, gain_in="loss", horizon=horizon_for(evidence, gain)
    )


def copies_of(signals: Signals) -> float:
    """The largest share of copies in a hidden layer, up to the first dead one: behind it all units see nothing."""
    dead = {each.layer for each in signals.activations if each.dead >= DEAD}
    hidden = signals.layers[:-1]
    last = next((place for place, layer in enumerate(hidden) if layer.name in dead), len(hidden) - 1)
    return max((layer.copies for layer in hidden[: last + 1] if layer.num_units > 1), default=0.0)


def _suffering(evidence: Evidence, *, although_learned: bool = False) -> Signals | None:
    """The layers' signals, where training suffers, or where it may have learned in spite of them."""
    if evidence.layers is None or not evidence.layers.start.layers or evidence.non_finite is not None:
        return None
    suffers = evidence.is_underperforming or evidence.generalizes_badly or evidence.run is None
    return evidence.layers.start if suffers or although_learned else None


def _blamed(evidence: Evidence, signals: Signals) -> tuple[str, ...]:
    """What explains a signal that changes from layer to layer; a few layers' is their weights' scale."""
    return ("unnormalized-inputs", *_decayed(evidence), *(("bad-initialization",) if _shallow(signals) else ()))


def _decayed(evidence: Evidence) -> tuple[str, ...]:
    """What explains weak signals in a rule that decays the weights: that it leaves the model too little."""
    return ("underfitting",) if evidence.setting.optimizer.weight_decay > 0 else ()


def _shallow(signals: Signals) -> bool:
    """Whether there are so few layers that their scale, and not depth, makes the change."""
    return signals.num_hidden <= _FEW


def _measurements(evidence: Evidence, signals: Signals) -> list[Measurement]:
    found = [
        measured("forward signal, last hidden layer over first", signals.forward_gain, TOO_MUCH, DEPTH),
        measured("backward signal, first layer over last hidden", signals.backward_gain, TOO_MUCH, DEPTH),
        measured("hidden layers", signals.num_hidden),
    ]
    if (expected := _mean_field_gain(evidence, signals)) is not None:
        source = "theory.mean_field.mean_field_step"
        found.insert(2, measured("the same by mean field, for these weights", expected, source=source))
    return found


def _mean_field_gain(evidence: Evidence, signals: Signals) -> float | None:
    """What the gradient changes by on its way back, by the weights' variances; None for other activations."""
    weights = vectors.leaves_by_path(evidence.setting.params)
    hidden = signals.layers[:-1]
    if len(hidden) < 2 or any(layer.loop for layer in hidden):
        return None
    kinds = {each.layer: _NAMES.get(each.operation) for each in signals.activations}
    if not all(kinds.get(layer.name) and layer.name in weights for layer in hidden):
        return None
    variance, factor = hidden[0].forward ** 2, 1.0
    for before, layer in itertools.pairwise(hidden):
        spread = layer.fan_in * float(jnp.mean(jnp.square(weights[layer.name])))
        if spread <= 0:
            return None
        step = theory.mean_field.mean_field_step(kinds[before.name] or "", variance, spread)
        variance, factor = float(step.variance), factor * float(step.factor)
    return float(np.sqrt(factor))
