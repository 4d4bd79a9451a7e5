"""What simple models predict of the targets: whether the inputs tell them at all, and how much the model leaves.

A probe is a k-nearest-neighbour, a linear or a boosted model, fitted to the training examples, or to half of them where
there are no others. Labels are told by the inputs where what one of them predicts on examples that it has not seen
agrees with the truth more often than by chance (binomial test of the hits, rank-sum test of two classes, rank
correlation of a regression). Among the training examples that is a test of their labels; a model of labels in no order
may still agree with validation labels, where the inputs form clusters that it names by chance: that counts only where
it is next to impossible.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import threadpoolctl
from scipy import stats

from jaxopt_lab.core import Problem, meshes
from jaxopt_lab.diagnosis.inputs import find_inputs
from jaxopt_lab.diagnosis.output_search import outputs_of
from jaxopt_lab.tracing.outputs import OutputPlace
from jaxopt_lab.tracing.targets import are_one_hot, class_leaf, classes_of, several_labels, target_leaf

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

FEWEST = 20
SURE, NO_CHANCE = 1e-4, 1e-6
MOST_CLASSES = 50
_MOST_EXAMPLES, _MOST_FEATURES = 1000, 256
_NEIGHBOURS = 5
_OUTDONE, _LEAST_GAP, _ERRORS = 2.0, 0.1, 3.0


class Skill(NamedTuple):
    """What is predicted of validation data, or of half of the data; 0 by chance, 1 at best.

    Of classes the accuracy, of examples or the mean over classes; of a number the squared correlation, of numbers or of
    their ranks: the one in which the probe is less ahead.

    Attributes:
      model: by the model at the end of the run.
      probe: by the best probe, fitted to up to 1000 of the training examples.
      error: standard error of the difference, at most.
      is_class: whether classes are predicted.
    """

    model: float
    probe: float
    error: float
    is_class: bool = True

    @property
    def is_outdone(self) -> bool:
        """Whether the probe leaves less than half of the model's errors: a tenth of what there is to tell, no chance.

        Of a number, whose errors are known more closely, a quarter of them and a twentieth do too.
        """
        gap, left = self.probe - self.model, 1 - self.model
        if not gap > _ERRORS * self.error:
            return False
        half = left > _OUTDONE * (1 - self.probe) and gap > _LEAST_GAP
        return half or (not self.is_class and left > 2 * _OUTDONE * (1 - self.probe) and gap > _LEAST_GAP / 2)


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
        held, truth, _ = _pairs(place, problem.validation, problem.data)
        if held is not None and truth is not None:
            across = _probe((inputs, targets), (held[:_MOST_EXAMPLES], truth[:_MOST_EXAMPLES]), is_class, seed)
    known = [each for each in (*found, across) if each is not None]
    if found[0] is not None and across is not None and across > NO_CHANCE:
        return found[0], across
    return min(known, default=None), across


def _probe(train: Any, held: Any, is_class: bool, seed: int) -> float | None:
    if min(len(train[0]), len(held[0])) < FEWEST:
        return None
    if is_class and len(np.unique(train[1])) < 2:
        return 1.0
    inputs, others = _standardized(train[0], held[0])
    chances = []
    for model in _probes(is_class, seed):
        with threadpoolctl.threadpool_limits(1):
            model.fit(inputs, train[1])
            chances.append(_chance(model, others, held[1], is_class))
        if chances[-1] < SURE:
            break
    return float(min(chances))


def measure_skill(evidence: "Evidence", place: OutputPlace) -> Skill | None:
    """The model at the end of the run beside the probes; None where they cannot be compared.

    On validation data, or without them on half of the examples: the model has learned these, the probes have not.
    """
    problem, run = evidence.setting.problem, evidence.run
    if run is None or run.diverged or place.is_pairwise:  # what compares examples predicts no targets
        return None
    known, unknown = problem.data, problem.validation
    if unknown is None:
        known, unknown = _halves(problem, evidence.setting.seed)
    (inputs, targets, is_class), (held, truth, _) = _pairs(place, known), _pairs(place, unknown, known)
    outputs = outputs_of(problem.freeze(run.model_state), run.params, unknown)
    if inputs is None or targets is None or held is None or truth is None or outputs is None:
        return None
    if not is_class and math.prod(place.shape[1:]) > 1 and (inputs == targets[:, None]).all(0).any():
        return None  # an autoencoder's: to copy one number is no measure of what is kept of all
    rows = np.random.default_rng(evidence.setting.seed).permutation(len(inputs))[:_MOST_EXAMPLES]
    if min(len(inputs), len(held)) < FEWEST or len(outputs) != len(held):
        return None
    if several_labels(place, problem.data) is not None or min(map(len, map(np.unique, (truth, targets[rows])))) < 2:
        return None
    score = _accuracies if is_class else _correlations
    probes, (seen, unseen) = _probes(is_class, evidence.setting.seed), _standardized(inputs[rows], held)
    with threadpoolctl.threadpool_limits(1):  # threads that wait for each other cost more than these models
        best = np.max([score(each.fit(seen, targets[rows]).predict(unseen), truth) for each in probes], 0)
    columns = outputs.reshape(len(held), -1)
    if is_class and columns.shape[1] > 1:
        own = score(columns.argmax(1), truth)
    elif numbers_for_classes(place, problem.data):  # their order tells, whatever units the output has
        own = score(np.sort(truth)[np.argsort(np.argsort(columns[:, 0]))], truth)
    elif is_class:
        upper = truth == truth.max()  # of 0 and 1, or of -1 and 1
        own = np.max([score(columns[:, 0] > threshold, upper) for threshold in (0.0, 0.5)], 0)
    else:
        own = np.max([score(column, truth) for column in columns.T[:_MOST_FEATURES]], 0)
    own, best = min(zip(own.tolist(), best.tolist(), strict=True), key=lambda pair: pair[1] - pair[0])
    spread = 1.0 if is_class else min(2 * np.sqrt(own) * (1 - own), 1.0)  # of a squared correlation
    return Skill(own, best, float(spread / np.sqrt(len(held))), is_class)


def names_none(evidence: "Evidence", leaf: int, label: int) -> bool:
    """Whether the model at the end of the run names none of the examples of a class of the data's `leaf`."""
    problem, run = evidence.setting.problem, evidence.run
    if run is None or run.diverged:
        return False
    rows = np.flatnonzero(np.asarray(jax.tree.leaves(problem.data)[leaf]) == label)[:_MOST_EXAMPLES]
    outputs = outputs_of(problem.freeze(run.model_state), run.params, meshes.take(problem.data, rows))
    if outputs is None or len(outputs) != len(rows):
        return False
    columns = outputs.reshape(len(rows), -1)
    if columns.shape[1] > 1:
        return not (columns.argmax(1) == label).any()
    return not any(((columns > threshold) == (label > 0)).any() for threshold in (0.0, 0.5))


def numbers_for_classes(place: OutputPlace, data: Any) -> bool:
    """Whether an example has one output and one of several classes, three or more."""
    found = classes_of(place, data)
    several = found is not None and 2 < len(np.unique(found[0])) <= MOST_CLASSES
    return several and math.prod(place.shape) == place.shape[0] and found[0].size == len(found[0])


def _halves(problem: Problem, seed: int) -> tuple[Any, Any]:
    """The data in two halves drawn at random, each of at most 1000 examples."""
    rows = np.random.default_rng(seed).permutation(problem.num_examples or 0)
    half = min(len(rows) // 2, _MOST_EXAMPLES)
    return meshes.take(problem.data, rows[:half]), meshes.take(problem.data, rows[half : 2 * half])


def _standardized(train: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both by the numbers of the first, at most 256 features."""
    mean, deviation = train.mean(0), train.std(0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    return ((train - mean) / deviation)[:, :_MOST_FEATURES], ((held - mean) / deviation)[:, :_MOST_FEATURES]


def _accuracies(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Of the examples over that of the most frequent class, and the mean over the classes: 0 by chance, 1 at best.

    A loss with weights for the classes gains in the second what it gives up in the first.
    """
    hits, (classes, counts) = predicted == truth, np.unique(truth, return_counts=True)
    chances = np.array([counts.max() / len(truth), 1 / len(classes)])
    return (np.array([hits.mean(), np.mean([hits[truth == name].mean() for name in classes])]) - chances) / np.maximum(
        1 - chances, 1e-6
    )


def _correlations(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Squared, of the numbers and of their ranks: outputs may be logarithms of what they predict."""
    if not (np.isfinite(predicted).all() and np.ptp(predicted) > 0):
        return np.zeros(2)
    return np.array([np.corrcoef(predicted, truth)[0, 1], stats.spearmanr(predicted, truth).statistic]) ** 2


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


def _chance(model: Any, inputs: np.ndarray, truth: np.ndarray, is_class: bool) -> float:
    if is_class and len(model.classes_) == 2:
        lower, upper = (model.predict_proba(inputs)[truth == name, 1] for name in model.classes_)
        if not (len(lower) and len(upper)):
            return 1.0
        return float(stats.mannwhitneyu(upper, lower, alternative="greater").pvalue)
    predicted = model.predict(inputs)
    if len(np.unique(predicted)) < 2 or len(np.unique(truth)) < 2:
        return 1.0
    if not is_class:
        return float(stats.spearmanr(predicted, truth, alternative="greater").pvalue)
    hits = predicted == truth
    names = np.union1d(predicted, truth)
    expected = sum(np.mean(predicted == name) * np.mean(truth == name) for name in names)
    return float(stats.binomtest(int(hits.sum()), len(hits), min(expected, 1.0), alternative="greater").pvalue)


def _pairs(place: OutputPlace, data: Any, training: Any = None) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """Inputs [n, d], one target an example, and whether it is a class; of several labels what training data choose."""
    leaves, number = jax.tree.leaves(data), find_inputs(data, set(place.inputs) - set(place.targets))
    if number is None:
        return _token_pairs(place, data, data if training is None else training)
    inputs = np.asarray(leaves[number], np.float64).reshape(len(leaves[number]), -1)
    found = classes_of(place, data)
    several = several_labels(place, data if training is None else training)
    if several is not None and found is not None:  # the one that most nearly half of the examples have
        column = np.abs(several.reshape(len(several), -1).mean(0) - 0.5).argmin()
        return inputs, found[0].reshape(len(inputs), -1)[:, column], True
    place_of = class_leaf(place, data) if found is not None else target_leaf(place, data)
    if place_of is None:
        return None, None, False
    targets, chosen_by = (
        np.asarray(jax.tree.leaves(each)[place_of], np.float64).reshape(-1, math.prod(leaves[place_of].shape[1:]))
        for each in (data, data if training is None else training)
    )
    if found is not None and targets.shape[1] > 1 and are_one_hot(targets):
        return inputs, targets.argmax(1), True
    column = targets[:, chosen_by.std(0).argmax()]  # the edge of an image is the same in all
    return inputs, column, found is not None and len(np.unique(column)) <= MOST_CLASSES


def _token_pairs(place: OutputPlace, data: Any, training: Any) -> tuple[np.ndarray | None, np.ndarray | None, bool]:
    """The same where the inputs are whole numbers [n, length] and there is one class an example: which occur, where.

    Counted are the most frequent ones of the training data, in the same order in all data.
    """
    leaves, found = jax.tree.leaves(data), classes_of(place, data)
    numbers = [k for k in place.inputs if k not in place.targets and jnp.issubdtype(leaves[k].dtype, jnp.integer)]
    if len(numbers) != 1 or found is None or found[0].size != len(leaves[numbers[0]]):
        return None, None, False
    tokens, classes = np.asarray(leaves[numbers[0]]).reshape(found[0].size, -1), found[0].ravel()
    if len(np.unique(classes)) > MOST_CLASSES:
        return None, None, False
    known, counts = np.unique(np.asarray(jax.tree.leaves(training)[numbers[0]]), return_counts=True)
    occurs = [(tokens == token).sum(1) for token in known[np.argsort(-counts)][: _MOST_FEATURES // 2]]
    return np.stack([*occurs, *tokens.T], 1).astype(np.float64), classes, True
