"""Search: spaces, samplers, schedules, adaptive searches, and sweeps that are one compiled program each.

`sweep` tries the points of a non-adaptive sampler, keeps all curves, and continues after a kill. `coarse_to_fine`,
`block_coordinate`, `successive_halving` and `ask_and_tell` choose their next trials by the last ones: they are for
exploring, and keep a record of why they went where they went. `ablate` tells which of several changes help.
"""

from jaxopt_lab.search.ablations import ablate
from jaxopt_lab.search.adaptive import block_coordinate, coarse_to_fine, successive_halving
from jaxopt_lab.search.dimensions import (
    choices,
    effective_rate,
    integers,
    log_uniform,
    one_minus_log_uniform,
    uniform,
    when,
)
from jaxopt_lab.search.history import SearchResult, evaluator
from jaxopt_lab.search.optuna_bridge import ask_and_tell
from jaxopt_lab.search.results import load_sweep
from jaxopt_lab.search.samplers import random_points, sample
from jaxopt_lab.search.schedules import Scheduled
from jaxopt_lab.search.spaces import Space
from jaxopt_lab.search.sweeps import sweep
from jaxopt_lab.search.trials import Objective

__all__ = [
    "Objective",
    "Scheduled",
    "SearchResult",
    "Space",
    "ablate",
    "ask_and_tell",
    "block_coordinate",
    "choices",
    "coarse_to_fine",
    "effective_rate",
    "evaluator",
    "integers",
    "load_sweep",
    "log_uniform",
    "one_minus_log_uniform",
    "random_points",
    "sample",
    "successive_halving",
    "sweep",
    "uniform",
    "when",
]
