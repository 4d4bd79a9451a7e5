"""One cause a file, or a family of them; each looks at the evidence and gives a finding or None."""

from collections.abc import Callable
from typing import NamedTuple

from jaxopt_lab.diagnosis.causes import (
    conditioning,
    data_mismatch,
    generalization,
    inputs,
    labels,
    learning_rates,
    memorization,
    mixed_examples,
    no_gradient,
    noise,
    non_finite,
    outputs,
    rule_limits,
    signals,
    stationarity,
    train_eval,
    underfitting,
)
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding


class Examination(NamedTuple):
    """How one cause is examined.

    Attributes:
      examine: evidence -> a finding when the cause holds, or None.
      needs: the parts of the evidence, or of one of them as "update.noise", without which it cannot be told.
      not_of_sample: why a finding on a random part of the examples says nothing of all; "" where it does.
    """

    examine: Callable[[Evidence], Finding | None]
    needs: tuple[str, ...]
    not_of_sample: str = ""


EXAMINATIONS: dict[str, Examination] = {
    "non-finite": Examination(non_finite.examine, ()),
    "label-range": Examination(labels.examine_range, ("data",)),
    "unbounded-loss": Examination(outputs.examine_unbounded, ("program",)),
    "unreachable-loss": Examination(outputs.examine_unreachable, ("program",)),
    "mixed-examples": Examination(mixed_examples.examine, ("program",)),
    "no-gradient": Examination(no_gradient.examine, ("program",)),
    "uninformative-labels": Examination(labels.examine_uninformative, ("data",)),
    "data-mismatch": Examination(data_mismatch.examine, ("data",)),
    "gradient-ascent": Examination(rule_limits.examine_ascent, ("update.rule",)),
    "lost-updates": Examination(rule_limits.examine_lost, ("update.rule",)),
    "clipped-steps": Examination(rule_limits.examine_clipped, ("update.rule",)),
    "schedule": Examination(rule_limits.examine_schedule, ("update.rule",)),
    "train-eval-mismatch": Examination(train_eval.examine, ("program",)),
    "cannot-memorize": Examination(memorization.examine, ("program.memorization",)),
    "learning-rate-too-high": Examination(learning_rates.examine_high, ("run",)),
    "bad-initialization": Examination(signals.examine_initialization, ("layers",)),
    "exploding-signal": Examination(signals.examine_exploding, ("layers",)),
    "vanishing-signal": Examination(signals.examine_vanishing, ("layers",)),
    "dead-units": Examination(signals.examine_dead, ("layers",)),
    "unnormalized-inputs": Examination(inputs.examine, ("data.inputs",)),
    "saddle": Examination(stationarity.examine_saddle, ("point.stationary_point",)),
    "plateau": Examination(stationarity.examine_plateau, ("point.stationary_point",)),
    "local-minimum": Examination(stationarity.examine_local_minimum, ("point.stationary_point",)),
    "gradient-noise": Examination(noise.examine, ("update.noise",)),
    "learning-rate-too-low": Examination(learning_rates.examine_low, ("run", "rates")),
    "ill-conditioned": Examination(conditioning.examine, ("curvature",)),
    "overfitting": Examination(
        generalization.examine, ("validation",), "a random part of the examples is memorized sooner than all of them"
    ),
    "underfitting": Examination(underfitting.examine, ("point.stationary_point",)),
}

__all__ = ["EXAMINATIONS", "Examination"]
