"""What the inputs do to training: their means, scales, and the steps of a linear model on them, raw and standardized.

The second moment of the inputs with a bias unit is the Hessian of least squares on them, a quarter of logistic
regression's at zero, and what the first layer of any network sees. With eigenpairs (lambda_i, v_i) and targets y the
part of the best constant output's loss that lies in a direction is <v_i, X'(y - mean) / n>^2 / (2 lambda_i); how many
steps that takes follows from the local model, which is exact here.

Reference: LeCun, Kanter, Solla 1991, Phys. Rev. Lett. 66, 2396; `theory.preprocessing.condition_number_with_bias`.
"""

import dataclasses
from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem
from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.diagnosis.quadratic_model import Method, QuadraticModel
from jaxopt_lab.tracing.targets import are_one_hot

_MOST_FEATURES = 512
_MOST_EXAMPLES = 4096
_MOST_CLASSES, _ROWS = 100, 256
_SHARE = 0.01
OFFSET, SPREAD, TAIL, GAIN = 1.0, 10.0, 30.0, 4.0
QUARTILES = 1.349  # between those of a normal distribution, in deviations


class LinearModel(NamedTuple):
    """Least squares with a bias on some inputs.

    Attributes:
      condition_number: of the second moment with a bias unit.
      steps: of gradient descent at its best rate, to 1 % of what the model gains over the best constant.
      largest: largest eigenvalue of the second moment.
    """

    condition_number: float
    steps: float
    largest: float


@dataclasses.dataclass(frozen=True)
class InputStatistics:
    """The inputs of a problem.

    Attributes:
      path: which leaf of the data they are.
      num_features: numbers an example.
      num_constant: features that never vary.
      offset: root mean square over the features of mean / standard deviation.
      spread: largest standard deviation over the smallest, constant features left out.
      tail: standard deviation over that of a normal distribution with the same quartiles, median of the features whose
        quartiles differ; 1 without any.
      raw: a linear model with bias on them.
      standardized: the same after standardizing.
    """

    path: str
    num_features: int
    num_constant: int
    offset: float
    spread: float
    tail: float
    raw: LinearModel
    standardized: LinearModel

    @property
    def gain(self) -> float:
        """How many times fewer steps standardizing takes on the linear model."""
        return self.raw.steps / self.standardized.steps

    @property
    def unnormalized(self) -> bool:
        """Whether means or scales are far off and a linear model would gain by standardizing."""
        return (self.offset >= OFFSET or self.spread >= SPREAD) and self.gain >= GAIN


def find_inputs(data: Any, among: Collection[int] | None = None) -> int | None:
    """Which leaf of the data the inputs are: the floating one of two or more axes with the most numbers an example.

    One number an example is taken for an input only beside another leaf, and where none holds more. Rows with a single
    one behind other numbers are classes.

    Args:
      data: whose leaves have a leading axis of examples.
      among: leaves that may be it; None for all.
    """
    leaves = jax.tree.leaves(data)
    widths = [int(np.prod(np.shape(leaf)[1:])) for leaf in leaves]
    sizes = [
        width
        if np.ndim(leaf) >= 2 and jnp.issubdtype(leaf.dtype, jnp.floating) and (among is None or place in among)
        else 0
        for place, (leaf, width) in enumerate(zip(leaves, widths, strict=True))
    ]
    floating = [place for place, size in enumerate(sizes) if size]
    for place in floating[1:]:
        if sizes[place] > 1 and _is_one_hot(leaves[place]):
            sizes[place] = 0
    best = int(np.argmax(sizes)) if sizes else 0
    is_input = bool(sizes) and (sizes[best] >= 2 or (sizes[best] == max(widths) == 1 and len(leaves) > 1))
    return best if is_input else None


def _is_one_hot(leaf: Any) -> bool:
    """Whether its first rows hold a single one each; not looked at where other processes hold parts of it."""
    if not getattr(leaf, "is_fully_addressable", True):
        return False
    return are_one_hot(np.asarray(leaf[:_ROWS], np.float64))


def _tail(features: np.ndarray, scales: np.ndarray) -> float:
    low, high = np.percentile(features, [25, 75], axis=0)
    kept = high > low
    return float(np.median(QUARTILES * scales[kept] / (high - low)[kept])) if kept.any() else 1.0


def measure_inputs(problem: Problem, *, adaptive: bool = False, seed: int = 0) -> InputStatistics | None:
    """The statistics of a problem's inputs; None for a problem that has no floating inputs.

    Args:
      problem: its data are looked at, at most 4096 examples and 512 features of them.
      adaptive: whether the rule in use divides by each coordinate's scale, so that only means matter to it.
      seed: seeds the choice of examples and features.

    Returns:
      The statistics. Cost: no gradient; two eigenvalue problems of the features.
    """
    place = find_inputs(problem.data)
    if place is None:
        return None
    leaves = jax.tree.leaves(problem.data)
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(leaves[place].shape[0])[:_MOST_EXAMPLES])
    inputs = np.asarray(leaves[place], np.float64)[rows].reshape(len(rows), -1)
    if not np.isfinite(inputs).all():
        return None
    targets = _targets([np.asarray(leaf)[rows] for k, leaf in enumerate(leaves) if k != place])
    deviations = inputs.std(0)
    varying = deviations > 1e-9 * max(float(np.abs(inputs).max()), 1e-300)
    kept = np.flatnonzero(varying)
    if not len(kept):
        return None
    kept = np.sort(rng.permutation(kept)[:_MOST_FEATURES])
    features, means, scales = inputs[:, kept], inputs[:, kept].mean(0), deviations[kept]
    return InputStatistics(
        path=parameter_paths(problem.data)[place],
        num_features=inputs.shape[1],
        num_constant=int((~varying).sum()),
        offset=float(np.sqrt(np.mean(np.square(means / scales)))),
        spread=float(scales.max() / scales.min()),
        tail=_tail(features, scales),
        raw=_linear_model(features / scales if adaptive else features, targets),
        standardized=_linear_model((features - means) / scales, targets),
    )


def _targets(leaves: list[np.ndarray]) -> np.ndarray | None:
    """Targets [n, c]: class numbers as one-hot vectors, numbers about their mean; None where there are none."""
    for leaf in leaves:
        if np.issubdtype(leaf.dtype, np.integer) and leaf.ndim == 1 and 1 < leaf.max() + 1 <= _MOST_CLASSES:
            return np.eye(leaf.max() + 1)[leaf]
        if np.issubdtype(leaf.dtype, np.floating) and np.isfinite(leaf).all():
            return leaf.reshape(len(leaf), -1).astype(np.float64)
    return None


def _linear_model(features: np.ndarray, targets: np.ndarray | None) -> LinearModel:
    """The linear model on features [n, d]."""
    design = np.column_stack([features, np.ones(len(features))])
    values, vectors = np.linalg.eigh(design.T @ design / len(design))
    values = np.maximum(values, 0.0)
    moments = np.diag(values) if targets is None else vectors.T @ (design.T @ (targets - targets.mean(0))) / len(design)
    weights = np.square(moments).sum(1)
    floor = 1e-12 * values[-1]
    model = QuadraticModel(
        eigenvalues=values, weights=np.where(values > floor, weights, 0.0), largest=float(values[-1]),
        smallest=float(values[0]), error=0.0, rounding=floor, loss=0.0, products=0,
    )  # fmt: skip
    steps = model.steps_to(_SHARE, Method(1 / model.largest))
    return LinearModel(float(values[-1] / max(values[0], floor)), max(steps, 1.0), model.largest)
