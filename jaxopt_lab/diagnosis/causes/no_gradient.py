"""no-gradient: parameters that the loss, or the rule, never moves, for no data, before and after a run.

Exactly zero, for all examples: a stop_gradient, a loss that is constant, a weight that the loss never reads; or a
weight that is drawn anew in each call and so is no parameter; or factors that are all zero; or outputs that the inputs
do not reach; or a rule whose updates are all zero; or one that moves some leaves alone, with which the run learns next
to nothing, or goes badly where with all of them it does not. Else what a rule freezes on purpose is no finding.
"""

import jax
import jax.numpy as jnp

from jaxopt_lab.core import vectors
from jaxopt_lab.diagnosis.causes import signals
from jaxopt_lab.diagnosis.causes.learning_rates import share_left
from jaxopt_lab.diagnosis.causes.outputs import usual_criterion_of
from jaxopt_lab.diagnosis.causes.rule_limits import MENDED_FASTER
from jaxopt_lab.diagnosis.evidence import NOTHING, Evidence
from jaxopt_lab.diagnosis.findings import Finding, listed, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import advise, begin_elsewhere, pass_gradient, train_all
from jaxopt_lab.diagnosis.program_checks import LEAST_SHARE
from jaxopt_lab.rules.frozen import frozen_paths

ALL_DEAD = 0.99  # of a layer's units: nothing before them gets a gradient, nor what reads their zeros
_FROZEN_BY = tuple(cause for cause in MENDED_FASTER if cause not in ("underfitting", "cannot-memorize"))


def examine(evidence: Evidence) -> Finding | None:
    """A finding where a weight gets no gradient, or is no parameter."""
    rule = evidence.update.rule
    if rule is not None and rule.is_inert:
        return _inert(evidence)
    held = frozen_paths(evidence.setting.problem)
    if held and evidence.run is not None and not evidence.run.diverged:
        found = _frozen(evidence, held)
        if evidence.learned_nothing or (evidence.is_underperforming and found.is_tentative):
            return found
    flow = None if evidence.program is None else evidence.program.gradients
    if flow is None:
        return None
    examples = evidence.part("program.examples")
    if examples is not None and examples.ignored:
        return _ignored(evidence)
    if flow.redrawn:
        text = f"A weight is drawn anew in each call, at {flow.redrawn[0]}: it is no parameter and never learns."
        cure = advise("Make the layer once, outside of the call, and pass it to the loss among the parameters.")
        numbers = [measured("products with a weight that is drawn anew", len(flow.redrawn), 1.0)]
        return make_finding("no-gradient", text, numbers, cure, float("inf"), horizon=evidence.num_steps)
    flat = signals.flat_outputs(evidence)
    if not flow.without or flow.share < LEAST_SHARE or flat not in (None, signals.CLIP):
        return None
    why = "the loss does not read them" if set(flow.unread) == set(flow.without) else "a stop_gradient, or a constant"
    why = why if flat is None else f"all outputs lie beyond the {flat} behind them"
    look = (
        "Look at what lies between them and the loss: a stop_gradient, a rounding, an argmax, a constant."
        if flat is None
        else f"Scale inputs and initial weights until the {flat} passes a gradient, or take a criterion of logits."
    )
    search = evidence.part("program.outputs")
    is_unfelt = search is not None and search.slope == 0
    cure = (usual_criterion_of(evidence, look) if is_unfelt else None) or advise(look)
    leaves = vectors.leaves_by_path(evidence.setting.params).items()
    if len(flow.without) > 1 and not any(jnp.any(leaf) for path, leaf in leaves if path in flow.without):
        why, cure = "they are zero, and so is what each is multiplied with", begin_elsewhere()
    if flow.held_at:
        cure = pass_gradient(flow.held_at)
    text = f"The gradient of {listed(flow.without)} is exactly zero for all data ({why}): they stay as they are."
    whole, is_bad = flow.share > 1 - LEAST_SHARE, evidence.is_underperforming or evidence.generalizes_badly
    layers = evidence.part("layers.start")
    has_dead_layer = layers is not None and any(each.dead >= ALL_DEAD for each in layers.activations)
    blamed = ("dead-units", "vanishing-signal") if not whole or has_dead_layer else ()
    if layers is not None and signals.copies_of(layers) > signals.COPIES:
        blamed = (*blamed, "bad-initialization")  # what goes back through equal weights cancels
    return make_finding(
        "no-gradient", text,
        [measured("share of the parameters without a gradient", flow.share, LEAST_SHARE)], cure,
        float("inf") if whole else 1 / max(1 - flow.share, 1e-3), horizon=evidence.num_steps,
        follows_from=blamed, is_tentative=bool(flow.held_at) and not is_bad,
    )  # fmt: skip


def _inert(evidence: Evidence) -> Finding:
    text = "The rule answers every gradient with an update of exactly zero: no parameter moves."
    cure = advise("Check that no gradient is cleared before the step, and that no factor of the rule is zero.")
    numbers = [measured("share of the steps without an update", 1.0, 1.0)]
    return make_finding("no-gradient", text, numbers, cure, float("inf"), horizon=evidence.num_steps)


def _frozen(evidence: Evidence, held: tuple[str, ...]) -> Finding:
    """What is wrong with a rule that holds what the others cannot do without."""
    rest = "next to nothing" if evidence.learned_nothing else "little"
    text = f"The rule never moves {listed(held)}, and with what it moves the run learns {rest}."
    numbers = [
        measured(
            "loss at the end of the short run over that of the best constant output", share_left(evidence), NOTHING
        ),
        measured("leaves that the rule leaves as they are", len(held), 0.0),
        measured("leaves that it moves", len(jax.tree.leaves(evidence.setting.params))),
    ]
    look = "Train them too: give them a rule other than optax.set_to_zero, or begin from weights that fit."
    cure = (train_all(evidence.setting.optimizer) if evidence.setting.from_init else None) or advise(look)
    return make_finding(
        "no-gradient", text, numbers, cure, float("inf"), horizon=evidence.num_steps, follows_from=_FROZEN_BY,
        is_tentative=cure.change is not None and not evidence.learned_nothing,
    )  # fmt: skip


def _ignored(evidence: Evidence) -> Finding:
    text = "The outputs are the same for all examples, whatever the parameters are: they do not depend on the inputs."
    cure = advise(
        "Look where the inputs get lost: an inverted mask, an index into the wrong axis, a constant in their place."
    )
    numbers = [measured("outputs that differ between examples", 0.0, 0.0)]
    return make_finding("no-gradient", text, numbers, cure, float("inf"), horizon=evidence.num_steps)
