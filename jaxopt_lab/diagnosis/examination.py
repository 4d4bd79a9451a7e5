"""`diagnose`: why is this training slow, in numbers, and what fixes it."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import optax

from jaxopt_lab.core import Problem, fail, require_count
from jaxopt_lab.diagnosis.budgets import Budget
from jaxopt_lab.diagnosis.causes import EXAMINATIONS
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Diagnosis, Finding, Reading, make_finding, rank, read
from jaxopt_lab.diagnosis.gathering import gather
from jaxopt_lab.diagnosis.prescriptions import advise
from jaxopt_lab.diagnosis.signs import Signs

_WHY = {
    "signals": "the problem has no data, or no layer was seen in its program",
    "inputs": "the problem has no floating inputs of two or more features",
    "surroundings": "training moves here, it does not stand still",
    "validation": "the problem has no validation data",
    "noise": "every step sees the same gradient",
}


def diagnose(
    problem: Problem,
    rule: optax.GradientTransformation,
    *,
    params: Any = None,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    opt_state: Any = None,
    budget: float = 200.0,
    seconds: float = 60.0,
    log: Callable[[str], None] | None = None,
) -> Diagnosis:
    """Looks at a loss, a point, the data and the rule in use, and says what holds training back.

    Args:
      problem: what is trained; `from_loss`, `from_nnx` or `from_linen` make one of a user's own.
      rule: the optax rule in use, at the beginning of its schedules.
      params: where training stands; None for its beginning, `problem.init`.
      steps: length of the short run that is made with the rule; None chooses.
      batch_size: examples a step in use; None for all.
      seed: seeds the initial parameters, the data order and every random vector.
      opt_state: the rule's state in a running training loop, such as that of a `Monitor`; None without one. It tells an
        adaptive rule's preconditioner at the point, and what the monitor has seen.
      budget: gradient-equivalents to spend: a gradient of all data is 1, a Hessian product 2; at least 10.
      seconds: wall seconds after which nothing more is begun.
      log: gets what is being done, a line at a time.

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
    if not isinstance(rule, optax.GradientTransformation):
        raise fail("diagnose", f"rule must be an optax.GradientTransformation, got {rule!r}", "Call the factory first.")
    if not isinstance(problem, Problem):
        raise fail(
            "diagnose", f"problem must be a Problem, got {type(problem).__name__}", "Make one with lab.from_loss."
        )
    if steps is not None:
        require_count("diagnose", "steps", steps, 2, "A run of fewer steps shows nothing.")
    if batch_size is not None:
        require_count("diagnose", "batch_size", batch_size)
        if problem.num_examples is None or batch_size > problem.num_examples:
            raise fail(
                "diagnose", f"batch_size {batch_size} needs as many examples, {problem.name} has {problem.num_examples}"
            )
    require_count("diagnose", "seed", seed, 0)
    account = Budget(budget, seconds)
    known = gather(
        problem, rule, params=params, steps=steps, batch_size=batch_size, seed=seed, opt_state=opt_state,
        budget=account, log=log or (lambda sentence: None),
    )  # fmt: skip
    return conclude(known, account)


def conclude(known: Evidence, account: Budget) -> Diagnosis:
    """What the evidence says."""
    found: list[Finding] = []
    missing = dict(account.refused)
    for cause, (examine, needed) in EXAMINATIONS.items():
        if getattr(known, needed) is None:
            if not (known.culprit is not None or needed in _WHY):
                missing.setdefault(cause, f"{needed} was not measured")
            elif known.culprit is None and needed not in ("surroundings", "noise"):
                missing.setdefault(cause, _WHY[needed])
        finding = examine(known)
        if finding is not None:
            seen = () if known.signs is None else tuple(monitored(known.signs))
            found.append(dataclasses.replace(finding, evidence=finding.evidence + seen))
    ranked = rank(found) or (_healthy(known),)
    return Diagnosis(
        known.problem.name, str(known.in_use), ranked, missing, account.spent, account.elapsed, known
    )  # fmt: skip


def monitored(signs: Signs) -> list[Reading]:
    """What a monitor in the training loop has seen, as readings."""
    return [
        read("cosine of successive updates, by the monitor", signs.update_cosine),
        read("update over parameters, by the monitor", signs.update_ratio),
        read("slope of ln loss, by the monitor", signs.loss_trend),
        read("noise scale, by the monitor", signs.noise_scale),
    ]


def _healthy(known: Evidence) -> Finding:
    evidence = [read("loss at the point", known.loss), read("loss at the end of the short run", known.end)]
    if np.isfinite(known.share_of_edge):
        evidence.append(read("learning rate times sharpness over the edge", known.share_of_edge))
    if known.validation is not None:
        evidence.append(read("validation loss", known.validation))
    if known.signs is not None:
        evidence += monitored(known.signs)
    words = "Nothing that was examined holds training back."
    return make_finding("healthy", words, evidence, advise("Go on."), 1.0)
