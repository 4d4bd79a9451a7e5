"""What was measured, in parts; a part that was not measured is None, and the budget says why."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Problem
from jaxopt_lab.diagnosis.data_checks import DataChecks
from jaxopt_lab.diagnosis.probe_runs import OtherRates, ProbeRun
from jaxopt_lab.diagnosis.program_checks import Penalty, ProgramChecks
from jaxopt_lab.diagnosis.quadratic_model import Curvature, Method, QuadraticModel
from jaxopt_lab.diagnosis.rule_checks import Update
from jaxopt_lab.diagnosis.stationary_point import LineScan, PointState
from jaxopt_lab.diagnosis.validation import Validation
from jaxopt_lab.rules.identification import IdentifiedRule
from jaxopt_lab.rules.monitor_summary import MonitorSummary
from jaxopt_lab.tracing.non_finite import NonFiniteOrigin
from jaxopt_lab.tracing.signals import Signals

_STATIONARY, _CONVERGED, _ALIKE = 0.02, 0.05, 0.1
LITTLE, NOTHING, _HALF = 0.2, 0.95, 0.5
_EMPTY = {"program": ProgramChecks(), "data": DataChecks()}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What is diagnosed.

    Attributes:
      problem: what is trained.
      rule: the rule in use.
      params: the point.
      from_init: whether the point is where training begins.
      steps: of the run that is made with the rule; None chooses.
      batch_size: examples a step; None for all.
      seed: seeds everything that is drawn.
      opt_state: of the rule at the point, from a running training loop, or None.
      monitor: what a `Monitor` in it has recorded, or None.
      optimizer: what is known of the rule.
      total_steps: of the whole run that is planned, or None.
      batches: as the loop feeds them, or None.
    """

    problem: Problem
    rule: optax.GradientTransformation
    params: Any
    from_init: bool
    steps: int | None
    batch_size: int | None
    seed: int
    opt_state: Any
    monitor: MonitorSummary | None
    optimizer: IdentifiedRule
    total_steps: int | None = None
    batches: list[Any] | None = None


@dataclasses.dataclass(frozen=True)
class Layers:
    """The layers' signals.

    Attributes:
      start: at the point.
      end: where the run ended, or None.
    """

    start: Signals
    end: Signals | None = None


@dataclasses.dataclass(frozen=True)
class Evidence:
    """All parts, and what follows from several of them.

    Attributes:
      setting: what is diagnosed.
      point: the point, and where the run stands still, what lies around it.
      layers: signals of the layers.
      run: the rule in use, from the point.
      rates: the same run at other learning rates.
      curvature: the loss around the point and around the end of the run.
      update: the noise of one step's gradient, and what the rule makes of the gradients.
      validation: the end of the run on validation data.
      program: what the outputs reach, where the gradient arrives, the two modes, the fit of sixteen examples.
      data: statistics of the inputs, the classes, a probe of the labels, validation against training inputs.
    """

    setting: Setting
    point: PointState
    layers: Layers | None = None
    run: ProbeRun | None = None
    rates: OtherRates | None = None
    curvature: Curvature | None = None
    update: Update = dataclasses.field(default_factory=Update)
    validation: Validation | None = None
    program: ProgramChecks | None = None
    data: DataChecks | None = None

    def part(self, path: str) -> Any:
        """A part, or one inside of it as "update.noise"; None where it was not measured."""
        return functools.reduce(lambda held, name: None if held is None else getattr(held, name), path.split("."), self)

    def with_part(self, path: str, found: Any) -> "Evidence":
        """The evidence with a part, or with one inside of it as "update.noise"."""
        name, _, inner = path.partition(".")
        if inner:
            found = dataclasses.replace(getattr(self, name) or _EMPTY[name], **{inner: found})
        return dataclasses.replace(self, **{name: found})

    @property
    def non_finite(self) -> NonFiniteOrigin | None:
        """Where a number that is not finite comes from, at the point or on the way."""
        return self.run.non_finite if self.point.non_finite is None and self.run is not None else self.point.non_finite

    @property
    def num_steps(self) -> int:
        """Steps that the run was to take."""
        return 0 if self.run is None else self.run.num_steps

    @property
    def is_whole(self) -> bool:
        """Whether the run took all of the planned steps, or no longer falls: less than 2 % of its scale at the end."""
        if self.run is None or self.run.diverged:
            return False
        third, last = self.run.late_losses
        return bool(third - last < _STATIONARY * self.scale or self.num_steps >= (self.setting.total_steps or np.inf))

    @property
    def is_settled(self) -> bool:
        """Whether the run came down below zero, by less than 2 % of that in its last quarter: it met a lower end."""
        third, last = (np.nan, np.nan) if self.run is None or self.run.diverged else self.run.late_losses
        return bool(last < min(self.point.loss, 0.0) and third - last < _STATIONARY * (self.point.loss - last))

    @property
    def line_scans(self) -> tuple[LineScan, ...]:
        """The lines that were looked along."""
        around = self.point.stationary_point
        found = [self.point.steepest, None if around is None else around.along]
        return tuple(scan for scan in found if scan is not None)

    @property
    def lower_bound(self) -> float:
        """The lowest loss that is known to be possible: the known minimum, or 0 for a loss that is never negative."""
        if self.setting.problem.truth.minimum is not None:
            return float(self.setting.problem.truth.minimum)
        seen = [self.point.loss, *(scan.lowest for scan in self.line_scans)]
        seen += [] if self.run is None else list(self.run.losses)
        return 0.0 if np.nanmin(seen) >= 0 else float("-inf")

    @property
    def end(self) -> float:
        """The loss at the end of the run, or at the point."""
        return self.point.loss if self.run is None else self.run.end

    @property
    def scale(self) -> float:
        """The size of the loss that training is about: what a constant output leaves, or the largest change seen."""
        baseline, lower = self.point.baseline, self.lower_bound
        if baseline is not None and baseline > lower > -np.inf:
            return baseline - lower
        sizes = [scan.drop for scan in self.line_scans]
        if np.isfinite(lower):
            sizes.append(self.point.loss - lower)
        elif self.run is not None and np.isfinite(self.run.losses).any():
            sizes.append(np.nanmax(np.where(np.isfinite(self.run.losses), abs(self.run.losses - self.point.loss), 0)))
        return max([*sizes, 1e-300])

    @property
    def progress(self) -> float:
        """The share of the loss above the lower bound that the run removed; NaN where it diverged."""
        if self.run is None or self.run.diverged:
            return float("nan")
        above = self.point.loss - self.lower_bound if np.isfinite(self.lower_bound) else self.scale
        return (self.point.loss - self.end) / max(above, 1e-300)

    @property
    def is_underperforming(self) -> bool:
        """Whether training goes badly: it diverged, or more than a fifth is left of what a constant output leaves.

        A tenth once the run is whole, where a probe leaves far less; a twentieth where the smallest possible loss is
        known; not where four fifths of the classes are told, and more than by any probe: noise is left. Without data:
        of what the start leaves.
        """
        if self.run is None or self.run.diverged:
            return self.run is not None
        if self.point.baseline is None or not np.isfinite(self.lower_bound):
            return self.progress < 1 - LITTLE
        ends = self.end if self.validation is None else min(self.end, self.validation.loss.value)
        skill = None if self.data is None else self.data.skill
        if skill is not None and skill.is_class and skill.model > max(1 - LITTLE, skill.probe):
            return False
        most = LITTLE / 2 if skill is not None and skill.is_outdone and self.is_whole else LITTLE
        most = _CONVERGED if self.setting.problem.truth.minimum is not None else most
        return ends - self.penalty.end - self.lower_bound > most * (self.scale - self.penalty.start)

    @property
    def penalty(self) -> Penalty:
        """What the loss asks of the parameters beside the outputs; zero below a tenth of what it asks of those."""
        found, base = None if self.program is None else self.program.penalty, self.point.baseline
        if found is None or base is None or not max(found) > _ALIKE * (base - found.start) > 0:
            return Penalty(0.0, 0.0)
        return found

    @property
    def learned_nothing(self) -> bool:
        """Whether the run ends no lower than a constant output or on others' targets, diverges, or falls for ever."""
        base, run = self.point.baseline, self.run
        if run is None or run.diverged:
            return run is not None
        if self.part("program.is_surrogate"):
            return False
        if (search := self.part("program.outputs")) is not None and search.constant_runs_away and not self.is_settled:
            return True
        if base is None or self.part("program.examples.is_unpaired"):
            return base is not None
        base -= self.penalty.start
        held = np.inf if self.validation is None else self.validation.loss.value - self.penalty.end
        return bool(min(self.end - self.penalty.end, held) >= NOTHING * base or base <= held < np.inf)

    @property
    def generalizes_badly(self) -> bool:
        """Whether the validation loss is more than half of what a constant output leaves; False without such data."""
        base = self.point.baseline
        return self.validation is not None and base is not None and self.validation.loss.value > _HALF * base

    @property
    def resolution(self) -> float:
        """The smallest change of the loss that its precision shows."""
        leaves = jax.tree.leaves(self.setting.params)
        return max((float(jnp.finfo(leaf.dtype).eps) for leaf in leaves), default=0.0) * abs(self.point.loss)

    @property
    def is_stationary(self) -> bool:
        """Whether the run stood still: less than 2 % of the loss went, and it did not diverge."""
        if self.run is None or self.run.diverged:
            return False
        return abs(self.progress) < _STATIONARY or abs(self.point.loss - self.end) < _STATIONARY * self.scale

    @property
    def is_converged(self) -> bool:
        """Whether a loss over data is as low as training makes it: less than 5 % of its scale is left."""
        bounded = self.setting.problem.data is not None and np.isfinite(self.lower_bound) and self.run is not None
        return bool(bounded and self.end - self.lower_bound < _CONVERGED * self.scale)

    @property
    def is_random(self) -> bool:
        """Whether the gradients of two steps at one point differ: minibatches, or a loss with randomness of its own."""
        size = self.setting.batch_size
        return (size is not None and size < (self.setting.problem.num_examples or 0)) or self.point.is_random

    @property
    def follows_model(self) -> bool:
        """Whether the loss is a quadratic as far as the run can see, or the model at the point says where it ends."""
        model, run, method = self.model_at_point, self.run, self.method
        if model is None or run is None or run.diverged or method is None or self.is_random or model.has_negative:
            return False
        if self.setting.optimizer.kind == "adaptive":
            return self.model_at_end is not None and not self.model_at_end.preconditioned
        predicted, seen = model.decrease(float(run.steps[-1]), method), self.point.loss - run.losses[-1]
        is_quadratic = self.curvature is not None and self.curvature.is_quadratic
        return is_quadratic or bool(abs(predicted - seen) <= _ALIKE * abs(predicted))

    @property
    def model_at_point(self) -> QuadraticModel | None:
        """The loss around the point."""
        return None if self.curvature is None else self.curvature.point

    @property
    def model_at_end(self) -> QuadraticModel | None:
        """The loss around the end of the run."""
        return None if self.curvature is None else self.curvature.end

    @property
    def current_model(self) -> QuadraticModel | None:
        """The model at the end of the run, or where there is none, at the point."""
        return self.model_at_point if self.model_at_end is None else self.model_at_end

    @property
    def method(self) -> Method | None:
        """The rule in use as a two-step method on the (preconditioned) model, or None where that is not known."""
        rule, model = self.setting.optimizer, self.current_model
        if not np.isfinite(rule.edge) or (rule.kind == "adaptive" and (model is None or not model.preconditioned)):
            return None
        return Method(rule.two_step_rate, rule.rho, rule.lookahead)

    @property
    def relative_sharpness(self) -> float:
        """Learning rate times (preconditioned) sharpness over the rule's stability edge; NaN where it is not known."""
        rule, model = self.setting.optimizer, self.current_model
        if self.update.edge is not None:
            return 1 / self.update.edge.value
        if model is None or not np.isfinite(rule.edge) or (rule.kind == "adaptive" and not model.preconditioned):
            return float("nan")
        return rule.relative_sharpness(model.largest)
