"""Closed forms, in float64 NumPy on the host: what a run should do, before it is run.

Deterministic quadratics: `rates` (tuned methods), `modes` (one eigenvalue), `trajectories` (whole curves),
`transients` (overshoot, peaks, cycles), `chebyshev` (best polynomial, lower bounds), `stability` (edges),
`geometry` (angles, zig-zags), `signals` (what momentum does to a gradient sequence). Noise: `noise_floors` (additive),
`minibatch` and `second_moments` (linear regression on fresh batches), `noisy_quadratics` (steps to a target),
`noise_scale` (critical batch). Data: `random_matrices` (Marchenko-Pastur), `preprocessing` (centring).
Functions take numbers or arrays and broadcast; `lookahead` is 0 for heavy ball and rho for Nesterov.
"""

from jaxopt_lab.theory.modes import (
    critical_rho,
    decay_rate,
    mode_value,
    spectral_radius,
)
from jaxopt_lab.theory.rates import (
    Tuning,
    optimal_gradient_descent,
    optimal_heavy_ball,
    optimal_nesterov,
    optimal_triple_momentum,
    standard_gradient_descent,
    standard_nesterov,
    steps_to_accuracy,
)
from jaxopt_lab.theory.trajectories import (
    Schedule,
    chebyshev_responses,
    chebyshev_schedule,
    expected_losses,
    mode_responses,
    stream_mode_responses,
)
from jaxopt_lab.theory.transients import (
    Peak,
    cycling_gradient,
    cycling_loss,
    heavy_ball_cycle,
    heavy_ball_peak,
    heavy_ball_peak_asymptote,
    heavy_ball_transient,
    overshoot,
    overshoot_of_oscillator,
)

__all__ = [
    "Peak",
    "Schedule",
    "Tuning",
    "chebyshev_responses",
    "chebyshev_schedule",
    "critical_rho",
    "cycling_gradient",
    "cycling_loss",
    "decay_rate",
    "expected_losses",
    "heavy_ball_cycle",
    "heavy_ball_peak",
    "heavy_ball_peak_asymptote",
    "heavy_ball_transient",
    "mode_responses",
    "mode_value",
    "optimal_gradient_descent",
    "optimal_heavy_ball",
    "optimal_nesterov",
    "optimal_triple_momentum",
    "overshoot",
    "overshoot_of_oscillator",
    "spectral_radius",
    "standard_gradient_descent",
    "standard_nesterov",
    "steps_to_accuracy",
    "stream_mode_responses",
]
