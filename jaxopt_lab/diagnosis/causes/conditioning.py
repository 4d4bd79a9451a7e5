"""ill-conditioned: the curvatures that the gradient lies in differ so much that one learning rate cannot serve them.

Held against the local model: steps that the rule in use takes, at its own best rate, to 1 % of what is left to gain,
over those of heavy ball at its best. A condition number of 100 gives a ratio of about 4, 1e4 gives 40
(`theory.rates.optimal_heavy_ball`). Where the model is not what the run does (networks), it must also have a tenth
of the loss to give, the run must not come half of the way, unless it ends there and does badly, and noise must not be
in the way: momentum gains 1 + (gain - 1) / (1 + B_noise / B) (McCandlish et al. 2018).
The best heavy ball of a quadratic stands at its edge; where the gradient is noisy, momentum .9 at the rate in use is
tried too. A loss over data that has less than 1 % left is as good as done: its sampling error is larger.
"""

import dataclasses

import numpy as np

from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis import predicted_gain
from jaxopt_lab.diagnosis.evidence import Evidence
from jaxopt_lab.diagnosis.findings import Finding, Measurement, make_finding, measured
from jaxopt_lab.diagnosis.prescriptions import use_heavy_ball
from jaxopt_lab.diagnosis.quadratic_model import Method, QuadraticModel
from jaxopt_lab.diagnosis.trials import MOST_STEPS

SOURCE = "Polyak 1964; theory.rates.optimal_heavy_ball"
LEAST_GAIN = 4.0
LEAST_STEPS = 50.0
LEFT = 0.1
SAMPLED, EXACT = 0.01, 1e-9
_SHARE = 0.01
HORIZON = 2000.0
USUAL = 0.9
_BLAMED = (
    "learning-rate-too-high", "learning-rate-too-low", "unnormalized-inputs", "dead-units", "vanishing-signal",
    "exploding-signal", "bad-initialization", "saddle", "plateau", "underfitting",
)  # fmt: skip


def examine(evidence: Evidence) -> Finding | None:
    """A finding where heavy ball at its best takes at least four times fewer steps than the rule in use at its best."""
    model = (
        evidence.model_at_end
        if evidence.model_at_end is not None and not evidence.model_at_end.preconditioned
        else evidence.model_at_point
    )
    if model is None or model.gradient_square == 0 or model.largest <= 0:
        return None
    ceiling = max(evidence.end - evidence.lower_bound, 0.0) if np.isfinite(evidence.lower_bound) else np.inf
    if evidence.run is not None and evidence.run.diverged:
        ceiling = max(evidence.point.loss - evidence.lower_bound, 0.0) if np.isfinite(evidence.lower_bound) else np.inf
    gap = model.gap(ceiling)
    own, plain = evidence.method, Method(1 / model.largest)
    seen = (
        evidence.current_model
        if evidence.current_model is not None and evidence.current_model.preconditioned
        else model
    )
    best_own = seen.best_learning_rate(own or plain, _SHARE, ceiling)
    steps = seen.steps_to(_SHARE, best_own, ceiling)
    heavy = model.best_heavy_ball(_SHARE, ceiling)
    fewest = max(model.steps_to(_SHARE, heavy, ceiling), 1.0)
    exact = evidence.follows_model
    noise = 0.0 if evidence.update.noise is None else evidence.update.noise.ratio
    gain = 1 + (steps / fewest - 1) / (1 + noise)
    if gain < LEAST_GAIN or steps < LEAST_STEPS:
        return None
    moves = evidence.progress > 0.5 and not (evidence.is_whole and evidence.is_underperforming)
    if not exact and (evidence.is_converged or gap < LEFT * evidence.scale or moves):
        return None
    if exact and gap < (SAMPLED if evidence.setting.problem.data is not None else EXACT) * evidence.scale:
        return None
    horizon = int(min(steps + evidence.num_steps, HORIZON))
    used = own if own is not None and evidence.relative_sharpness < 1 else best_own  # past its edge a rule goes nowhere
    goal = seen.remaining(horizon, used, ceiling)
    heavy = model.best_heavy_ball(max(goal, _SHARE), ceiling)

    def forecast(count: int) -> float:
        return predicted_gain.speed_up(evidence, count, evidence.model_at_point or model, heavy, own=used)

    soon = model.best_heavy_ball(_SHARE, ceiling, min(horizon, MOST_STEPS))
    others = (dataclasses.replace(used, rho=USUAL, lookahead=0.0),) if evidence.is_random else (soon,)
    low, _ = model.condition_interval
    text = f"Curvatures along the gradient differ {low:.3g} times: the step for the largest is too short for the rest."
    return make_finding(
        "ill-conditioned", text, _measurements(model, ceiling, steps, fewest, gain),
        use_heavy_ball(heavy.learning_rate, heavy.rho), gain, horizon=horizon, forecast=forecast, follows_from=_BLAMED,
        alternatives=tuple(use_heavy_ball(each.learning_rate, each.rho) for each in others),
    )  # fmt: skip


def _measurements(model: QuadraticModel, ceiling: float, steps: float, fewest: float, gain: float) -> list[Measurement]:
    low, high = model.condition_interval
    best = model.best_learning_rate(Method(1 / model.largest), _SHARE, ceiling)
    others = {
        "gradient descent": model.steps_to(_SHARE, best, ceiling),
        "heavy ball": fewest,
        "Nesterov": _nesterov(model, ceiling),
    }
    return [
        measured("condition number that the gradient sees", Estimate(low, interval=(low, high), level=1.0)),
        measured("steps of the rule in use at its best rate, to 1 % of what is left", steps, LEAST_STEPS, SOURCE),
        *(measured(f"steps of {name} at its best", count) for name, count in others.items()),
        measured("gain available", gain, LEAST_GAIN, SOURCE),
        measured("what is left to gain", model.gap(ceiling)),
    ]


def _nesterov(model: QuadraticModel, ceiling: float) -> float:
    rhos = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999)
    return min(model.steps_to(_SHARE, Method(1 / model.largest, rho, rho), ceiling) for rho in rhos)
