"""What the steps of a recurrence do to the signal, as a part of vanishing-signal and of exploding-signal.

Reference: Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013.
"""

from jaxopt_lab.core import vectors
from jaxopt_lab.diagnosis.data_changes import padded_leaf
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Prescription, make_finding, measured
from jaxopt_lab.diagnosis.predicted_gain import horizon_for
from jaxopt_lab.diagnosis.prescriptions import hand_state_on, initialize_by_data, pad_in_front
from jaxopt_lab.tracing.signals import Signals

RECURRENCE = "Bengio, Simard, Frasconi 1994; Pascanu, Mikolov, Bengio 2013"
TOO_MUCH = 20.0


def changes(signals: Signals) -> bool:
    """Whether the signal changes too much through the steps of a recurrence, which are a depth of their own."""
    return not 1 / TOO_MUCH <= signals.recurrent_gain <= TOO_MUCH


def examine(evidence: Evidence, signals: Signals, cause: str, explained_by: tuple[str, ...]) -> Finding:
    """What a recurrence does to the gradient on its way back through the turns."""
    layers = [layer for layer in signals.layers if layer.is_recurrent]
    change = signals.recurrent_gain
    size = min(max(change, 1 / max(change, 1e-9)), 1e9)
    turns = max(layer.turns for layer in layers)
    verb, limit = ("grows", TOO_MUCH) if change > 1 else ("shrinks", 1 / TOO_MUCH)
    text = f"On its way back through {turns} steps of a recurrence the gradient {verb} {size:.3g} times."
    numbers = [
        measured("gradient at the first step of a recurrence over that at its last", change, limit, RECURRENCE),
        measured("turns", turns),
    ]
    units, names = {layer.num_units for layer in layers}, tuple(dict.fromkeys(layer.name for layer in layers))
    params = vectors.leaves_by_path(evidence.setting.params)
    gates = tuple(path for path, leaf in params.items() if leaf.ndim == 1 and leaf.size in units)
    cures = (*_padded(evidence, turns), hand_state_on(names, gates, turns), initialize_by_data())
    return make_finding(
        cause, text, numbers, cures[0], size, alternatives=cures[1:],
        horizon=horizon_for(evidence, size), follows_from=("dead-units", "unnormalized-inputs", *explained_by),
    )  # fmt: skip


def _padded(evidence: Evidence, turns: int) -> tuple[Prescription, ...]:
    """Sequences that end with the recurrence, where they end before it and are not asked for an output a step."""
    search = evidence.part("program.outputs")
    if search is None or search.place.shape[1:2] == (turns,):
        return ()
    leaf = padded_leaf(evidence.setting.problem.data, search.place.inputs)
    return () if leaf is None else (pad_in_front(leaf),)
