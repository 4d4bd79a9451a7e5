"""What outputs and loss make of the examples: whether their order counts, their neighbours, whether they count at all.

Over independent examples a model gives the same for each, wherever it stands in the batch. One that gives the same for
all of them, whatever its parameters are, has lost them on the way: behind a mask, an index or an axis. A loss is
coupled where the derivative with respect to one example's outputs turns when other examples take the places beside it.
A common factor alone, as of a mean over a mask, is no coupling, unless it is the mean of the examples' own: then the
weight of each of them has gone to all.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import Problem, meshes
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import some_examples
from jaxopt_lab.diagnosis.gradient_noise import value
from jaxopt_lab.diagnosis.output_search import find_layout, find_place, outputs_of
from jaxopt_lab.tracing.jaxprs import evaluate
from jaxopt_lab.tracing.outputs import OutputPlace, loss_of_outputs
from jaxopt_lab.tracing.targets import own_targets

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

_EXAMPLES = 31  # no other axis of the outputs is likely to have as many
_MOST_PAIRED, _DEALS, _UNPAIRED = 512, 4, 0.02
_GAINS = (1e-3, 1.0, 4.0, 16.0)  # sigmoids shrink what they see four times a layer; of raw inputs they are saturated
_SAME = 1e-5  # of the outputs' size: the rounding of sums in another order
_GROUP, _GROUPS = 16, 8
PULLED, PULLS = 2 * _GROUP, 4 * _GROUP + _GROUPS - 1  # examples in a batch whose pulls are taken, and such batches
_HARMONIC = 1e-3  # of 2: how closely pulls must follow the mean of two weights


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


class Coupling(NamedTuple):
    """What the derivative with respect to an example's outputs owes to its neighbours.

    Attributes:
      turned: by how much it turns with the examples beside it, of its size.
      averaged: by how much its size, beside that among copies of itself, is set by the mean of both examples' weights,
        of two examples' together; 0 where it is not: where weights are divided by their sum, the two add to 2.
    """

    turned: float
    averaged: float = 0.0


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


def check_coupling(problem: Problem, params: Any, seed: int = 0) -> Coupling | None:
    """Looks at a few groups of examples; None for fewer than 48 of them, or where no outputs are seen."""
    loss, data, num = as_partial(problem.loss), problem.data, problem.num_examples or 0
    if num < 3 * _GROUP or find_layout(loss, params, meshes.take(data, np.arange(2 * _GROUP)))[1] is None:
        return None
    groups = min(_GROUPS, num // _GROUP)
    one, *others = np.random.default_rng((seed, 1)).permutation(num)[: groups * _GROUP].reshape(groups, -1)
    run = compiled(_slopes, (), (loss, params))

    def slopes(*rows: np.ndarray) -> np.ndarray:
        return np.asarray(run(loss, params, meshes.take(data, np.concatenate(rows))), np.float64).ravel()

    before, *after = (slopes(one, group) for group in others)
    rests = [each - before @ each / max(before @ before, 1e-300) * before for each in after]
    turned = max(np.linalg.norm(rests, axis=1) / np.maximum(np.linalg.norm(after, axis=1), 1e-300))
    copies = np.repeat(np.r_[one, others[0]][:, None], _GROUP, 1)
    return Coupling(float(turned), _averaged(slopes, copies[:_GROUP], copies[_GROUP:]))


def _averaged(slopes: Callable[..., np.ndarray], ones: np.ndarray, others: np.ndarray) -> float:
    """How much of the pull on two sorts of examples the mean of their weights sets; see `Coupling`.

    The pull on the first beside the second, over that among copies of itself, is (1 + u) / 2 with u the second's weight
    over the first's: the inverses of the two add to 2. Of weights over their sum it is the two that add to 2.
    """
    size = lambda *rows: float(np.linalg.norm(slopes(*rows)))  # noqa: E731
    found = []
    for one, other in zip(ones, others, strict=True):
        alone, beside = (size(one, one), size(other, other)), (size(one, other), size(other, one))
        if min(*alone, *beside) > 0:
            found.append((beside[0] / alone[0], beside[1] / alone[1]))
    first, second = np.array(found or [(1.0, 1.0)]).T
    is_mean = np.all(np.abs(1 / first + 1 / second - 2) < 2 * _HARMONIC)
    return float(np.max(np.abs(first + second - 2))) if is_mean else 0.0


def _slopes(loss: Any, params: Any, batch: Any) -> jax.Array:
    """The derivatives with respect to the outputs of the first group, some way off those of the model."""
    program, place = find_layout(loss, params, batch)
    assert place is not None
    outputs = evaluate(program, leaves := jax.tree.leaves((params, batch)))[place.value]
    apart = jnp.sin(jnp.arange(outputs.size, dtype=outputs.dtype)).reshape(outputs.shape)  # equal ones are pulled alike
    slopes = jax.grad(lambda z: loss_of_outputs(program, place, leaves, z))(outputs + apart)
    return slopes.reshape(2 * _GROUP, -1)[:_GROUP] if slopes.size % (2 * _GROUP) == 0 else slopes


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
