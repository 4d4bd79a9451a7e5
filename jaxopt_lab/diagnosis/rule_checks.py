"""What the rule does with the gradients: cut off, divided by an epsilon, lost in rounding, ended by a schedule.

response(c)   |update to c g| from a fresh state: c for a linear rule, constant above a clipping norm, and constant
              for an adaptive rule but where its epsilon exceeds the gradient
rate(t)       |update| to a constant gradient, step after step: the schedule
edge          the multiple of the rate at which the linearized step stops shrinking: for rules without a closed form
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Estimate, vectors
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.diagnosis.budget import PRODUCT, Budget, Skipped, step_cost
from jaxopt_lab.diagnosis.gradient_noise import GradientNoise, draw_batch, value_and_gradient
from jaxopt_lab.diagnosis.probe_runs import ScaledRule
from jaxopt_lab.diagnosis.stationary_point import StillLeaf, find_still_leaf
from jaxopt_lab.rules.answers import steps_of_ones
from jaxopt_lab.rules.identification import UNKNOWN, IdentifiedRule
from jaxopt_lab.rules.step_stability import critical_learning_rate

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

_TINY = 1e-6
_MOST_SCHEDULE = 200_000
_SAMPLES = 4
_HELD = 0.01
_PARALLEL = 0.999
_ANSWERS = 0.02  # of the elasticity of a leaf: below it an adaptive rule divides by the leaf's own gradient
ASCENT = -0.5
_MANY = 64
_EDGE_PRODUCTS, _EDGE_ACCURACY, _EDGE_TOLERANCE = 120, 0.25, 0.05


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The rate over the planned run, or over the short one where none is planned.

    Attributes:
      steps: of that run.
      rates: relative to the largest, [steps].
      ends: first step from which on the rate stays below a hundredth of its largest; `steps` where it does not.
      peak: step of the largest rate.
      is_planned: whether it is the planned run.
    """

    steps: int
    rates: np.ndarray
    ends: int
    peak: int
    is_planned: bool = True

    @property
    def idle(self) -> float:
        """Share of the steps until it ends that have no update; 1 where none has one."""
        return float(np.mean(self.rates[: self.ends] == 0)) if self.ends else 1.0


@dataclasses.dataclass(frozen=True)
class RuleChecks:
    """The rule on this problem's gradients.

    Attributes:
      is_adaptive: whether its state holds a second moment.
      elasticity: d ln |update| / d ln |gradient| at the gradients it meets; 1 for a linear rule, 0 for an adaptive one
        and for one that answers the gradient of any leaf so.
      shortened: how many times shorter the update is than that of the same rule without a limit on the gradient;
        median over the gradients it meets; 1 where there is none.
      lost: share of the entries with an update that the update leaves as they were.
      dtype: of the parameters that lose most.
      schedule: or None where the rule's answers to a constant gradient do not tell it.
      descent: cosine of the update with the negative gradient, in the median; NaN where an update is not finite.
      idle: share of the steps until the schedule ends, of the planned run or of the short one, whose update is zero.
      is_inert: whether that is all of them, and the rule counts no steps after which it would be another.
      is_finite: whether the update to each finite gradient is.
      rising: paths of the leaves whose own update points along their gradient, in the median; all of them where no
        other is seen to go against it.
      still: of the leaves that the run has not moved, while it moved others, the one with which the loss falls most.
    """

    is_adaptive: bool
    elasticity: float
    shortened: float
    lost: float
    dtype: str
    schedule: Schedule | None
    descent: float = 1.0
    idle: float = 0.0
    is_inert: bool = False
    is_finite: bool = True
    rising: tuple[str, ...] = ()
    still: StillLeaf | None = None


@dataclasses.dataclass(frozen=True)
class Update:
    """What one update is made of.

    Attributes:
      noise: of one step's gradient, at the end of the run, or None.
      rule: what the rule makes of the gradients, or None.
      decay: what weight decay changes of the step where the run ended, over that without it; None without any.
      edge: the multiple of the rate in use at which the step at the end of the run is no longer stable, or None.
    """

    noise: GradientNoise | None = None
    rule: RuleChecks | None = None
    edge: Estimate | None = None
    decay: float | None = None


def measure_rule(evidence: "Evidence", budget: Budget) -> RuleChecks | Skipped:
    """The rule's answers to gradients of batches, at the point and at the end of the run."""
    setting, run = evidence.setting, evidence.run
    points = [setting.params] if run is None or run.diverged else [setting.params, run.params]
    cost = len(points) * _SAMPLES / 2 * step_cost(setting.problem, setting.batch_size)
    if not budget.allows_aside("rule", cost):
        return budget.skipped["rule"]
    rule, found = setting.rule, []
    try:
        steps = setting.total_steps or (run.num_steps if run else 1)
        planned = read_schedule(rule, setting.params, steps, setting.optimizer)
        moving = rule if planned is None or planned.rates[0] else held_at(rule, planned.peak)  # a warm-up begins at 0
        for params in points:
            found += [_response(moving, params, gradient) for gradient in _gradients(setting, params)]
        lost, dtype = (0.0, "") if run is None or run.diverged else _lost(setting, run)
    except (TypeError, ValueError) as error:
        return Skipped(f"the rule does not depend on gradients alone ({type(error).__name__})")
    elasticities, shortened, cosines = np.transpose([each[:3] for each in found])
    alone = np.median([each[3] for each in found], 0)  # of each leaf
    rising = alone < ASCENT if (alone > -ASCENT).any() else np.full(len(alone), (alone < ASCENT).any())
    state, idle = rule.init(setting.params), 0.0 if planned is None else planned.idle
    return RuleChecks(
        is_adaptive=bool(optax.tree.get_all_with_path(state, "nu")),
        elasticity=float(np.nanmedian(elasticities)) if np.isfinite(elasticities).any() else np.nan,
        shortened=float(np.median(shortened)),
        lost=lost,
        dtype=dtype,
        schedule=planned and dataclasses.replace(planned, is_planned=setting.total_steps is not None),
        descent=float(np.median(cosines)),
        idle=idle,
        is_inert=idle == 1 and not _counts_steps(state),
        is_finite=bool(np.isfinite(cosines).all()),
        rising=tuple(np.array(vectors.parameter_paths(setting.params))[rising].tolist()),
        still=None if run is None or run.diverged else find_still_leaf(setting.problem, setting.params, run),
    )


def measure_edge(evidence: "Evidence", budget: Budget) -> Estimate | Skipped:
    """The stability edge of a rule without a closed form, where the run ended: multiples of its rate are tried."""
    setting, run = evidence.setting, evidence.run
    if run is None or run.diverged:
        return Skipped("there is no end of a run")
    if np.isfinite(setting.optimizer.edge):
        return Skipped("the edge has a closed form", applies=False)
    most = _EDGE_PRODUCTS * PRODUCT
    if not budget.allows_aside("edge", most):
        return budget.skipped["edge"]
    scaled = ScaledRule(setting.rule)
    found = budget.attempt("edge", lambda: critical_learning_rate(
        setting.problem.freeze(run.model_state), scaled, run.params, scaled.state_of(run.state), 1.0,
        accuracy=_EDGE_ACCURACY, num_modes=1, tolerance=_EDGE_TOLERANCE, max_products=_EDGE_PRODUCTS // 2,
    ))  # fmt: skip
    if found is None:
        return budget.skipped["edge"]
    budget.aside += found.cost * PRODUCT - most
    return found


def read_schedule(
    rule: optax.GradientTransformation, params: Any, steps: int, known: IdentifiedRule = UNKNOWN
) -> Schedule | None:
    """The rate of each step of a run, from the answers to a constant gradient on parameters of one entry a leaf.

    What a velocity has gathered by then, and the start of a second moment, are divided out where the rule is known.
    """
    if steps > _MOST_SCHEDULE:
        return None
    small = jax.tree.map(lambda leaf: jnp.zeros((1,) * jnp.ndim(leaf), jnp.float32), params)
    rates = np.asarray(steps_of_ones(steps, rule, small), np.float64)
    if not np.isfinite(rates).all():
        return None
    if not rates.any():
        return Schedule(steps, rates, 0, 0)
    rates = known.per_step(rates)
    rates = rates / rates.max()
    alive = np.flatnonzero(rates > _HELD)
    return Schedule(steps, rates, int(alive[-1]) + 1, int(rates.argmax()))


def held_at(rule: optax.GradientTransformation, step: int) -> optax.GradientTransformationExtraArgs:
    """The rule with its schedules' counts held at a step; other counts, such as Adam's, go on."""
    inner = optax.with_extra_args_support(rule)

    def hold(state: Any) -> Any:
        return jax.tree.map(
            lambda node: _with_count(node, step) if _is_schedule(node) else node, state, is_leaf=_is_schedule
        )

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        updates, state = inner.update(updates, state, params, **extra)
        return updates, hold(state)

    return optax.GradientTransformationExtraArgs(lambda params: hold(inner.init(params)), update)


def _with_count(node: Any, step: int) -> Any:
    """The state of a schedule at a step; of injected hyperparameters each has a count of its own."""
    counts = {"count": node.count}
    if hasattr(node, "hyperparams_states"):
        counts["hyperparams_states"] = node.hyperparams_states
    return node._replace(**jax.tree.map(lambda count: jnp.full_like(count, step), counts))


def _counts_steps(state: Any) -> bool:
    """Whether a schedule, or an accumulation of gradients, is in a rule's state."""
    counts = lambda node: _is_schedule(node) or hasattr(node, "mini_step")  # noqa: E731
    return any(map(counts, jax.tree.leaves(state, is_leaf=counts)))


def _is_schedule(node: Any) -> bool:
    return isinstance(node, optax.ScaleByScheduleState) or (hasattr(node, "hyperparams") and hasattr(node, "count"))


def _gradients(setting: Any, params: Any) -> list[Any]:
    """Gradients of batches as a run draws them."""
    problem = setting.problem.freeze()
    batches = [draw_batch(problem, setting.batch_size, (setting.seed, place)) for place in range(_SAMPLES // 2)]
    return [value_and_gradient(as_partial(problem.loss), params, batch)[1] for batch in batches]


def _response(rule: optax.GradientTransformation, params: Any, gradient: Any) -> tuple[float, float, float, np.ndarray]:
    """Elasticity at the gradient, how much longer the update would be without a limit, and its cosine with descent.

    At last that of each leaf, 0 where it has no update, and at least 0 where it has so few entries that noise of the
    rule's own may turn it.
    """
    answer = compiled(_answers, (rule,), params)
    norms, products, lengths = (np.asarray(each, np.float64) for each in answer(params, gradient))
    tiny, one, _ = np.sqrt(np.square(norms).sum(1))
    if not np.isfinite(norms).all():
        return float("nan"), 1.0, float("nan") if vectors.all_finite(gradient) else 1.0, np.zeros_like(products)
    if not one > 0:
        return float("nan"), 1.0, 1.0, np.zeros_like(products)
    moved = norms[1] > 0
    elasticity = np.log10(np.maximum(norms[2][moved], 1e-300) / norms[1][moved]).min()
    if elasticity > _ANSWERS:
        elasticity = np.log10(np.sqrt(np.square(norms[2]).sum()) / one)
    cosine = products.sum() / max(one * np.sqrt(np.square(lengths).sum()), 1e-30)
    longer = float(max(tiny / _TINY / one, 1.0)) if abs(cosine) > _PARALLEL else 1.0
    alone = products / np.maximum(norms[1] * lengths, 1e-30)
    sizes = np.array([leaf.size for leaf in jax.tree.leaves(gradient)])
    told = (sizes >= _MANY) | (np.abs(norms[1] - lengths) <= (1 - _PARALLEL) * lengths)  # or handed on
    return float(elasticity), longer, float(cosine), np.where(told, alone, np.maximum(alone, 0.0))


def _answers(rule: optax.GradientTransformation, params: Any, gradient: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Norms of the answers to a millionth of the gradient, it and ten times it, [3, leaves]; products with -g; |g|."""
    origin = jax.tree.map(jnp.zeros_like, params)
    norms, answer = [], None
    for factor in (_TINY, 1.0, 10.0):
        scaled = jax.tree.map(lambda leaf, c=factor: leaf * jnp.asarray(c, leaf.dtype), gradient)
        updates, _ = rule.update(scaled, rule.init(params), origin)
        norms.append(jnp.stack([vectors.norm(leaf) for leaf in jax.tree.leaves(updates)]))
        answer = updates if factor == 1.0 else answer
    pairs = list(zip(jax.tree.leaves(answer), jax.tree.leaves(gradient), strict=True))
    products = jnp.stack([-vectors.dot(update, slope) for update, slope in pairs])
    return jnp.stack(norms), products, jnp.stack([vectors.norm(slope) for _, slope in pairs])


def _lost(setting: Any, run: Any) -> tuple[float, str]:
    """Share of the entries with an update that are the same after it, of the leaf that loses most."""
    gradient = _gradients(setting, run.params)[0]
    updates, after = compiled(_updated, (setting.rule,), (run.state, run.params))(run.state, run.params, gradient)
    worst, dtype = 0.0, ""
    for leaves in zip(*map(jax.tree.leaves, (run.params, after, updates)), strict=True):
        old, new, update = map(np.asarray, leaves)  # a program that compares them itself need not round them
        asked = update != 0
        if asked.sum() >= 16 and asked.mean() > 0.1:
            share = float((new == old)[asked].mean())
            if share > worst:
                worst, dtype = share, str(old.dtype)
    return worst, dtype


def _updated(rule: optax.GradientTransformation, state: Any, params: Any, gradient: Any) -> tuple[Any, Any]:
    """The updates, and the parameters with them."""
    updates, _ = rule.update(gradient, state, params)
    return updates, optax.apply_updates(params, updates)
