"""What a diagnosis says: causes from a fixed vocabulary, each with its numbers, and a change that can be applied.

A cause's predicted gain is a ratio: how many times fewer steps, or how many times less loss, its removal is predicted
to give. Findings are ranked by it; a cause that follows from another one stands behind that.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import optax

from jaxopt_lab.core import Estimate, Problem, fail
from jaxopt_lab.reporting.outcomes import Reported
from jaxopt_lab.training.evaluation_params import Evaluated

PROGRAM_CAUSES = (
    "label-range",
    "unbounded-loss",
    "unreachable-loss",
    "mixed-examples",
    "no-gradient",
    "uninformative-labels",
    "data-mismatch",
    "gradient-ascent",
    "lost-updates",
    "clipped-steps",
    "schedule",
    "train-eval-mismatch",
)
"""What makes the program another than its author means; told before what makes it slow."""

MEANT = ("clipped-steps", "train-eval-mismatch")
"""Those of them that may be so on purpose: where mending one was tried and does not help, it is."""

CAUSES = (
    "non-finite",
    *PROGRAM_CAUSES,
    "cannot-memorize",
    "learning-rate-too-high",
    "bad-initialization",
    "exploding-signal",
    "vanishing-signal",
    "dead-units",
    "unnormalized-inputs",
    "saddle",
    "plateau",
    "local-minimum",
    "gradient-noise",
    "learning-rate-too-low",
    "ill-conditioned",
    "overfitting",
    "underfitting",
    "unexplained",
    "nothing-found",
    "healthy",
)

UNITS = {"steps": "times fewer steps", "loss": "times less loss", "validation loss": "times less validation loss"}
Rule = optax.GradientTransformation
_LISTED = 3
Change = Callable[[Problem, Rule], tuple[Problem, Rule]]


@dataclasses.dataclass(frozen=True)
class Measurement:
    """An estimate with its name and the threshold that it is held against.

    Attributes:
      name: what was measured, in words.
      estimate: the number, with its error where it has one.
      threshold: where the cause begins, or None for a number that only informs.
      source: where the threshold is from.
    """

    name: str
    estimate: Estimate
    threshold: float | None = None
    source: str = ""

    @property
    def value(self) -> float:
        """The number."""
        return self.estimate.value

    def __str__(self) -> str:
        limit = f" (limit {self.threshold:.4g})" if self.threshold is not None else ""
        return f"{self.name}: {self.estimate}{limit}"

    def to_json(self) -> dict[str, Any]:
        """The number, its error, name and threshold, side by side."""
        rest = {"name": self.name, "threshold": self.threshold, "source": self.source}
        return dataclasses.asdict(self.estimate) | rest


def measured(
    name: str, value: float | Estimate, threshold: float | None = None, source: str = "", unit: str = ""
) -> Measurement:
    """The measurement of a number, or of an estimate with its error."""
    estimate = value if isinstance(value, Estimate) else Estimate(float(value), unit=unit)
    return Measurement(name, estimate, threshold, source)


@dataclasses.dataclass(frozen=True)
class Prescription:
    """A change of the problem or of the rule.

    Attributes:
      text: what to do, one sentence.
      change: (problem, rule) -> (problem, rule), or None where only a person can make it.
      restarts: whether the change is to the initial parameters, so that a run must begin anew.
      rescales: whether the loss has other units afterwards.
      changes_loss: whether it is another function of the outputs afterwards, by which the run in use is judged too.
      rates: factors of the learning rate that come with the change; a trial chooses among them.
      evaluated: (state of the rule, params) -> the parameters that are judged; None: the parameters.
      needs_validation: whether validation data alone show what it gives: without any it is not tried.
      longer: how many times the steps a trial takes, where batches are so small that more of them cost next to nothing.
    """

    text: str
    change: Change | None = None
    restarts: bool = False
    rescales: bool = False
    changes_loss: bool = False
    rates: tuple[float, ...] = ()
    evaluated: Evaluated | None = None
    needs_validation: bool = False
    longer: int = 1

    def apply(self, problem: Problem, rule: Rule) -> tuple[Problem, Rule]:
        """The problem and the rule with the change made.

        Raises:
          InputError: the change cannot be made by a program.
        """
        if self.change is None:
            raise fail("Prescription.apply", "this change cannot be applied by itself", self.text)
        return self.change(problem, rule)


@dataclasses.dataclass(frozen=True)
class PredictedGain:
    """How many times fewer steps, or how many times less loss, a change is predicted to give.

    Attributes:
      estimate: the ratio; infinite where nothing is learned without the change.
      unit: "steps", "loss" or "validation loss": what it divides.
      horizon: steps of a run that shows it.
      in_run_of: steps -> the ratio predicted for runs of so many steps; None where it does not depend on them.
    """

    estimate: Estimate
    unit: str = "steps"
    horizon: int = 0
    in_run_of: Callable[[int], float] | None = None

    @property
    def value(self) -> float:
        """The ratio."""
        return self.estimate.value

    def __str__(self) -> str:
        if np.isinf(self.value):
            return "it trains at all"
        return f"{self.value:.3g} {UNITS[self.unit]}"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One cause that holds.

    Attributes:
      cause: one of `CAUSES`.
      severity: the share of the steps (or of the loss) that it costs, 1 - 1 / gain, in [0, 1].
      evidence: the numbers that it rests on.
      explanation: one or two sentences.
      prescription: the change that removes it.
      predicted_gain: what that is predicted to give.
      alternatives: other changes that remove it.
      follows_from: causes that explain this one when they hold too.
      trial: what a short run with the prescription gave, or None where none was made.
      is_tentative: whether nothing but that run can show it: where its change does not help, it is as it is meant.
    """

    cause: str
    severity: float
    evidence: tuple[Measurement, ...]
    explanation: str
    prescription: Prescription
    predicted_gain: PredictedGain
    alternatives: tuple[Prescription, ...] = ()
    follows_from: tuple[str, ...] = ()
    trial: Any = None
    is_tentative: bool = False

    @property
    def measured_gain(self) -> float | None:
        """How many times less loss the prescription gave in a short run; None where it was not tried."""
        return None if self.trial is None else self.trial.gain

    def to_json(self) -> dict[str, Any]:
        """The finding as plain lists and dictionaries."""
        return {
            "cause": self.cause, "severity": self.severity, "explanation": self.explanation,
            "evidence": [measurement.to_json() for measurement in self.evidence],
            "prescription": self.prescription.text, "applicable": self.prescription.change is not None,
            "alternatives": [each.text for each in self.alternatives],
            "predicted_gain": dataclasses.asdict(self.predicted_gain.estimate), "gain_in": self.predicted_gain.unit,
            "horizon": self.predicted_gain.horizon, "trial": None if self.trial is None else self.trial.to_json(),
        }  # fmt: skip


def listed(paths: Sequence[str]) -> str:
    """The first three paths of parameters, and how many more there are."""
    more = f" and {len(paths) - _LISTED} more" if len(paths) > _LISTED else ""
    return ", ".join(path or "the parameters" for path in paths[:_LISTED]) + more


def make_finding(
    cause: str, explanation: str, evidence: list[Measurement], prescription: Prescription, gain: float | Estimate,
    *, gain_in: str = "steps", horizon: int = 0, forecast: Callable[[int], float] | None = None,
    alternatives: tuple[Prescription, ...] = (), follows_from: tuple[str, ...] = (), is_tentative: bool = False,
) -> Finding:  # fmt: skip
    """A finding, with its severity from the gain; measurements that are NaN were not made and are left out."""
    estimate = gain if isinstance(gain, Estimate) else Estimate(float(gain))
    severity = 1 - 1 / max(estimate.value, 1.0)
    made = tuple(measurement for measurement in evidence if not np.isnan(measurement.value))
    predicted = PredictedGain(estimate, gain_in, horizon, forecast)
    return Finding(
        cause, severity, made, explanation, prescription, predicted, alternatives, follows_from,
        is_tentative=is_tentative,
    )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Diagnosis(Reported):
    """What `diagnose` returns.

    Attributes:
      name: of the problem.
      rule: the rule in use, in words.
      findings: ranked; one with the cause "healthy" when nothing is wrong.
      not_examined: cause or evidence -> why it was not looked at.
      spent: cost in gradient-equivalents: one gradient over all data is 1.
      seconds: wall seconds.
      compiled: programs that were compiled, or found in the persistent compilation cache.
      evidence: everything that was measured.
    """

    _report: ClassVar[str] = "jaxopt_lab.diagnosis.report"

    name: str
    rule: str
    findings: tuple[Finding, ...]
    not_examined: Mapping[str, str]
    spent: float
    seconds: float
    compiled: int = 0
    evidence: Any = None

    def __repr__(self) -> str:
        return f"<Diagnosis of {self.name}: {', '.join(self.causes)}>"

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes in order; ("healthy",) when nothing is wrong."""
        return tuple(found.cause for found in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain lists and dictionaries."""
        return {
            "name": self.name, "rule": self.rule, "causes": list(self.causes), "spent": self.spent,
            "seconds": self.seconds, "compiled": self.compiled, "not_examined": dict(self.not_examined),
            "findings": [found.to_json() for found in self.findings],
        }  # fmt: skip
