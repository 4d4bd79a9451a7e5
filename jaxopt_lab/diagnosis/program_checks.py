"""Whether the program is what its author means: what its outputs reach, where its gradient arrives, its two modes.

Where the gradient arrives: which parameters it reaches, which weights of the program are no parameters at all, and
whether it is that of the loss. What does not fit sixteen examples is too small, or too broken, to learn: networks of
the usual size fit any labels (Zhang et al. 2017, arXiv 1611.03530).
"""

import dataclasses
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import training
from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.core.problem import as_partial, with_losses
from jaxopt_lab.diagnosis.budget import GRADIENT, LOSS, Budget, Skipped, some_examples, step_cost
from jaxopt_lab.diagnosis.data_changes import standardized, with_negated_loss, without_key
from jaxopt_lab.diagnosis.example_checks import PULLED, PULLS, Coupling, ExampleChecks, check_coupling, check_examples
from jaxopt_lab.diagnosis.gradient_noise import value_and_gradient
from jaxopt_lab.diagnosis.output_search import OutputSearch, loss_at_constant, search_outputs
from jaxopt_lab.diagnosis.validation import MetricChange, Modes, measure_metrics, measure_modes, metric_at
from jaxopt_lab.tracing.derivative_rules import (
    MOST_CHECKED,
    PassGradient,
    brings_rules,
    holding_lines,
    holds_back,
    opposed_leaves,
    rise,
)
from jaxopt_lab.tracing.jaxprs import Program, ancestors, lay_out
from jaxopt_lab.tracing.lookups import clamped_share
from jaxopt_lab.tracing.randomness import redrawn_weights

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

NUM_EXAMPLES = 16
LEAST_SHARE, SURROGATE = 0.01, 0.5
_EQUAL = 1e-5
_STEPS, _FEWEST_STEPS, _SHARE = 400, 100, 0.1
_MOST_LOOKED_UP = 2048
_RATES = (1e-3, 1e-2, 1e-1)
_NEAR_LEAST = 0.1  # of the way down


@dataclasses.dataclass(frozen=True)
class GradientFlow:
    """Where the gradient arrives.

    Attributes:
      without: paths of the leaves of two or more axes, or of a hundredth of all numbers, whose gradient is exactly zero
        for all data in both modes, before and after the short run, and on standardized inputs too where theirs are far
        off: what they saturate is no fault of the loss.
      unread: those of them that the loss does not read.
      share: numbers in them, and in all leaves without a gradient, over all.
      redrawn: `file:line` of products with a weight that is drawn anew in each call.
      symmetric: paths of the leaves of two or more axes, with a gradient, whose numbers along the first or last axis
        are all the same before and after the short run.
      opposed: paths of the leaves along whose gradient the loss falls, where the program brings a rule for derivatives.
      rise: of the loss along its gradient, over what the gradient tells; below 1 where a part of the loss is held back
        from the gradient (stop_gradient), as in the objective of a policy.
      held_at: `file:line` of what holds the gradient back from leaves without one that would have it else.
    """

    without: tuple[str, ...]
    unread: tuple[str, ...]
    share: float
    redrawn: tuple[str, ...]
    symmetric: tuple[str, ...] = ()
    opposed: tuple[str, ...] = ()
    rise: float = 1.0
    held_at: tuple[str, ...] = ()


class Memorization(NamedTuple):
    """Runs on sixteen examples, or on all of fewer.

    Attributes:
      start: the loss of them at the point.
      least: over Adam's rates, where the runs end or on their way.
      rate: of the best run.
      metrics: those of which more is better, on the sixteen, where that run ends near its least loss.
    """

    start: float
    least: float
    rate: float
    metrics: tuple[MetricChange, ...] = ()


class Penalty(NamedTuple):
    """What the loss asks of the parameters beside the outputs: at a constant output, above that of zero parameters.

    Attributes:
      start: at the point.
      end: at the end of the run.
    """

    start: float
    end: float


@dataclasses.dataclass(frozen=True)
class ProgramChecks:
    """The loss as a program.

    Attributes:
      outputs: what free outputs reach; None where no layer is seen.
      gradients: which leaves the gradient reaches, or None.
      modes: training against evaluation mode; None where they are one.
      penalty: on the parameters; None where no layer is seen, or where it is not positive.
      memorization: runs on sixteen examples, or None.
      examples: what the outputs make of the examples, or None.
      coupling: what the loss makes of an example's neighbours, or None.
      is_negated: whether the loss of free outputs falls without end, and with the other sign does not.
      metrics: those of which more is better, at both ends of the run.
      clamped: share of the whole numbers of the data that name no row of the table of parameters they are looked up in.
    """

    outputs: OutputSearch | None = None
    gradients: GradientFlow | None = None
    modes: Modes | None = None
    penalty: Penalty | None = None
    memorization: Memorization | None = None
    examples: ExampleChecks | None = None
    coupling: Coupling | None = None
    is_negated: bool = False
    metrics: tuple[MetricChange, ...] = ()
    clamped: float = 0.0

    @property
    def is_surrogate(self) -> bool:
        """Whether the loss need not fall: along its gradient it rises by less than half of what that tells."""
        return self.gradients is not None and self.gradients.rise < SURROGATE


def measure_program(evidence: "Evidence", budget: Budget) -> ProgramChecks | Skipped:
    """Where the gradient arrives and what the two modes do; what the outputs reach is known by then."""
    known, setting = evidence.program or ProgramChecks(), evidence.setting
    known = dataclasses.replace(
        known,
        penalty=_penalty(evidence, known.outputs, budget),
        examples=check_examples(evidence),
        coupling=check_coupling(setting.problem.freeze(), setting.params, setting.seed),
        is_negated=is_negated(setting.problem, setting.params, known.outputs, setting.seed),
        metrics=measure_metrics(evidence),
        clamped=_clamped(evidence, known.outputs),
    )
    budget.aside += (known.coupling is not None) * PULLS * LOSS * step_cost(setting.problem, PULLED)
    flow = measure_gradient_flow(evidence, budget)
    if isinstance(flow, Skipped):
        return flow if evidence.program is None else known
    return dataclasses.replace(known, gradients=flow, modes=measure_modes(evidence, budget))


def is_negated(problem: Problem, params: Any, search: OutputSearch | None, seed: int = 0) -> bool:
    """Whether the loss of free outputs falls without end, and that of one for all, with the other sign, does not."""
    if search is None or not (search.runs_away or search.constant_runs_away):
        return False
    other = search_outputs(with_negated_loss(problem).freeze(), params, seed)
    return other is not None and not other.constant_runs_away


def _clamped(evidence: "Evidence", search: OutputSearch | None) -> float:
    """The share of up to 2048 examples' whole numbers that are looked up beyond the end of a table."""
    problem = evidence.setting.problem.freeze()
    kinds = [leaf.dtype.kind for leaf in jax.tree.leaves(problem.data)]
    if search is None or not {"i", "u"} & {kinds[place] for place in search.place.inputs}:
        return 0.0
    batch = some_examples(problem.data, _MOST_LOOKED_UP, evidence.setting.seed)
    return clamped_share(as_partial(problem.loss), evidence.setting.params, batch)


def measure_gradient_flow(evidence: "Evidence", budget: Budget) -> GradientFlow | Skipped:
    """The leaves that no gradient reaches at the point, nor at the end of the run."""
    setting, run = evidence.setting, evidence.run
    if setting.problem.data is None:
        return Skipped("the problem has no data", applies=False)
    frozen = setting.problem.freeze()
    ended = [] if run is None or run.diverged else [(setting.problem.freeze(run.model_state), run.params)]
    points = [(frozen, setting.params), *ended]
    if not budget.allows_aside("gradient_flow", len(points) * GRADIENT):
        return budget.skipped["gradient_flow"]
    gradients = [_gradient(problem, params) for problem, params in points]
    zero = np.all([_zero_leaves(gradient) for gradient in gradients], axis=0)
    if zero.any() and setting.problem.stateful is not None:
        zero &= _zero_leaves(_gradient(_in_training(setting.problem), setting.params))
    inputs = evidence.part("data.inputs")
    if zero.any() and inputs is not None and inputs.unnormalized:
        zero &= _zero_leaves(_gradient(standardized(frozen), setting.params))
        budget.aside += GRADIENT
    leaves, paths = jax.tree.leaves(setting.params), vectors.parameter_paths(setting.params)
    loss, data = as_partial(frozen.loss), setting.problem.data
    batch = jax.tree.map(lambda leaf: leaf[: min(len(leaf), 4)], data)
    program = lay_out(lambda params, batch: loss(params, batch, None), setting.params, batch, open_derivatives=False)
    read = ancestors(program, program.outputs[0])
    sizes = np.array([leaf.size for leaf in leaves], float)
    is_large = sizes >= LEAST_SHARE * sizes.sum()
    without = [k for k, leaf in enumerate(leaves) if zero[k] and (np.ndim(leaf) > 1 or is_large[k] or zero.all())]
    moved = np.array(_any_nonzero(jax.tree.leaves(points[-1][1])), bool)
    same = ~zero & moved & np.all([_symmetric_leaves(params) for _, params in points], axis=0) & (len(points) > 1)
    brings, holds = brings_rules(program), holds_back(program, len(leaves), read)
    budget.aside += 2 * (MOST_CHECKED * brings + holds) * LOSS
    return GradientFlow(
        tuple(paths[k] for k in without),
        tuple(paths[k] for k in without if program.inputs[k] not in read),
        float(sizes[zero].sum() / max(sizes.sum(), 1)),
        redrawn_weights(program, len(leaves)),
        tuple(paths[k] for k in np.flatnonzero(same)),
        tuple(paths[k] for k in opposed_leaves(loss, setting.params, gradients[0], data)) if brings else (),
        rise(loss, setting.params, gradients[0], data) if holds else 1.0,
        _held_at(frozen, setting.params, program, without, read),
    )


def _held_at(problem: Problem, params: Any, program: Program, without: list[int], read: set[int]) -> tuple[str, ...]:
    lines = holding_lines(program, read, {program.inputs[k] for k in without})
    if not lines:
        return ()
    passed = ~_zero_leaves(_gradient(with_losses(problem, PassGradient()), params))
    return lines if passed[without].any() else ()


def _penalty(evidence: "Evidence", search: OutputSearch | None, budget: Budget) -> Penalty | None:
    setting, run = evidence.setting, evidence.run
    if search is None or search.place.is_pairwise or run is None or run.diverged:
        return None
    points = (vectors.zeros_like(setting.params), setting.params, run.params)
    zero, start, end = (loss_at_constant(setting.problem.freeze(), point, search) for point in points)
    budget.aside += len(points) * LOSS
    return Penalty(start - zero, end - zero) if start > zero and end >= zero else None


def _in_training(problem: Problem) -> Problem:
    """A stateful problem in training mode, at its first state."""
    assert problem.stateful is not None
    train, state = as_partial(problem.stateful.loss), problem.stateful.initial
    return dataclasses.replace(problem, loss=jax.tree_util.Partial(_loss_in_training, train, state))


def _loss_in_training(train: Any, state: Any, params: Any, batch: Any, key: Any) -> jax.Array:
    return train(params, state, batch, key)[0]


def _gradient(problem: Problem, params: Any) -> Any:
    return value_and_gradient(as_partial(problem.loss), params, problem.data)[1]


def _zero_leaves(gradient: Any) -> np.ndarray:
    leaves = jax.tree.leaves(gradient)
    return np.array([leaf.size > 0 for leaf in leaves]) & ~np.array(_any_nonzero(leaves), bool)


@jax.jit
def _any_nonzero(leaves: list[jax.Array]) -> list[jax.Array]:
    return [jnp.any(leaf != 0) for leaf in leaves]


def _symmetric_leaves(params: Any) -> np.ndarray:
    """Whether each leaf has rows or columns, all of them the same."""

    def is_same(leaf: np.ndarray, axis: int) -> bool:
        return leaf.shape[axis] > 1 and float(np.ptp(leaf, axis).max()) <= _EQUAL * float(np.abs(leaf).max())

    leaves = map(np.asarray, jax.tree.leaves(params))
    return np.array([leaf.ndim > 1 and leaf.size > 0 and (is_same(leaf, 0) or is_same(leaf, -1)) for leaf in leaves])


def measure_memorization(evidence: "Evidence", budget: Budget) -> Memorization | Skipped:
    """The least loss of sixteen examples, or all of fewer, by Adam at three rates; only where training goes badly."""
    setting = evidence.setting
    if (setting.problem.num_examples or 0) < 2:
        return Skipped("the problem has fewer than two examples", applies=False)
    if evidence.run is not None and not evidence.is_underperforming:
        return Skipped("the run learns its examples", applies=False)
    a_step = len(_RATES) * step_cost(setting.problem, NUM_EXAMPLES)
    steps = int(np.clip(_SHARE * budget.total / a_step, _FEWEST_STEPS, _STEPS))
    if not budget.allows_aside("memorization", steps * a_step):
        return budget.skipped["memorization"]
    params = setting.params if setting.from_init else setting.problem.init(jax.random.key(setting.seed))
    data = some_examples(setting.problem.data, NUM_EXAMPLES, setting.seed)
    quiet = without_key(setting.problem.freeze())
    problem = dataclasses.replace(quiet, data=data, validation=None, metrics={})
    trace = training.run(
        problem, optax.adam, {"learning_rate": np.array(_RATES)}, steps=steps, every=max(steps // 20, 1),
        params=params, seeds=setting.seed, execution=training.Execution(progress=False),
    )  # fmt: skip
    losses = np.where(np.isfinite(trace["loss"]), trace["loss"], np.inf)
    least = losses.min(1)
    best, start = int(least.argmin()), float(losses[0, 0])
    names = [each.name for each in evidence.program.metrics] if evidence.program else []
    ends = jax.tree.map(lambda leaf: leaf[best], trace.params)
    if not losses[best, -1] - least[best] < _NEAR_LEAST * (start - least[best]):
        names = []
    changes = (MetricChange(name, *(metric_at(quiet, name, at, data) for at in (params, ends))) for name in names)
    return Memorization(start, float(least[best]), _RATES[best], tuple(changes))
