"""Closed forms, in float64 NumPy on the host: what a run should do, before it is run. Used by module: `theory.rates`.

Deterministic quadratics: `rates` (tuned methods), `modes` (one eigenvalue), `trajectories` (whole curves),
`transients` (overshoot, peaks, cycles), `chebyshev` (best polynomial, lower bounds), `stability` (edges), `geometry`
(angles, zig-zags), `momentum_response` (what momentum does to a gradient sequence).
Noise: `noise_floors` (additive), `minibatch` and `second_moments` (linear regression on fresh batches: edges, curves),
`noise_scale` (critical batch), `short_horizon` (the best rate of a horizon).
Saddles: `escapes`, `saddle_chains` (the octopus), `linear_networks`; `landscapes` and `positivity` (indices of random
Hessians). Data: `random_matrices` (Marchenko-Pastur), `spectral_edges` (finite sizes), `log_uniform`, `preprocessing`
(centring), `least_squares` (overfitting), `regularization`. Random networks: `mean_field` and `batch_norm` (wide ones),
`finite_width`. Rules that divide by past gradients: `adaptive`. Wells of known sharpness: `wells`. Search for
hyperparameters: `search`.

Functions take numbers or arrays and broadcast. A symbol has one name everywhere: `smoothness` L and `strong_convexity`
mu are the largest and the smallest eigenvalue, `kappa` = L / mu; `rho` is momentum, v <- rho v + g; `lookahead` is 0
for heavy ball and rho for Nesterov; `dim` is the number of parameters d, `batch_size` the examples B a step, inf for
the full gradient.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxopt_lab.theory import (
        adaptive,
        batch_norm,
        chebyshev,
        escapes,
        finite_width,
        geometry,
        landscapes,
        least_squares,
        linear_networks,
        log_uniform,
        mean_field,
        minibatch,
        modes,
        momentum_response,
        noise_floors,
        noise_scale,
        positivity,
        preprocessing,
        random_matrices,
        rates,
        regularization,
        saddle_chains,
        search,
        second_moments,
        short_horizon,
        spectral_edges,
        stability,
        trajectories,
        transients,
        wells,
    )

__all__ = [
    "adaptive",
    "batch_norm",
    "chebyshev",
    "escapes",
    "finite_width",
    "geometry",
    "landscapes",
    "least_squares",
    "linear_networks",
    "log_uniform",
    "mean_field",
    "minibatch",
    "modes",
    "momentum_response",
    "noise_floors",
    "noise_scale",
    "positivity",
    "preprocessing",
    "random_matrices",
    "rates",
    "regularization",
    "saddle_chains",
    "search",
    "second_moments",
    "short_horizon",
    "spectral_edges",
    "stability",
    "trajectories",
    "transients",
    "wells",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"jaxopt_lab.theory.{name}")
    raise AttributeError(f"module 'jaxopt_lab.theory' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
