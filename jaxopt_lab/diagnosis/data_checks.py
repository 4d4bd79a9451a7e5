"""Whether a model can learn from data and labels: the classes, a probe of the labels, training against validation.

A probe is a k-nearest-neighbour, a linear or a boosted model, fitted to the training examples, or to half of them where
there are no others. Labels are told by the inputs where what one of them predicts on examples that it has not seen
agrees with the truth more often than by chance (binomial test of the hits, rank correlation of a regression).
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from jaxopt_lab.core import Problem
from jaxopt_lab.diagnosis.budget import Budget, Skipped
from jaxopt_lab.diagnosis.inputs import find_inputs
from jaxopt_lab.diagnosis.output_search import OutputSearch, classes_of, target_leaf
from jaxopt_lab.tracing.outputs import OutputPlace

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

FEWEST = 20
SURE = 1e-4
_MOST_EXAMPLES, _MOST_FEATURES = 1000, 256
_MOST_CLASSES = 50
_NEIGHBOURS = 5


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
    """

    labels: Labels | None
    probe: float | None
    split: Split | None
    across: float | None = None


def measure_data(evidence: "Evidence", budget: Budget) -> DataChecks | Skipped:
    """The classes, a probe of the labels where training goes badly, and the validation data against the others."""
    problem, search = evidence.setting.problem, None if evidence.program is None else evidence.program.outputs
    if problem.data is None:
        return Skipped("the problem has no data", applies=False)
    labels = probe = across = None
    if search is not None:
        labels = _labels(search, problem.data)
        validation = evidence.validation
        base = evidence.point.baseline
        poor = evidence.is_underperforming or (
            validation is not None and base is not None and validation.loss.value > 0.7 * base
        )
        if poor and (labels is None or len(labels.counts) > 1):
            probe, across = probe_labels(search.place, problem)
            if probe is None:
                why = f"no probe applies: fewer than {FEWEST} examples, or inputs that are no floating numbers"
                budget.skipped["uninformative-labels"] = Skipped(why, applies=False)
    return DataChecks(labels, probe, compare_split(problem, None if search is None else search.place), across)


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


def probe_labels(place: OutputPlace, problem: Problem, seed: int = 0) -> tuple[float | None, float | None]:
    """The chances of what probes find: in all that they have not seen, in the validation data alone; None for none."""
    inputs, targets, is_class = _pairs(place, problem.data)
    if inputs is None or targets is None:
        return None, None
    rows = np.random.default_rng(seed).permutation(len(inputs))[: 2 * _MOST_EXAMPLES]
    inputs, targets = inputs[rows], targets[rows]
    half = len(inputs) // 2
    found = [_probe((inputs[:half], targets[:half]), (inputs[half:], targets[half:]), is_class, seed)]
    across = None
    if problem.validation is not None:
        held, truth, _ = _pairs(place, problem.validation)
        if held is not None and truth is not None:
            across = _probe((inputs, targets), (held[:_MOST_EXAMPLES], truth[:_MOST_EXAMPLES]), is_class, seed)
    known = [each for each in (*found, across) if each is not None]
    return min(known, default=None), across


def _probe(train: Any, held: Any, is_class: bool, seed: int) -> float | None:
    if min(len(train[0]), len(held[0])) < FEWEST:
        return None
    mean, deviation = train[0].mean(0), train[0].std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    inputs, others = (((each - mean) / deviation)[:, :_MOST_FEATURES] for each in (train[0], held[0]))
    chances = []
    for model in _probes(is_class, seed):
        model.fit(inputs, train[1])
        chances.append(_chance(model.predict(others), held[1], is_class))
        if chances[-1] < SURE:
            break
    return float(min(chances))


def _probes(is_class: bool, seed: int) -> list[Any]:
    from sklearn import ensemble, linear_model, neighbors

    if is_class:
        return [
            neighbors.KNeighborsClassifier(_NEIGHBOURS),
            linear_model.LogisticRegression(max_iter=200),
            ensemble.HistGradientBoostingClassifier(max_iter=30, random_state=seed),
        ]
    return [
        neighbors.KNeighborsRegressor(_NEIGHBOURS),
        linear_model.Ridge(),
        ensemble.HistGradientBoostingRegressor(max_iter=30, random_state=seed),
    ]


def _chance(predicted: np.ndarray, truth: np.ndarray, is_class: bool) -> float:
    if len(np.unique(predicted)) < 2 or len(np.unique(truth)) < 2:
        return 1.0
    if not is_class:
        return float(stats.spearmanr(predicted, truth, alternative="greater").pvalue)
    hits = predicted == truth
    names = np.union1d(predicted, truth)
    expected = sum(np.mean(predicted == name) * np.mean(truth == name) for name in names)
    return float(stats.binomtest(int(hits.sum()), len(hits), min(expected, 1.0), alternative="greater").pvalue)


def _pairs(place: OutputPlace, data: Any) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Inputs [n, d], one target an example, and whether it is a class."""
    leaves, number = jax.tree.leaves(data), find_inputs(data)
    if number is None or number not in place.inputs or number in place.targets:
        return _token_pairs(place, data)
    inputs = np.asarray(leaves[number], np.float64).reshape(len(leaves[number]), -1)
    found = classes_of(place, data)
    if found is not None and found[0].ndim > 1 and found[0].shape[-1] > 1:  # one-hot rows
        return inputs, found[0].reshape(len(inputs), -1).argmax(1), True
    if found is not None:
        targets = found[0].reshape(len(inputs), -1)[:, 0]
        return inputs, targets, len(np.unique(targets)) <= _MOST_CLASSES
    place_of = target_leaf(place, data)
    if place_of is None:
        return None, None, False
    targets = np.asarray(leaves[place_of], np.float64).reshape(len(inputs), -1)
    return inputs, targets[:, 0], False


def _token_pairs(place: OutputPlace, data: Any) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """The same where the inputs are whole numbers [n, length] and there is one class an example: which occur, where."""
    leaves, found = jax.tree.leaves(data), classes_of(place, data)
    numbers = [k for k in place.inputs if k not in place.targets and jnp.issubdtype(leaves[k].dtype, jnp.integer)]
    if len(numbers) != 1 or found is None or found[0].size != len(leaves[numbers[0]]):
        return None, None, False
    tokens, classes = np.asarray(leaves[numbers[0]]).reshape(found[0].size, -1), found[0].ravel()
    if len(np.unique(classes)) > _MOST_CLASSES:
        return None, None, False
    known, counts = np.unique(tokens, return_counts=True)
    occurs = [(tokens == token).sum(1) for token in known[np.argsort(-counts)][: _MOST_FEATURES // 2]]
    return np.stack([*occurs, *tokens.T], 1).astype(np.float64), classes, True


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
    if len(names) > _MOST_CLASSES:
        return float("nan")
    shares = [np.array([np.mean(each == name) for name in names]) for each in labels]
    return float(0.5 * np.abs(shares[0] - shares[1]).sum())
