"""`diagnose`: why is this training slow, in numbers, and what fixes it."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Problem, fail, vectors
from jaxopt_lab.core.batches import Batches, require_batch_size
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.core.leaves import describe, require_trainable
from jaxopt_lab.diagnosis.budget import Budget, Skipped
from jaxopt_lab.diagnosis.causes import EXAMINATIONS
from jaxopt_lab.diagnosis.causes.generalization import BY_HEART
from jaxopt_lab.diagnosis.data_checks import first_batches, read_batches
from jaxopt_lab.diagnosis.evidence import LITTLE, Evidence, Setting
from jaxopt_lab.diagnosis.findings import (
    MEANT,
    PROGRAM_CAUSES,
    Diagnosis,
    Finding,
    Measurement,
    make_finding,
    measured,
)
from jaxopt_lab.diagnosis.logged_curve import diagnose_log
from jaxopt_lab.diagnosis.measure import measure
from jaxopt_lab.diagnosis.predicted_gain import rank
from jaxopt_lab.diagnosis.prescriptions import advise
from jaxopt_lab.diagnosis.trials import ALL_UNTRIED, UNTRIED, Trial, try_prescriptions
from jaxopt_lab.rules.frozen import frozen_leaves, without_frozen
from jaxopt_lab.rules.identification import identify
from jaxopt_lab.rules.monitor import is_monitor, without_sharpness
from jaxopt_lab.rules.monitor_summary import MonitorSummary, summarize_monitor
from jaxopt_lab.training.failures import require_rule
from jaxopt_lab.training.feeding import on_a_sample

_SEEN = ("non-finite", "saddle", "local-minimum", "overfitting", *PROGRAM_CAUSES)
"""Causes that are there whether or not the change that is tried mends them, but for tentative ones and for `MEANT`."""
_RISEN = 1.5


def diagnose(
    problem: Problem | None = None,
    rule: optax.GradientTransformation | None = None,
    *,
    params: Any = None,
    steps: int | None = None,
    total_steps: int | None = None,
    batch_size: int | None = None,
    batches: Iterable[Any] | None = None,
    seed: int = 0,
    opt_state: Any = None,
    budget: float = 200.0,
    seconds: float = 120.0,
    log: Callable[[str], None] | str | os.PathLike[str] | None = None,
) -> Diagnosis:
    """Looks at a loss, a point, the data and the rule in use, and says what holds training back.

    Args:
      problem: what is trained; `from_loss`, `from_nnx` or `from_linen` make one of a user's own. Of data in batches a
        fixed sample is examined, which the page tells, at the batches' size.
      rule: the optax rule in use, at the beginning of its schedules.
      params: where training stands; None for its beginning, `problem.init`.
      steps: length of the short run that is made with the rule; None chooses.
      total_steps: of the whole run that is planned: the schedule is read over it; None leaves it unread.
      batch_size: examples a step in use; None for all.
      batches: an iterable of batches as the training loop feeds them, of the data's structure: their classes, scale and
        repeats are held against the data; None takes those in which the data come, if they do.
      seed: seeds the initial parameters, the data order and every random vector.
      opt_state: the rule's state in a running training loop, such as that of a `Monitor`; None without one. It tells an
        adaptive rule's preconditioner at the point, and what the monitor has seen.
      budget: gradient-equivalents to spend: a gradient of all data is 1, a Hessian product 2; a minibatch the share of
        the data that it is, or of a thousand examples where there are fewer, and a full batch less where the model has
        few parameters; at least 10. What is checked and tried beside the run and the curvature may take twice as much
        again.
      seconds: wall seconds after which nothing more is begun.
      log: told what is being done, a sentence at a time. Without a problem: the path of a logged curve (CSV, JSON
        lines, TensorBoard events), from which alone is told what it tells.

    Returns:
      The diagnosis: findings ranked by the gain that removing each is predicted to give; what could not be examined.

    Raises:
      InputError: no rule, a loss that is not a scalar or cannot be differentiated, a batch larger than the data, or a
        budget too small for anything.

    Example:
      >>> import jaxopt_lab as lab
      >>> problem = lab.objectives.quadratic(lab.objectives.spectra.log_uniform(100, kappa=1e4), start=1.0)
      >>> lab.diagnose(problem, optax.sgd(1.0), steps=30).causes
      ('ill-conditioned',)
    """
    if isinstance(log, str | os.PathLike):
        if problem is not None or rule is not None:
            raise fail(
                "diagnose", "log is the path of a curve beside a problem", "Give the curve alone, or a function."
            )
        return diagnose_log(log)
    if not isinstance(rule, optax.GradientTransformation):
        raise fail("diagnose", f"rule must be an optax.GradientTransformation, got {rule!r}", "Call the factory first.")
    if not isinstance(problem, Problem):
        raise fail(
            "diagnose", f"problem must be a Problem, got {type(problem).__name__}", "Make one with lab.from_loss."
        )
    loader = problem.data if isinstance(problem.data, Batches) else None
    problem, batch_size, drawn = on_a_sample("diagnose", problem, batch_size)
    if steps is not None:
        require_count("diagnose", "steps", steps, 2, "A run of fewer steps shows nothing.")
    if total_steps is not None:
        require_count("diagnose", "total_steps", total_steps, 2)
        taken = _steps_taken(opt_state)
        if taken > total_steps:
            raise fail("diagnose", f"total_steps is {total_steps}, and opt_state has taken {taken} steps already")
    require_batch_size("diagnose", batch_size, problem.name, problem.num_examples)
    require_count("diagnose", "seed", seed, 0)
    fed = first_batches(problem, loader) if batches is None else read_batches(problem, batches)
    account = Budget(budget, seconds)
    if drawn:
        account.skip("all examples", drawn)
    setting = _setting(problem, rule, params, steps, batch_size, seed, opt_state)
    setting = dataclasses.replace(setting, total_steps=total_steps, batches=fed)
    log = log or (lambda text: None)
    return conclude(measure(setting, account, log), account, log)


def conclude(evidence: Evidence, account: Budget, log: Callable[[str], None] = lambda text: None) -> Diagnosis:
    """What the evidence says, and what the changes that it suggests do in short runs."""
    found: list[Finding] = []
    missing: dict[str, str] = {}
    for cause, examination in EXAMINATIONS.items():
        lacking = [part.rpartition(".")[2] for part in examination.needs if evidence.part(part) is None]
        if lacking and evidence.non_finite is None:
            why = account.skipped.get(lacking[0], Skipped("it was not measured"))
            if why.applies:
                missing.setdefault(cause, f"{lacking[0].replace('_', ' ')}: {why.reason}")
        finding = examination.examine(evidence)
        if finding is not None and account.has_sampled and examination.not_of_sample:
            missing[cause] = examination.not_of_sample
        elif finding is not None:
            found.append(dataclasses.replace(finding, evidence=finding.evidence + _monitored(evidence)))
    if any(finding.cause == "unbounded-loss" for finding in found):  # what lets it fall faster is no cure
        found = [finding for finding in found if finding.cause in ("non-finite", *PROGRAM_CAUSES)]
    tried = _tried(evidence, found, account, log)
    missing = {what: skipped.reason for what, skipped in account.skipped.items() if skipped.applies} | missing
    for finding in found:
        untried = account.skipped.get(UNTRIED + finding.cause, account.skipped.get(ALL_UNTRIED))
        if finding.is_tentative and untried:
            missing[finding.cause] = f"nothing but a run without it can show it: {untried.reason}"
    ranked = rank(tried) or (_without_cause(evidence, missing),)
    setting = evidence.setting
    return Diagnosis(
        setting.problem.name,
        str(setting.optimizer),
        ranked,
        missing,
        account.spent + account.aside,
        account.elapsed,
        account.compiled,
        evidence,
    )


def _tried(
    evidence: Evidence, found: list[Finding], account: Budget, log: Callable[[str], None]
) -> list[Finding]:  # fmt: skip
    """The findings with what was tried; without those whose change does not help a run that ends finite.

    Where training goes badly with the change that helps most too, or none does, they stay as observations behind the
    others.
    """
    trials = try_prescriptions(evidence, rank(found), account, log)
    kept, dropped, is_finite = [], [], evidence.non_finite is None
    for finding in found:
        trial = trials.get(finding.cause)
        if trial is None:
            kept += [] if finding.is_tentative else [finding]
        elif finding.cause == "overfitting" and not trial.helps and _stops_in_time(evidence, trial):
            continue
        elif trial.helps or not is_finite or (finding.cause in set(_SEEN) - set(MEANT) and not finding.is_tentative):
            others = tuple(each for each in finding.alternatives if each.text != trial.prescription.text)
            kept.append(dataclasses.replace(finding, trial=trial, prescription=trial.prescription, alternatives=others))
        elif trial.is_long:
            seen = advise(trial.prescription.text)  # to be applied is what helps
            dropped.append(dataclasses.replace(finding, trial=trial, prescription=seen))
        else:
            kept.append(dataclasses.replace(finding, trial=trial))
    if not kept:
        return dropped if evidence.learned_nothing else []
    best = min((trial.after / trial.scale for trial in trials.values() if trial.helps), default=np.inf)
    return [*kept, *dropped] if best > LITTLE and evidence.is_underperforming else kept


def _stops_in_time(evidence: Evidence, trial: Trial) -> bool:
    """Whether the validation loss is low and has hardly risen: to stop earlier gains less than a third of it.

    Not where the training examples are memorized.
    """
    held = evidence.validation
    if held is None or evidence.generalizes_badly or 0 <= evidence.end < BY_HEART * held.loss.value:
        return False
    return held.loss.value - trial.before < (_RISEN - 1) * abs(trial.before)


def _without_cause(evidence: Evidence, missing: dict[str, str]) -> Finding:
    """What is said where no cause holds: healthy only where training learns and everything was examined."""
    base = evidence.point.baseline
    if evidence.learned_nothing:
        text = "The run learns next to nothing and no cause that was examined holds."
        cure = advise(
            "Try to fit sixteen examples, a rate ten times higher and lower, and a model known to learn this."
        )
        numbers = [measured("loss at the end of the short run", evidence.end)]
        numbers.append(measured("loss of the best constant output", base if base is not None else np.nan))
        return make_finding("unexplained", text, numbers, cure, 1.0)
    if set(missing) & set(EXAMINATIONS):
        cure = advise("Give a larger budget or more seconds; what was not examined is listed.")
        return make_finding("nothing-found", _nothing(evidence), [], cure, 1.0)
    return _healthy(evidence)


def _healthy(evidence: Evidence) -> Finding:
    measurements = [measured("loss at the point", evidence.point.loss)]
    measurements.append(measured("loss at the end of the short run", evidence.end))
    if np.isfinite(evidence.relative_sharpness):
        measurements.append(measured("learning rate times sharpness over the edge", evidence.relative_sharpness))
    if evidence.validation is not None:
        measurements.append(measured("validation loss", evidence.validation.loss))
    measurements += _monitored(evidence)
    return make_finding("healthy", _nothing(evidence), measurements, advise("Go on."), 1.0)


def _nothing(evidence: Evidence) -> str:
    text = "Nothing that was examined holds training back."
    if evidence.part("program.is_surrogate"):
        text += " The loss is a surrogate: ask a metric how well the model does."
    return text


def _monitored(evidence: Evidence) -> tuple[Measurement, ...]:
    """What a monitor in the training loop has seen."""
    seen = evidence.setting.monitor
    if seen is None:
        return ()
    relative = seen.relative_sharpness
    return (
        measured("cosine of successive updates, by the monitor", seen.update_cosine),
        measured("update over parameters, by the monitor", seen.update_ratio),
        measured("slope of ln loss, by the monitor", seen.loss_trend),
        measured("noise scale, by the monitor", seen.noise_scale),
        *([measured("sharpness over its edge, by the monitor", relative)] if np.isfinite(relative.value) else []),
    )


def _setting(
    problem: Problem, rule: optax.GradientTransformation, params: Any, steps: int | None, batch_size: int | None,
    seed: int, opt_state: Any,
) -> Setting:  # fmt: skip
    """Checks the parameters and the rule on them, and identifies the rule."""
    point = problem.init(jax.random.key(seed)) if params is None else params
    _require_real(point)
    require_rule("diagnose", lambda: rule, {}, point)
    rule, monitor = without_sharpness(rule, point), _summary(opt_state, batch_size)
    problem, rule, point = without_frozen(problem, rule, point, frozen_leaves(rule, point))
    return Setting(
        problem, rule, point, params is None, steps, batch_size, seed, opt_state, monitor, identify(rule, point)
    )


def _steps_taken(opt_state: Any) -> int:
    """The largest count that an optax state holds; 0 without one."""
    counts = optax.tree.get_all_with_path(opt_state, "count") if opt_state is not None else []
    return max((int(np.max(count)) for _, count in counts if np.size(count)), default=0)


def _require_real(params: Any) -> None:
    """Raises unless there are parameters, all of them real and floating: curvature needs nothing less."""
    require_trainable("diagnose", params)
    if not vectors.size(params):
        raise fail("diagnose", "the parameters hold no number")
    for path, leaf in zip(vectors.parameter_paths(params), jax.tree.leaves(params), strict=True):
        if jnp.iscomplexobj(leaf):
            label = f"parameter {path}" if path else "the parameter"
            raise fail(
                "diagnose", f"{label} is complex ({describe(leaf)})",
                "Give its real and imaginary parts as parameters, and let the loss make it of them.",
            )  # fmt: skip


def _summary(opt_state: Any, batch_size: int | None) -> MonitorSummary | None:
    """What a monitor in the state has recorded; None without a state or a monitor."""
    if opt_state is None or not any(map(is_monitor, jax.tree.leaves(opt_state, is_leaf=is_monitor))):
        return None
    return summarize_monitor(opt_state, batch_size)
