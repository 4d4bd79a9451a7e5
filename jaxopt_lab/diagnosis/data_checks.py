"""Whether a model can learn from data and labels: the classes, what probes predict, training against validation."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxopt_lab.core import Problem
from jaxopt_lab.diagnosis.budget import Budget, Skipped
from jaxopt_lab.diagnosis.inputs import find_inputs
from jaxopt_lab.diagnosis.label_probes import FEWEST, MOST_CLASSES, Skill, measure_skill, probe_labels
from jaxopt_lab.diagnosis.output_search import OutputSearch
from jaxopt_lab.tracing.outputs import OutputPlace, classes_of

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence


@dataclasses.dataclass(frozen=True)
class Labels:
    """Class numbers.

    Attributes:
      counts: class number -> examples.
      num_outputs: outputs of the model, an example.
      rarest: share of the rarest class that occurs.
      silent: classes for none of whose examples the loss depends on the outputs.
    """

    counts: dict[int, int]
    num_outputs: int
    rarest: float
    silent: tuple[int, ...] = ()

    @property
    def outside(self) -> int:
        """How many labels name no output; of a single output, those other than 0 and 1."""
        most = max(self.num_outputs, 2)
        return sum(count for label, count in self.counts.items() if not 0 <= label < most)


@dataclasses.dataclass(frozen=True)
class Split:
    """Validation inputs against training inputs.

    Attributes:
      offset: root mean square over the features of the difference of their means, in training deviations.
      scale: median over the features of the ratio of their deviations.
      duplicates: share of the validation examples that occur in the training data.
      labels: total variation between the shares of the classes; NaN without classes.
    """

    offset: float
    scale: float
    duplicates: float
    labels: float


@dataclasses.dataclass(frozen=True)
class DataChecks:
    """What the data say on their own.

    Attributes:
      labels: the class numbers, or None.
      probe: the least chance, of the probes that were fitted, of an agreement as good between predicted and true
        targets of examples that they have not seen; None where no probe applies.
      across: the same of the validation data alone, by probes of the training data; None without them.
      split: validation against training inputs, or None.
      skill: of the model and of the best probe where training goes badly; None without validation data.
    """

    labels: Labels | None
    probe: float | None
    split: Split | None
    across: float | None = None
    skill: Skill | None = None


def measure_data(evidence: "Evidence", budget: Budget) -> DataChecks | Skipped:
    """The classes, a probe of the labels where training goes badly, and the validation data against the others."""
    problem, search = evidence.setting.problem, None if evidence.program is None else evidence.program.outputs
    if problem.data is None:
        return Skipped("the problem has no data", applies=False)
    labels = probe = across = skill = None
    if search is not None:
        labels = _labels(search, problem.data)
        validation = evidence.validation
        base = evidence.point.baseline
        poor = evidence.is_underperforming or (
            validation is not None and base is not None and validation.loss.value > 0.7 * base
        )
        if poor and (labels is None or len(labels.counts) > 1):
            probe, across = probe_labels(search.place, problem)
            skill = measure_skill(evidence, search.place)
            if probe is None:
                why = f"no probe applies: fewer than {FEWEST} examples, or inputs that are no floating numbers"
                budget.skipped["uninformative-labels"] = Skipped(why, applies=False)
    return DataChecks(labels, probe, compare_split(problem, None if search is None else search.place), across, skill)


def _labels(search: OutputSearch, data: Any) -> Labels | None:
    place, (silent, seen) = search.place, search.silent
    found = classes_of(place, data)
    if found is None:
        return None
    labels, is_integer = found
    outputs = int(place.shape[-1]) if len(place.shape) > 1 else 1
    if not is_integer and outputs > 1:
        return None  # one-hot rows, or several targets
    names, counts = np.unique(labels, return_counts=True)
    if len(names) > 1000:
        return None
    told = labels.reshape(len(labels), -1)[:, 0]
    unfelt = set(told[silent].tolist()) - set(told[np.setdiff1d(seen, silent)].tolist())
    by_class = dict(zip(names.tolist(), counts.tolist(), strict=True))
    return Labels(by_class, outputs, float(counts.min() / counts.sum()), tuple(sorted(unfelt)))


def compare_split(problem: Problem, place: OutputPlace | None) -> Split | None:
    """Validation inputs against training inputs; None without either."""
    number = find_inputs(problem.data)
    if number is None or problem.validation is None:
        return None
    train, held = (
        np.asarray(jax.tree.leaves(data)[number], np.float64).reshape(len(jax.tree.leaves(data)[number]), -1)
        for data in (problem.data, problem.validation)
    )
    if min(len(train), len(held)) < FEWEST or not (np.isfinite(train).all() and np.isfinite(held).all()):
        return None
    deviation, other = train.std(0), held.std(0)
    kept = (deviation > 1e-6 * max(np.abs(train).max(), 1e-300)) & (other > 0)
    if not kept.any():
        return None
    squares = np.square((held.mean(0) - train.mean(0))[kept] / deviation[kept]) - 1 / len(held) - 1 / len(train)
    rows = {row.tobytes() for row in train}
    distinct = len(rows) / len(train)
    duplicates = float(np.mean([row.tobytes() in rows for row in held])) if distinct > 0.9 else 0.0
    return Split(
        float(np.sqrt(max(squares.mean(), 0.0))), float(np.median(other[kept] / deviation[kept])), duplicates,
        _label_distance(place, problem),
    )  # fmt: skip


def _label_distance(place: OutputPlace | None, problem: Problem) -> float:
    pair = [] if place is None else [classes_of(place, data) for data in (problem.data, problem.validation)]
    labels = [found[0].ravel() for found in pair if found is not None]
    if len(labels) < 2:
        return float("nan")
    names = np.unique(np.concatenate(labels))
    if len(names) > MOST_CLASSES:
        return float("nan")
    shares = [np.array([np.mean(each == name) for name in names]) for each in labels]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())
