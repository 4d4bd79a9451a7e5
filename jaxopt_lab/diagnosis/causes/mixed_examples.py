"""mixed-examples: in evaluation mode, what one example is pulled to depends on which others stand beside it.

The derivative of the loss with respect to an example's outputs is taken with two sets of neighbours. A mean over a mask
changes its size and not its direction; outputs [n, 1] minus targets [n], or a softmax over the examples, turn it.
Weights [n, 1] times losses [n] give each example the mean of all weights: that sets its size. A loss that multiplies
outputs with outputs compares examples on purpose. Outputs that change when the batch is put in
another order come from a model that goes from example to example, as a recurrence over the wrong axis does: no loss
over independent examples means that. So do outputs that change with the other examples, where the loss of all of them
at once is high: a softmax over the batch may be learned for the size of its batches.
"""

from typing import Any

import jax
import numpy as np

from jaxopt_lab.diagnosis.causes.outputs import usual_criterion_of
from jaxopt_lab.diagnosis.evidence import LITTLE, Evidence
from jaxopt_lab.diagnosis.findings import Finding, make_finding, measured
from jaxopt_lab.diagnosis.output_search import OutputSearch
from jaxopt_lab.diagnosis.prescriptions import advise, separate_examples, shape_targets
from jaxopt_lab.tracing.outputs import OutputPlace
from jaxopt_lab.tracing.targets import class_leaf, target_leaf

COUPLING, AVERAGED = 1e-3, 0.02
REORDERED = 0.03  # bfloat16 rounds 1 to .0039


def examine(evidence: Evidence) -> Finding | None:
    """A finding where the loss couples the examples of a batch."""
    examples = evidence.part("program.examples")
    if examples is not None and examples.reordered > REORDERED:
        return _reordered(examples.reordered)
    search = None if evidence.program is None else evidence.program.outputs
    if search is not None and search.place.is_pairwise:
        return None
    coupling = None if evidence.program is None else evidence.program.coupling
    couples = coupling is not None and coupling.turned > COUPLING
    if examples is not None and examples.beside > REORDERED and (couples or _is_high(evidence)):
        return _attended(examples.beside)
    if search is None or coupling is None:
        return None
    if couples:
        return _coupled(evidence, search, coupling.turned)
    return _averaged(coupling.averaged) if coupling.averaged > AVERAGED else None


def _coupled(evidence: Evidence, search: OutputSearch, turned: float) -> Finding:
    text = (
        f"The loss's derivative by an example's output (outputs of shape {list(search.place.shape)}) depends on the"
        " other examples of its batch: the loss mixes the examples."
    )
    look = (
        "Give outputs and targets the same shape before they are compared (outputs[:, 0], or targets[:, None]), and let"
        " no softmax or mean run over the axis of the examples."
    )
    cure = usual_criterion_of(evidence, look, of_classes=True) or separate_examples(look)
    data, outputs = evidence.setting.problem.data, tuple(search.place.shape[1:])
    leaf = _targets(search.place, data)
    targets = None if leaf is None else jax.tree.leaves(data)[leaf].shape[1:]
    if leaf is not None and targets != outputs and np.prod(targets or 1) == np.prod(outputs or 1):
        cure = shape_targets(leaf, outputs)
    numbers = [
        measured("turn of an example's derivative with its neighbours", turned, COUPLING),
        measured("least loss with the outputs free", search.reachable.loss),
        measured("loss of the best constant output", search.constant.loss),
    ]
    gain = search.reachable.loss / max(1e-2 * search.scale, 1e-30)
    return make_finding("mixed-examples", text, numbers, cure, max(gain, 1.0), gain_in="loss")


def _averaged(averaged: float) -> Finding:
    text = (
        "Each example counts with the mean of its batch's weights and not with its own: the loss is the product of two"
        " means, as that of weights [n, 1] times losses [n], which is [n, n]."
    )
    numbers = [measured("an example's pull that the mean of two weights sets, of two examples", averaged, AVERAGED)]
    cure = separate_examples("Give weights and losses one shape, [n], before they are multiplied.")
    return make_finding("mixed-examples", text, numbers, cure, float("inf"), gain_in="loss")


def _reordered(change: float) -> Finding:
    text = "when the batch is permuted: state passes from example to example"
    look = (
        "the recurrence, scan or convolution runs: over time, not over the examples (nnx.RNN and linen.RNN take"
        " [examples, time, features] unless time_major is set)"
    )
    return _of_the_model(change, "order of the batch", text, look)


def _attended(change: float) -> Finding:
    text = "with the other examples of its batch, in evaluation mode too: the model mixes the examples"
    look = (
        "an attention, softmax, mean or normalization of the model runs: the first is that of the examples, time is the"
        " second ([examples, time, features])"
    )
    return _of_the_model(change, "others of the batch", text, look)


def _of_the_model(change: float, what: str, text: str, look: str) -> Finding:
    numbers = [measured(f"change of the outputs with the {what}, of their size", change, REORDERED)]
    return make_finding(
        "mixed-examples", f"What the model gives for an example changes by {100 * change:.3g} % {text}.", numbers,
        advise(f"Look over which axis {look}."), float("inf"), gain_in="loss",
    )  # fmt: skip


def _is_high(evidence: Evidence) -> bool:
    """Whether the loss of all examples at once is: a normalization by the batch hardly changes that."""
    return evidence.end - evidence.lower_bound > LITTLE * evidence.scale


def _targets(place: OutputPlace, data: Any) -> int | None:
    """Which leaf of the data holds the targets, numbers or classes."""
    found = target_leaf(place, data)
    return class_leaf(place, data) if found is None else found
