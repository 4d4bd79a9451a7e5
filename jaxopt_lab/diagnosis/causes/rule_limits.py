"""gradient-ascent, lost-updates, clipped-steps, schedule: what the rule makes of a gradient.

    gradient-ascent the update points along the gradient, not against it, in the median of batches; or that of some of
                    the leaves does; or a leaf's gradient, of a rule that the program brings along, points downhill; or
                    without a gradient the parameters grow; or the loss falls by a fifth of its
                    scale, and a metric whose name says that more is better falls with it, by a twentieth and a fifth
                    of itself at least, and does not rise where sixteen examples are memorized: on its way to a constant
                    output a loss may leave a chance hit
    lost-updates    at least half of the entries of a leaf stay as they are, though the update is not zero: its
                    precision is too low for steps of this size; or no step moves a leaf with which the loss would fall
                    by a fifth, and a fiftieth of its scale
    clipped-steps   the update is four times shorter than without the limit on the gradient, at the gradients that it
                    meets in the median; or an adaptive rule answers in proportion to the gradient, as it does where its
                    epsilon exceeds it
    schedule        the rate of the planned run falls below a hundredth of its largest before six tenths of the run, or
                    rises until its last tenth, from less than three quarters halfway; or nine of ten steps have no
                    update; or the planned run ends while its loss still falls. Where no run is planned, the rate is
                    gone after a tenth of the short one

Reference: Kingma and Ba 2015 (epsilon); Pascanu, Mikolov, Bengio 2013 (clipping); Micikevicius et al. 2018 (precision).
"""

import dataclasses

import jax

from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, listed, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import (
    advise,
    decay_weights,
    hold_rate,
    hold_still,
    keep_precision,
    negate_updates,
    raise_clip,
    scale_gradients,
)
from jaxopt_lab.diagnosis.rule_checks import ASCENT
from jaxopt_lab.diagnosis.stationary_point import StillLeaf

LOST = 0.5
MISSED, MISSED_SCALE = 0.2, 0.02
IDLE = 0.9
SHORTENED = 4.0
ELASTICITY = 0.5
ENDS, RISES, HALFWAY, EARLY = 0.6, 0.9, 0.75, 0.1
FALLING = 0.2
FALLEN, FALLEN_SHARE = 0.05, 0.2
GROWTH = 1e-8  # in a step: the rounding of what is at rest is less
MENDED_FASTER = (
    "learning-rate-too-low",
    "learning-rate-too-high",
    "bad-initialization",
    "unnormalized-inputs",
    "saddle",
    "plateau",
    "ill-conditioned",
    "gradient-noise",
    "underfitting",
    "vanishing-signal",
    "exploding-signal",
    "dead-units",
    "cannot-memorize",
)  # with them mended the planned steps may do
_NARROW = ("bfloat16", "float16")  # in float32 it is what a run at rest does


def examine_ascent(evidence: Evidence) -> Finding | None:
    """A finding where the rule's updates raise the loss."""
    checks, rule = evidence.update.rule, evidence.setting.optimizer
    growth = -min([rule.weight_decay, *(each.weight_decay for _, each in rule.groups)])
    climbs = checks is not None and checks.descent < ASCENT
    if growth > GROWTH and not climbs:  # with the other sign of all the decay has its own
        return _growing(evidence, growth)
    if checks is not None and 0 < len(checks.rising) < len(jax.tree.leaves(evidence.setting.params)):
        return _rising(evidence, checks.rising)
    flow = evidence.part("program.gradients")
    if flow is not None and flow.opposed and evidence.is_underperforming:
        return _opposed(evidence, flow.opposed)
    if checks is None or not climbs:
        return _against_metric(evidence)
    text = "The updates point along the gradient, not against it: each step raises the loss."
    numbers = [measured("cosine of the update with the negative gradient, in the median", checks.descent, ASCENT)]
    return make_finding(
        "gradient-ascent", text, numbers, negate_updates(), float("inf"), horizon=evidence.num_steps
    )  # fmt: skip


def _growing(evidence: Evidence, growth: float) -> Finding:
    """What is wrong with a weight decay of the wrong sign."""
    text = f"Without any gradient each step makes the parameters grow by {growth:.3g} of themselves."
    cure = dataclasses.replace(
        decay_weights(growth),
        text="Give the weight decay its sign: optax.add_decayed_weights stands before the scaling by the learning rate,"
        " or use optax.adamw.",
    )
    numbers = [measured("growth of the parameters in a step without a gradient", growth, GROWTH)]
    return make_finding(
        "gradient-ascent", text, numbers, cure, float("inf"), horizon=evidence.num_steps
    )  # fmt: skip


def _against_metric(evidence: Evidence) -> Finding | None:
    """A finding where the loss comes down and takes a metric with it of which more is better."""
    changes = () if evidence.program is None else evidence.program.metrics
    modes = None if evidence.program is None else evidence.program.modes
    if evidence.generalizes_badly:
        return None  # metrics may be of other data than they are given
    if modes is not None and not modes.evaluation < evidence.point.loss:
        return None  # metrics are taken in evaluation mode: where the loss rises in it, they may fall
    alone = None if evidence.program is None else evidence.program.memorization
    learned = () if alone is None else {each.name for each in alone.metrics if each.end > each.start}
    fallen = [
        each
        for each in changes
        if each.name not in learned and each.end < each.start - max(FALLEN, FALLEN_SHARE * abs(each.start))
    ]
    if not fallen or not evidence.point.loss - evidence.end > FALLEN_SHARE * evidence.scale:
        return None
    name, start, end = fallen[0]
    text = (
        f"The loss falls, and {name} on the same data with it, from {start:.3g} to {end:.3g}: the loss rewards what the"
        " metric does not."
    )
    cure = advise(
        "Look at the sign of the loss: of a similarity, an overlap or a reward take the negative, or 1 less it."
    )
    numbers = [
        measured(f"{name} at the point", start),
        measured(f"{name} at the end of the short run", end, start - max(FALLEN, FALLEN_SHARE * abs(start))),
        measured("loss at the end of the short run", evidence.end),
    ]
    return make_finding("gradient-ascent", text, numbers, cure, float("inf"), horizon=evidence.num_steps)


def _opposed(evidence: Evidence, leaves: tuple[str, ...]) -> Finding:
    text = f"Along the gradient of {listed(leaves)} the loss falls: a derivative rule (custom_vjp) is not the loss's."
    cure = advise(
        "Check the sign that each custom_vjp gives, and where it stands: a reversed gradient belongs before what is to"
        " be unlearned alone. jax.test_util.check_grads holds it against differences."
    )
    numbers = [measured("leaves along whose gradient the loss falls", len(leaves), 0.0)]
    return make_finding("gradient-ascent", text, numbers, cure, float("inf"), horizon=evidence.num_steps)


def _rising(evidence: Evidence, rising: tuple[str, ...]) -> Finding:
    text = (
        f"The updates of {listed(rising)} point along their gradient, not against it: optax.masked passes on the"
        " gradients of what it leaves out."
    )
    numbers = [
        measured("leaves whose update points along the gradient", len(rising), 0.0),
        measured("leaves", len(jax.tree.leaves(evidence.setting.params))),
    ]
    return make_finding(
        "gradient-ascent", text, numbers, hold_still(rising), float("inf"), horizon=evidence.num_steps
    )  # fmt: skip


def examine_lost(evidence: Evidence) -> Finding | None:
    """A finding where updates drown in the parameters' rounding."""
    checks = evidence.update.rule
    still = None if checks is None else checks.still
    if still is not None and still.downhill.drop > max(MISSED * abs(still.loss), MISSED_SCALE * evidence.scale):
        return _still(evidence, still)
    if checks is None or not checks.lost >= LOST or not evidence.is_underperforming or checks.dtype not in _NARROW:
        return None
    text = f"{checks.lost:.0%} of the entries of a leaf ({checks.dtype}) are the same after an update that is not zero."
    numbers = [measured("entries that an update leaves as they are, share", checks.lost, LOST)]
    return make_finding(
        "lost-updates", text, numbers, keep_precision(), 1 / max(1 - checks.lost, 1e-2), horizon=evidence.num_steps
    )


def _still(evidence: Evidence, still: StillLeaf) -> Finding:
    """What is wrong with a leaf whose values are too large for the steps of its precision."""
    share, after = still.downhill.distance / still.size, still.loss - still.downhill.drop
    text = (
        f"{still.path} ({still.dtype}) has not moved in {evidence.num_steps} steps: each is below the rounding of its"
        f" values. A step of {100 * share:.2g} % of it along its gradient would lower the loss."
    )
    cure = advise(
        "Give it in units in which it is of order one and its changes are too, such as MHz for Hz, or a learning rate"
        " of its own (optax.partition)."
    )
    numbers = [
        measured("loss at the end of the short run", still.loss),
        measured("the same with that leaf moved", after, still.loss - MISSED * abs(still.loss)),
    ]
    gain = abs(still.loss) / max(after, 1e-2 * evidence.scale)
    return make_finding("lost-updates", text, numbers, cure, gain, gain_in="loss", horizon=evidence.num_steps)


def examine_clipped(evidence: Evidence) -> Finding | None:
    """A finding where a limit on the gradient, or an epsilon, decides the length of the steps."""
    checks = evidence.update.rule
    if checks is None or not evidence.is_underperforming:
        return None
    if checks.is_adaptive and checks.elasticity > ELASTICITY:
        text = "The adaptive rule's steps grow with the gradient: its epsilon exceeds the gradient's root mean square."
        numbers = [measured("elasticity of the update in the gradient", checks.elasticity, ELASTICITY)]
        return make_finding("clipped-steps", text, numbers, scale_gradients(1e4), 10.0, horizon=evidence.num_steps)
    if checks.is_adaptive or checks.shortened < SHORTENED or checks.elasticity > 1 - ELASTICITY:
        return None
    text = f"The limit on the gradient makes each step {checks.shortened:.3g} times shorter than the gradient asks."
    numbers = [
        measured("times that steps are shortened, in the median", checks.shortened, SHORTENED),
        measured("elasticity of the update in the gradient", checks.elasticity, 1 - ELASTICITY),
    ]
    return make_finding(
        "clipped-steps", text, numbers, raise_clip(checks.shortened), checks.shortened, horizon=evidence.num_steps
    )


def examine_schedule(evidence: Evidence) -> Finding | None:
    """A finding where the schedule, or the end of the planned run, stops training."""
    checks = evidence.update.rule
    if checks is None or checks.is_inert or not evidence.is_underperforming:
        return None
    if checks.idle > IDLE:
        text = f"{checks.idle:.1%} of the steps have no update: the parameters stay where they are."
        numbers = [measured("share of the steps without an update", checks.idle, IDLE)]
        cure = advise("Accumulate the gradients of fewer batches for each update, or plan as many steps more.")
        return make_finding("schedule", text, numbers, cure, 1 / max(1 - checks.idle, 1e-3), horizon=evidence.num_steps)
    schedule = checks.schedule
    if schedule is None:
        return None
    part, peak = schedule.ends / schedule.steps, schedule.peak / schedule.steps
    least = ENDS if schedule.is_planned else EARLY
    numbers = [
        measured("planned steps" if schedule.is_planned else "steps of the short run", schedule.steps),
        measured("share of them with more than a hundredth of the largest rate", part, least),
        measured("share of them before the largest rate", peak, RISES),
    ]
    halfway = schedule.rates[schedule.steps // 2]  # a momentum's rise is over by then
    warmed = schedule.is_planned and peak >= RISES and halfway < HALFWAY
    if part < least or warmed:
        how = "rises until the run is over" if warmed else f"is over after {schedule.ends} of {schedule.steps} steps"
        text = f"The learning rate {how}."
        return make_finding(
            "schedule", text, numbers, hold_rate(schedule.peak), 1 / max(part if not warmed else 0.1, 1e-3),
            horizon=schedule.steps,
        )  # fmt: skip
    run = evidence.run
    if run is None or run.diverged or not schedule.is_planned or run.num_steps < schedule.steps:
        return None
    third, last = run.late_losses
    fall = (third - last) / evidence.scale
    numbers.append(measured("fall of the loss in the last quarter, over its scale", fall, FALLING))
    if not fall > FALLING:
        return None
    text = f"The run ends after {schedule.steps} steps while its loss still falls."
    cure = advise("Plan more steps.")
    return make_finding("schedule", text, numbers, cure, 2.0, horizon=schedule.steps, follows_from=MENDED_FASTER)
