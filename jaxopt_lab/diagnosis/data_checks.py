"""Whether a model can learn from data and labels: the classes, what probes predict, training against validation."""

import dataclasses
import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.batches import Batches
from jaxopt_lab.core.leaves import describe_tree
from jaxopt_lab.diagnosis.budget import Budget, Skipped
from jaxopt_lab.diagnosis.inputs import InputStatistics, find_inputs
from jaxopt_lab.diagnosis.label_probes import (
    FEWEST,
    MOST_CLASSES,
    Skill,
    measure_skill,
    names_none,
    numbers_for_classes,
    probe_labels,
)
from jaxopt_lab.diagnosis.output_search import find_place
from jaxopt_lab.tracing.outputs import OutputPlace
from jaxopt_lab.tracing.targets import class_leaf, classes_of

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

FEW, UNEVEN = 20, 0.1
_MOST_BATCHES = 64


@dataclasses.dataclass(frozen=True)
class Labels:
    """Class numbers.

    Attributes:
      counts: class number -> examples.
      num_outputs: outputs of the model, an example.
      rarest: share of the rarest class that occurs.
      silent: classes for none of whose examples the loss depends on the outputs.
      leaf: of the data, that holds them.
      is_unnamed: whether the model at the end of the run names none of the rarest class, one of few that has far less
        than its share.
    """

    counts: dict[int, int]
    num_outputs: int
    rarest: float
    silent: tuple[int, ...] = ()
    leaf: int | None = None
    is_unnamed: bool = False

    @property
    def rare(self) -> int:
        """The class with the fewest examples."""
        return min(self.counts, key=self.counts.__getitem__)

    @property
    def is_uneven(self) -> bool:
        """Whether there are few classes and the rarest has less than a tenth of an even share."""
        return 1 < len(self.counts) <= FEW and self.rarest < UNEVEN / len(self.counts)

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
      distinct: share of the training examples that are no copies of another, over that of the validation examples.
    """

    offset: float
    scale: float
    duplicates: float
    labels: float
    distinct: float = 1.0


class BatchChecks(NamedTuple):
    """Batches as the loop feeds them, beside the data.

    Attributes:
      count: batches that were looked at.
      grouping: Cramer's V of the classes over the batches, 0 where they are spread as by chance and 1 where each batch
        holds one class; NaN without classes.
      chance: of a spread as uneven as that, if the examples were shuffled; 1 without classes.
      offset: of the inputs' means from those of the data, as of a split.
      scale: of the inputs' deviations over those of the data.
      repeats: share of the examples that came before, within one pass of the data, above that of drawing with
        replacement.
    """

    count: int
    grouping: float
    chance: float
    offset: float
    scale: float
    repeats: float


@dataclasses.dataclass(frozen=True)
class DataChecks:
    """What the data say on their own.

    Attributes:
      labels: the class numbers, or None.
      probe: the least chance, of the probes that were fitted, of an agreement as good between predicted and true
        targets of examples that they have not seen; None where no probe applies.
      across: the same of the validation data alone, by probes of the training data; None without them.
      split: validation against training inputs, or None.
      skill: of the model and of the best probe where training goes badly, or None.
      batches: as the loop feeds them, or None where they are not given.
      inputs: their statistics, or None.
    """

    labels: Labels | None = None
    probe: float | None = None
    split: Split | None = None
    across: float | None = None
    skill: Skill | None = None
    batches: BatchChecks | None = None
    inputs: InputStatistics | None = None


def measure_data(evidence: "Evidence", budget: Budget) -> DataChecks | Skipped:
    """The classes, a probe of the labels where training goes badly, and the validation data against the others."""
    problem, search = evidence.setting.problem, None if evidence.program is None else evidence.program.outputs
    if problem.data is None:
        return Skipped("the problem has no data", applies=False)
    labels = probe = across = skill = None
    if search is not None:
        labels = _labels(search.place, problem.data, *search.silent)
        if labels is not None and labels.leaf is not None and labels.is_uneven:
            labels = dataclasses.replace(labels, is_unnamed=names_none(evidence, labels.leaf, labels.rare))
        validation = evidence.validation
        base = evidence.point.baseline
        poor = (
            evidence.is_underperforming
            or (evidence.is_whole and not evidence.is_converged)
            or (validation is not None and base is not None and validation.loss.value > 0.7 * base)
            or numbers_for_classes(search.place, problem.data)
        )
        if poor and (labels is None or len(labels.counts) > 1):
            probe, across = probe_labels(search.place, problem)
            skill = measure_skill(evidence, search.place)
            if probe is None:
                why = f"no probe applies: fewer than {FEWEST} examples, or inputs that are no floating numbers"
                budget.skipped["uninformative-labels"] = Skipped(why, applies=False)
    place = None if search is None else search.place
    split, batches = compare_split(problem, place), evidence.setting.batches
    fed = None if batches is None else compare_batches(problem, place, batches)
    return DataChecks(labels, probe, split, across, skill, fed, evidence.part("data.inputs"))


def check_labels(problem: Problem, params: Any) -> DataChecks | None:
    """The classes alone, where the loss is not finite at the point; None for no data, or none that are classes."""
    place = None if problem.data is None else find_place(problem, params)
    labels = None if place is None else _labels(place, problem.data, np.empty(0, int), np.empty(0, int))
    return None if labels is None else DataChecks(labels)


def _labels(place: OutputPlace, data: Any, silent: Any, seen: Any) -> Labels | None:
    """The classes; `silent` are those of the rows `seen` whose outputs the loss does not feel."""
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
    return Labels(by_class, outputs, float(counts.min() / counts.sum()), tuple(sorted(unfelt)), class_leaf(place, data))


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
    apart = _apart(train, held)
    if apart is None:
        return None
    rows, others = {row.tobytes() for row in train}, {row.tobytes() for row in held}
    distinct = len(rows) / len(train)
    duplicates = float(np.mean([row.tobytes() in rows for row in held])) if distinct > 0.9 else 0.0
    return Split(*apart, duplicates, _label_distance(place, problem), distinct * len(held) / len(others))


def _apart(train: np.ndarray, held: np.ndarray) -> tuple[float, float] | None:
    """The difference of the means in training deviations, above that of a draw, and the ratio of the deviations."""
    deviation, other = train.std(0), held.std(0)
    kept = (deviation > 1e-6 * max(np.abs(train).max(), 1e-300)) & (other > 0)
    if not kept.any():
        return None
    squares = np.square((held.mean(0) - train.mean(0))[kept] / deviation[kept]) - 1 / len(held) - 1 / len(train)
    return float(np.sqrt(max(squares.mean(), 0.0))), float(np.median(other[kept] / deviation[kept]))


def read_batches(problem: Problem, batches: Iterable[Any]) -> list[Any]:
    """The first batches, at most 64 and at most one pass of the data.

    Raises:
      InputError: the problem has no data, there are fewer than two batches, or one has not the structure of the data.
    """
    if problem.data is None:
        raise fail("diagnose", f"batches are given, and {problem.name} has no data to hold them against")
    like, structure = jax.tree.leaves(problem.data), jax.tree.structure(problem.data)
    found, seen = [], 0
    for batch in batches:
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(batch)]
        shapes = [each.shape[1:] for each in leaves]
        if jax.tree.structure(batch) != structure or shapes != [jnp.shape(each)[1:] for each in like]:
            told = f"batch {len(found)} holds {describe_tree(batch)}, the data {describe_tree(problem.data)}"
            raise fail("diagnose", told, "Give batches of the data's structure, examples first.")
        found.append(jax.tree.unflatten(structure, leaves))
        seen += len(leaves[0])
        if len(found) == _MOST_BATCHES or seen >= (problem.num_examples or 0):
            break
    if len(found) < 2:
        raise fail("diagnose", f"batches end after {len(found)}", "Give an iterable of at least two batches.")
    return found


def first_batches(problem: Problem, loader: Batches | None) -> list[Any] | None:
    """The first batches of data that come in batches, as a run is fed with them; None of others and of a single one."""
    if loader is None:
        return None
    batches = loader()
    begun = list(itertools.islice(batches, 2))
    return read_batches(problem, itertools.chain(begun, batches)) if len(begun) == 2 else None


def compare_batches(problem: Problem, place: OutputPlace | None, batches: list[Any]) -> BatchChecks:
    """Batches as the loop feeds them against the data that they are drawn from."""
    grouping, chance = float("nan"), 1.0
    classes = [None if place is None else classes_of(place, batch) for batch in batches]
    if all(each is not None for each in classes):
        names, where = np.unique(np.concatenate([each[0].ravel() for each in classes if each]), return_inverse=True)
        owner = np.repeat(np.arange(len(batches)), [each[0].size for each in classes if each])
        if 1 < len(names) <= MOST_CLASSES:
            table = np.zeros((len(batches), len(names)))
            np.add.at(table, (owner, where.ravel()), 1)
            square, chance, free, _ = stats.chi2_contingency(table, correction=False)
            above = max(square - free, 0.0) / table.sum() / (min(table.shape) - 1)
            grouping, chance = float(np.sqrt(above)), float(chance)
    number, apart, repeats = find_inputs(problem.data), None, 0.0
    if number is not None:
        whole, fed = (
            np.asarray(jax.tree.leaves(each)[number], np.float64).reshape(len(jax.tree.leaves(each)[number]), -1)
            for each in (problem.data, jax.tree.map(lambda *leaves: np.concatenate(leaves), *batches))
        )
        apart = _apart(whole, fed) if np.isfinite(fed).all() and np.isfinite(whole).all() else None
        by_chance = len(fed) / len(whole) / 2  # of k examples drawn with replacement from n, k / 2n come again
        repeats = _repeats(fed) - _repeats(whole) - by_chance
    return BatchChecks(len(batches), grouping, chance, *(apart or (0.0, 1.0)), max(repeats, 0.0))


def _repeats(rows: np.ndarray) -> float:
    return 1 - len({row.tobytes() for row in rows}) / len(rows)


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
