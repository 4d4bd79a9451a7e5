"""What a model's outputs make of the examples: whether they depend on their order, whether they look at them at all.

Over independent examples a model gives the same for each, wherever it stands in the batch. One that gives the same for
all of them, whatever its parameters are, has lost them on the way: behind a mask, an index or an axis.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from jaxopt_lab.core import Problem, meshes
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import some_examples
from jaxopt_lab.diagnosis.gradient_noise import value
from jaxopt_lab.diagnosis.output_search import find_place, outputs_of
from jaxopt_lab.tracing.outputs import OutputPlace
from jaxopt_lab.tracing.targets import own_targets

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

_EXAMPLES = 31  # no other axis of the outputs is likely to have as many
_MOST_PAIRED, _DEALS, _UNPAIRED = 512, 4, 0.02
_GAINS = (1e-3, 1.0, 4.0, 16.0)  # sigmoids shrink what they see four times a layer; of raw inputs they are saturated
_SAME = 1e-5  # of the outputs' size: the rounding of sums in another order


class ExampleChecks(NamedTuple):
    """Outputs for the same examples.

    Attributes:
      reordered: by how much they change, of their size, when the batch stands in another order, or when every other
        example is exchanged and these stay in their places, whichever is less: fixed noise depends on the place alone,
        a normalization over the batch on the neighbours alone. NaN where that is not seen, or where each step takes
        all data: of one graph or one series the order may be meant.
      ignored: whether they are the same for examples that differ, at parameters drawn anew too.
      paired: how much lower the loss is for examples with their own targets than with each other's, over its scale; at
        the end of the run, on validation data where there are some. NaN where no targets are told from inputs, or
        where the loss compares examples.
      beside: by how much they change when the other examples are exchanged, whatever the order does; NaN likewise.
    """

    reordered: float
    ignored: bool
    paired: float = float("nan")
    beside: float = float("nan")

    @property
    def is_unpaired(self) -> bool:
        """Whether the examples' own targets cost the model as much as each other's do."""
        return self.paired < _UNPAIRED


def check_examples(evidence: "Evidence") -> ExampleChecks | None:
    """Looks at the outputs for a few examples at the end of the run; None for too few, or where none are seen."""
    setting, run = evidence.setting, evidence.run
    problem, params = setting.problem.freeze(), setting.params
    if (problem.num_examples or 0) < _EXAMPLES:
        return None
    if run is not None and not run.diverged:
        problem, params = setting.problem.freeze(run.model_state), run.params
    generator = np.random.default_rng((setting.seed, 3))
    drawn, order = generator.permutation(problem.num_examples or 0), generator.permutation(_EXAMPLES)
    rows = drawn[:_EXAMPLES]
    batch = meshes.take(problem.data, rows)
    outputs = outputs_of(problem, params, batch)
    axes = [] if outputs is None else [axis for axis, size in enumerate(outputs.shape) if size == _EXAMPLES]
    if outputs is None or len(axes) != 1:
        return None
    reordered = by_others = float("nan")
    if setting.batch_size is not None:
        moved = outputs_of(problem, params, meshes.take(problem.data, rows[order]))
        others = np.where(np.arange(_EXAMPLES) % 2, drawn[-_EXAMPLES:], rows)
        beside = outputs_of(problem, params, meshes.take(problem.data, others))
        if moved is not None and beside is not None:
            by_order = _distance(moved, np.take(outputs, order, axes[0]))
            kept = np.arange(0, _EXAMPLES, 2)
            by_others = _distance(np.take(beside, kept, axes[0]), np.take(outputs, kept, axes[0]))
            reordered = min(by_order, by_others)
    place = find_place(problem, params)
    ignored = _ignored(problem, params, place, batch, outputs, axes[0], setting.seed)
    paired = _paired(problem, params, place, setting.seed) / evidence.scale
    return ExampleChecks(reordered, ignored, paired, by_others)


def _paired(problem: Problem, params: Any, place: OutputPlace | None, seed: int) -> float:
    """By how much the loss rises when the targets are dealt out anew."""
    whole = problem.data if problem.validation is None else problem.validation
    data = some_examples(whole, _MOST_PAIRED, seed)
    targets = set() if place is None or place.is_pairwise else own_targets(place, data)
    if not targets:
        return float("nan")
    leaves, structure = jax.tree.flatten(data)
    generator, loss, others = np.random.default_rng((seed, 4)), as_partial(problem.loss), []
    for _ in range(_DEALS):
        order = generator.permutation(len(leaves[0]))
        batch = structure.unflatten([each[order] if k in targets else each for k, each in enumerate(leaves)])
        others.append(float(value(loss, params, batch)))
    return float(np.mean(others)) - float(value(loss, params, data))


def _ignored(
    problem: Problem, params: Any, place: OutputPlace | None, batch: Any, outputs: np.ndarray, axis: int, seed: int
) -> bool:
    inputs = [] if place is None else [np.asarray(jax.tree.leaves(batch)[number]) for number in place.inputs]
    if not any((leaf != leaf[:1]).any() for leaf in inputs) or not _are_alike(outputs, axis):
        return False
    drawn = (_drawn_anew(params, gain, jax.random.key(seed)) for gain in _GAINS)
    others = (outputs_of(problem, each, batch) for each in drawn)
    return all(other is not None and np.isfinite(other).all() and _are_alike(other, axis) for other in others)


def _are_alike(outputs: np.ndarray, axis: int) -> bool:
    return _distance(outputs, np.take(outputs, [0], axis)) < _SAME


def _distance(outputs: np.ndarray, others: np.ndarray) -> float:
    """The norm of the difference over that of the others."""
    whole = np.asarray(outputs, np.float64)
    size = np.linalg.norm(np.broadcast_to(np.asarray(others, np.float64), whole.shape))
    return float(np.linalg.norm(whole - others) / max(size, 1e-30))


def _drawn_anew(params: Any, gain: float, key: jax.Array) -> Any:
    """Parameters of the same shapes: normal, with the deviation gain / sqrt(inputs), that of vectors gain or 1 / gain.

    Biases as large as that hide what the inputs do, where a normalization follows them.
    """
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))

    def draw(key: jax.Array, leaf: jax.Array) -> jax.Array:
        deviation = gain / np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else min(gain, 1 / gain)
        return (deviation * jax.random.normal(key, leaf.shape)).astype(leaf.dtype)

    return jax.tree.unflatten(structure, [draw(each, leaf) for each, leaf in zip(keys, leaves, strict=True)])
