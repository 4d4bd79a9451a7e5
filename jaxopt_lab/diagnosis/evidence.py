"""What was measured before anything is said: the point, the layers, the inputs, a short run, curvature, noise."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Estimate, Problem
from jaxopt_lab.diagnosis.gradient_noise import BatchNoise
from jaxopt_lab.diagnosis.inputs import InputStatistics
from jaxopt_lab.diagnosis.lines import Fall
from jaxopt_lab.diagnosis.probe_runs import ProbeRun
from jaxopt_lab.diagnosis.quadratic_model import LocalModel, Method
from jaxopt_lab.diagnosis.stationary_point import Surroundings
from jaxopt_lab.rules.identification import RuleInUse
from jaxopt_lab.rules.monitor_summary import Signs
from jaxopt_lab.tracing.non_finite import Culprit
from jaxopt_lab.tracing.signals import Signals

_STILL = 0.02
_ALIKE = 0.1
_DONE = 0.05
_GOOD = 0.8
MOST_PROVED = 2000


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Everything that was measured; None where it was not.

    Attributes:
      problem: what is trained.
      rule: the rule in use.
      in_use: what is known of it.
      params: the point.
      from_init: whether the point is where training begins.
      steps: of the probe run.
      batch_size: examples a step; None for all.
      seed: seeds everything that is drawn.
      opt_state: of the rule at the point, from a running training loop, or None.
      signs: what a `Monitor` in it has recorded, or None.
      loss: at the point.
      gradient_norm: at the point.
      size: norm of the parameters, at least 1: the unit of distances.
      downhill: the lowest place along minus the gradient; None at a gradient of zero.
      decay: the share of themselves by which the rule shrinks the parameters in a step.
      culprit: where a number that is not finite comes from.
      wrong_step: the step of the run at which it struck, or None.
      noisy_loss: whether the loss has randomness of its own.
      baseline: the loss of the best constant output; where the outputs are not known, with all parameters zero; None
        without data.
      num_classes: of a classifier.
      signals: of the layers at the point.
      signals_end: the same where the run ended.
      inputs: of the data.
      run: the rule in use, from the point.
      rates: factor -> losses [R] of the same run at other rates.
      rate_steps: steps at each of those records, [R].
      model: the loss around the point.
      model_end: the loss around the end of the run.
      model_standardized: the loss around the point on standardized inputs, where theirs are far from it.
      noise: of one step's gradient, at the end of the run.
      validation: loss on the validation data at the end of the run.
      shrinking: (factor of the weights, gain): the least validation loss along shrinking weights, and how many times it
        is lower.
      weight_curvature: of the loss along the weights themselves, at the end of the run.
      surroundings: what lies around a point at which the run stands still.
    """

    problem: Problem
    rule: optax.GradientTransformation
    in_use: RuleInUse
    params: Any
    from_init: bool
    steps: int
    batch_size: int | None
    seed: int
    opt_state: Any = None
    signs: Signs | None = None
    loss: float = float("nan")
    gradient_norm: float = float("nan")
    size: float = 1.0
    downhill: Fall | None = None
    decay: float = 0.0
    culprit: Culprit | None = None
    wrong_step: int | None = None
    noisy_loss: bool = False
    baseline: float | None = None
    num_classes: int | None = None
    signals: Signals | None = None
    signals_end: Signals | None = None
    inputs: InputStatistics | None = None
    run: ProbeRun | None = None
    rates: dict[float, np.ndarray] | None = None
    rate_steps: np.ndarray | None = None
    model: LocalModel | None = None
    model_end: LocalModel | None = None
    model_standardized: LocalModel | None = None
    noise: BatchNoise | None = None
    validation: Estimate | None = None
    shrinking: tuple[float, float] | None = None
    weight_curvature: float = 0.0
    surroundings: Surroundings | None = None

    @property
    def falls(self) -> tuple[Fall, ...]:
        """The lowest places along the lines that were looked along."""
        found = [self.downhill, None if self.surroundings is None else self.surroundings.along]
        return tuple(fall for fall in found if fall is not None)

    @property
    def lower(self) -> float:
        """The lowest loss that is known to be possible: the known minimum, or 0 for a loss that is never negative."""
        if self.problem.truth.minimum is not None:
            return float(self.problem.truth.minimum)
        seen = [self.loss, *(fall.lowest for fall in self.falls)] + ([] if self.run is None else list(self.run.losses))
        return 0.0 if np.nanmin(seen) >= 0 else float("-inf")

    @property
    def end(self) -> float:
        """The loss at the end of the run, or at the point."""
        return self.loss if self.run is None else self.run.end

    @property
    def scale(self) -> float:
        """The size of the loss that training is about: what a constant output leaves, or the largest fall seen."""
        if self.baseline is not None and self.baseline > self.lower > -np.inf:
            return self.baseline - self.lower
        sizes = [fall.drop for fall in self.falls]
        if np.isfinite(self.lower):
            sizes.append(self.loss - self.lower)
        elif self.run is not None and np.isfinite(self.run.end):
            sizes.append(self.loss - self.run.end)
        return max([*sizes, 1e-300])

    @property
    def progress(self) -> float:
        """The share of the loss above the lowest known that the run removed; NaN where it diverged."""
        if self.run is None or self.run.diverged:
            return float("nan")
        above = self.loss - self.lower if np.isfinite(self.lower) else self.scale
        return (self.loss - self.end) / max(above, 1e-300)

    @property
    def suffers(self) -> bool:
        """Whether training goes badly: it diverged, or more than a fifth is left of what a constant output leaves.

        Without data: of what the start leaves.
        """
        if self.run is None or self.run.diverged:
            return self.run is not None
        if self.baseline is None or not np.isfinite(self.lower):
            return self.progress < _GOOD
        return self.end - self.lower > (1 - _GOOD) * self.scale

    @property
    def resolution(self) -> float:
        """The smallest change of the loss that its precision shows."""
        precision = max((float(jnp.finfo(leaf.dtype).eps) for leaf in jax.tree.leaves(self.params)), default=0.0)
        return precision * abs(self.loss)

    @property
    def still(self) -> bool:
        """Whether the run stood still: less than 2 % of the loss went, and it did not diverge."""
        if self.run is None or self.run.diverged:
            return False
        return abs(self.progress) < _STILL or abs(self.loss - self.end) < _STILL * self.scale

    @property
    def done(self) -> bool:
        """Whether a loss over data is as low as training makes it: less than 5 % of its scale is left."""
        known = self.problem.data is not None and np.isfinite(self.lower) and self.run is not None
        return bool(known and self.end - self.lower < _DONE * self.scale)

    @property
    def random(self) -> bool:
        """Whether the gradients of two steps at one point differ: minibatches, or a loss with randomness of its own."""
        small = self.batch_size is not None and self.batch_size < (self.problem.num_examples or 0)
        return small or self.noisy_loss

    @property
    def exact(self) -> bool:
        """Whether the loss is a quadratic as far as the run can see: the model at the point says where the run ends."""
        model, run, method = self.model, self.run, self.method
        if model is None or run is None or run.diverged or method is None or self.random or model.has_negative:
            return False
        if self.in_use.kind == "adaptive":
            return self.model_end is not None and not self.model_end.preconditioned
        predicted = model.decrease(float(run.steps[-1]), method)
        return abs(predicted - (self.loss - run.losses[-1])) <= _ALIKE * abs(predicted)

    @property
    def here(self) -> LocalModel | None:
        """The model at the end of the run, or where there is none, at the point."""
        return self.model if self.model_end is None else self.model_end

    @property
    def method(self) -> Method | None:
        """The rule in use as a two-step method on the (preconditioned) model, or None where that is not known."""
        use = self.in_use
        if use.kind in ("gradient descent", "heavy ball", "Nesterov"):
            return Method(use.learning_rate, use.rho, use.lookahead)
        if use.kind == "adaptive" and self.here is not None and self.here.preconditioned:
            return Method(use.learning_rate * (1 - use.rho), use.rho)
        return None

    @property
    def share_of_edge(self) -> float:
        """Learning rate times (preconditioned) sharpness over the rule's stability edge; NaN where it is not known."""
        if self.here is None or not np.isfinite(self.in_use.edge):
            return float("nan")
        if self.in_use.kind == "adaptive" and not self.here.preconditioned:
            return float("nan")
        return self.in_use.share_of_edge(self.here.largest)


def horizon_for(known: Evidence, gain: float) -> int:
    """Steps of a proof in which a run that is `gain` times slower comes as far as the better one does in four."""
    return max(known.steps, int(min(4 * gain, MOST_PROVED)))
