"""What a diagnosis says: causes from a fixed vocabulary, each with its numbers, and a change that can be applied.

A cause's predicted gain is a ratio: how many times fewer steps, or how many times less loss, its removal is predicted
to give. Findings are ranked by it; a cause that follows from another one stands behind that.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optax

from jaxopt_lab.core import Estimate, Problem, fail

CAUSES = (
    "non-finite",
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
    "healthy",
)

Rule = optax.GradientTransformation
Change = Callable[[Problem, Rule], tuple[Problem, Rule]]


@dataclasses.dataclass(frozen=True)
class Reading(Estimate):
    """An estimate with its name and the threshold that it is held against.

    Attributes:
      name: what was measured, in words.
      threshold: where the cause begins, or None for a number that only informs.
      source: where the threshold is from.
    """

    name: str = ""
    threshold: float | None = None
    source: str = ""

    def line(self) -> str:
        """The reading as a line of the page."""
        limit = f" (limit {self.threshold:.4g})" if self.threshold is not None else ""
        return f"{self.name}: {self}{limit}"


def read(
    name: str, value: float | Estimate, threshold: float | None = None, source: str = "", unit: str = ""
) -> Reading:
    """A reading of a number, or of an estimate with its error."""
    known = value if isinstance(value, Estimate) else Estimate(float(value), unit=unit)
    fields = {field.name: getattr(known, field.name) for field in dataclasses.fields(Estimate)}
    return Reading(**fields, name=name, threshold=threshold, source=source)


@dataclasses.dataclass(frozen=True)
class Prescription:
    """A change of the problem or of the rule.

    Attributes:
      words: what to do, one sentence.
      change: (problem, rule) -> (problem, rule), or None where only a person can make it.
      restarts: whether the change is to the initial parameters, so that a run must begin anew.
    """

    words: str
    change: Change | None = None
    restarts: bool = False

    def apply(self, problem: Problem, rule: Rule) -> tuple[Problem, Rule]:
        """The problem and the rule with the change made.

        Raises:
          InputError: the change cannot be made by a program.
        """
        if self.change is None:
            raise fail("Prescription.apply", "this change cannot be applied by itself", self.words)
        return self.change(problem, rule)


@dataclasses.dataclass(frozen=True)
class Finding:
    """One cause that holds.

    Attributes:
      cause: one of `CAUSES`.
      severity: the share of the steps (or of the loss) that it costs, 1 - 1 / gain, in [0, 1].
      evidence: the numbers that it rests on.
      explanation: one or two sentences.
      prescription: the change that removes it.
      predicted_gain: how many times fewer steps, or less loss, that is predicted to give.
      gain_in: "steps", "loss" or "validation loss": what the gain divides.
      horizon: steps over which the gain is predicted.
      forecast: steps -> the gain predicted for runs of so many steps; None where it does not depend on them.
      alternatives: other changes that remove it.
      follows_from: causes that explain this one when they hold too.
    """

    cause: str
    severity: float
    evidence: tuple[Reading, ...]
    explanation: str
    prescription: Prescription
    predicted_gain: Estimate
    gain_in: str = "steps"
    horizon: int = 0
    forecast: Callable[[int], float] | None = None
    alternatives: tuple[Prescription, ...] = ()
    follows_from: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The finding as plain lists and dictionaries."""
        return {
            "cause": self.cause, "severity": self.severity, "explanation": self.explanation,
            "evidence": [dataclasses.asdict(reading) for reading in self.evidence],
            "prescription": self.prescription.words, "applicable": self.prescription.change is not None,
            "alternatives": [each.words for each in self.alternatives],
            "predicted_gain": dataclasses.asdict(self.predicted_gain), "gain_in": self.gain_in,
            "horizon": self.horizon,
        }  # fmt: skip


def make_finding(
    cause: str, explanation: str, evidence: list[Reading], prescription: Prescription, gain: float | Estimate,
    *, gain_in: str = "steps", horizon: int = 0, forecast: Callable[[int], float] | None = None,
    alternatives: tuple[Prescription, ...] = (), follows_from: tuple[str, ...] = (),
) -> Finding:  # fmt: skip
    """A finding, with its severity from the gain; readings that are NaN were not measured and are left out."""
    estimate = gain if isinstance(gain, Estimate) else Estimate(float(gain))
    severity = 1 - 1 / max(estimate.value, 1.0)
    measured = tuple(reading for reading in evidence if not np.isnan(reading.value))
    return Finding(
        cause, severity, measured, explanation, prescription, estimate, gain_in, horizon, forecast, alternatives,
        follows_from,
    )  # fmt: skip


def rank(findings: list[Finding]) -> tuple[Finding, ...]:
    """Largest predicted gain first; what follows from another cause that holds comes behind it.

    Example:
      >>> slow = make_finding("ill-conditioned", "", [], Prescription(""), 30.0, follows_from=("unnormalized-inputs",))
      >>> raw = make_finding("unnormalized-inputs", "", [], Prescription(""), 10.0)
      >>> [finding.cause for finding in rank([slow, raw])]
      ['unnormalized-inputs', 'ill-conditioned']
    """
    waiting = sorted(findings, key=lambda found: (-found.predicted_gain.value, CAUSES.index(found.cause)))
    ranked: list[Finding] = []
    while waiting:
        open_causes = {found.cause for found in waiting}
        free = [found for found in waiting if not open_causes & set(found.follows_from)]
        chosen = (free or waiting)[0]
        waiting.remove(chosen)
        ranked.append(chosen)
    return tuple(ranked)


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` returns.

    Attributes:
      name: of the problem.
      rule: the rule in use, in words.
      findings: ranked; one with the cause "healthy" when nothing is wrong.
      not_examined: cause or evidence -> why it was not looked at.
      spent: cost in gradient-equivalents: one gradient over all data is 1.
      seconds: wall seconds.
      evidence: everything that was measured.
    """

    name: str
    rule: str
    findings: tuple[Finding, ...]
    not_examined: Mapping[str, str]
    spent: float
    seconds: float
    evidence: Any = None

    @property
    def causes(self) -> tuple[str, ...]:
        """The causes in order; ("healthy",) when nothing is wrong."""
        return tuple(found.cause for found in self.findings)

    def to_json(self) -> dict[str, Any]:
        """The diagnosis as plain lists and dictionaries."""
        return {
            "name": self.name, "rule": self.rule, "causes": list(self.causes), "spent": self.spent,
            "seconds": self.seconds, "not_examined": dict(self.not_examined),
            "findings": [found.to_json() for found in self.findings],
        }  # fmt: skip
