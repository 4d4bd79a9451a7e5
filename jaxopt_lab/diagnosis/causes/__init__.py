"""One cause a file, or a family of them; each looks at the evidence and gives a finding or None."""

from collections.abc import Callable

from jaxopt_lab.diagnosis.causes import (
    conditioning,
    generalization,
    inputs,
    learning_rates,
    noise,
    non_finite,
    signals,
    stationarity,
)
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding

EXAMINATIONS: dict[str, tuple[Callable[[Evidence], Finding | None], str]] = {
    "non-finite": (non_finite.examine, "loss"),
    "learning-rate-too-high": (learning_rates.examine_high, "run"),
    "bad-initialization": (signals.examine_initialization, "signals"),
    "exploding-signal": (signals.examine_exploding, "signals"),
    "vanishing-signal": (signals.examine_vanishing, "signals"),
    "dead-units": (signals.examine_dead, "signals"),
    "unnormalized-inputs": (inputs.examine, "inputs"),
    "saddle": (stationarity.examine_saddle, "surroundings"),
    "plateau": (stationarity.examine_plateau, "surroundings"),
    "local-minimum": (stationarity.examine_local_minimum, "surroundings"),
    "gradient-noise": (noise.examine, "noise"),
    "learning-rate-too-low": (learning_rates.examine_low, "run"),
    "ill-conditioned": (conditioning.examine, "model"),
    "overfitting": (generalization.examine, "validation"),
    "underfitting": (stationarity.examine_underfitting, "surroundings"),
}
"""cause -> (examination, the evidence without which it is not examined)."""

__all__ = ["EXAMINATIONS"]
