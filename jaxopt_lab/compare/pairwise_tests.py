"""The verdict on each pair of rules: better, no difference shown, inconclusive, or under-tuned.

under-tuned            the rule that loses contains the other: with that setting it could not lose
inconclusive, widen    the best trial of one of them lies near an edge of its space
no difference shown    p >= 0.01 after Holm's correction over all pairs on the problem
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxopt_lab.compare.statistics import paired_test
from jaxopt_lab.core.estimate import holm

BETTER, NO_DIFFERENCE, INCONCLUSIVE, UNDER_TUNED = "better", "no difference shown", "inconclusive, widen", "under-tuned"
LEVEL = 0.01


@dataclasses.dataclass(frozen=True)
class PairwiseResult:
    """The verdict on two rules on one problem.

    Attributes:
      problem: its name.
      measure: what was compared.
      first: the rule with the lower median.
      second: the other.
      medians: of both; a miss is infinite.
      p: of the paired test.
      corrected: the p after Holm's correction.
      test: which test, see `paired_test`.
      outcome: one of the four verdicts.
      why: what the outcome rests on, in words.
    """

    problem: str
    measure: str
    first: str
    second: str
    medians: tuple[float, float]
    p: float
    corrected: float
    test: str
    outcome: str
    why: str = ""

    def __str__(self) -> str:
        if self.outcome == NO_DIFFERENCE:
            return f"{self.first} and {self.second}: no difference shown ({self._numbers()})."
        if self.outcome == INCONCLUSIVE:
            return f"{self.first} and {self.second}: inconclusive, widen: {self.why} ({self._numbers()})."
        if self.outcome == UNDER_TUNED:
            return f"{self.second} is under-tuned: {self.why}, and it loses to {self.first} ({self._numbers()})."
        return f"{self.first} is better than {self.second} ({self._numbers()})."

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON data."""
        return dataclasses.asdict(self) | {"text": str(self)}

    def _numbers(self) -> str:
        low, high = self.medians
        chance = "nothing left to chance" if self.test == "exact" else f"p = {self.corrected:.2g}"
        return f"{self.measure} {low:.4g} against {high:.4g}, {chance}"


def pairwise_results(
    problem: str,
    measure: str,
    values: Mapping[str, np.ndarray],
    edges: Mapping[str, Mapping[str, str]],
    contains: Mapping[str, Mapping[str, str]],
    level: float = LEVEL,
) -> list[PairwiseResult]:
    """The verdict on each pair of rules on one problem.

    Args:
      problem: its name.
      measure: what the values are.
      values: rule -> one number a seed, smaller is better, infinite for a miss; the same seeds for all.
      edges: rule -> hyperparameter -> "low" or "high", where its best trial lies near an edge.
      contains: rule -> other rule that it contains -> where, such as "rho = 0".
      level: p below which a difference is claimed.

    Returns:
      One result for each pair, in the order of the rules.

    Example:
      >>> values = {"a": np.array([1.0, 1.1, 0.9, 1.0]), "b": np.array([2.0, 2.3, 1.7, 2.1])}
      >>> print(pairwise_results("bowl", "loss", values, {}, {})[0])
      a is better than b (loss 1 against 2.05, p = 9.5e-05).
      >>> print(pairwise_results("bowl", "loss", values, {}, {"b": {"a": "rho = 0"}})[0])
      b is under-tuned: it contains a at rho = 0, and it loses to a (loss 1 against 2.05, p = 9.5e-05).
    """
    pairs = list(itertools.combinations(values, 2))
    tests = [paired_test(values[one], values[other]) for one, other in pairs]
    results = []
    for (one, other), (p, test), corrected in zip(pairs, tests, holm([p for p, _ in tests]), strict=True):
        medians = {rule: float(np.median(values[rule])) for rule in (one, other)}
        first, second = sorted((one, other), key=lambda rule: medians[rule])
        outcome, why = _outcome(first, second, corrected < level, edges, contains)
        results.append(
            PairwiseResult(
                problem, measure, first, second, (medians[first], medians[second]), p, corrected, test, outcome, why
            )
        )
    return results


def edge_words(edges: Mapping[str, str]) -> str:
    """Edges in words, such as "learning_rate at the high end"."""
    return ", ".join(f"{name} at the {end} end" for name, end in edges.items())


def _outcome(first: str, second: str, shown: bool, edges: Any, contains: Any) -> tuple[str, str]:
    inside = contains.get(second, {}).get(first)
    if shown and inside is not None:
        return UNDER_TUNED, f"it contains {first} at {inside}"
    near = [f"{rule} is best with {edge_words(edges[rule])}" for rule in (first, second) if edges.get(rule)]
    if near:
        return INCONCLUSIVE, "; ".join(near)
    return (BETTER if shown else NO_DIFFERENCE), ""
