"""Update rules as optax gradient transformations, a family a file, and `REGISTRY`, the table of all of them.

A rule that optax has with the same mathematics is used from optax, under its name and with its arguments checked; here
are the lecture's forms and what optax lacks. The rules' names are those of the table: a new entry is public by itself.
"""

from typing import TYPE_CHECKING

from jaxopt_lab.rules.averaging import averaged_params
from jaxopt_lab.rules.identification import identify
from jaxopt_lab.rules.monitor import Monitor, observe
from jaxopt_lab.rules.monitor_summary import summarize_monitor
from jaxopt_lab.rules.registry import REGISTRY
from jaxopt_lab.rules.step_stability import critical_learning_rate, step_multipliers

if TYPE_CHECKING:  # a type checker reads no table: it gets the names that the table's file imports
    from jaxopt_lab.rules.registry import *  # noqa: F403

_FACTORIES = {spec.factory.__name__: spec.factory for spec in REGISTRY.values()}
globals().update(_FACTORIES)

__all__ = [
    "Monitor",
    "REGISTRY",
    "averaged_params",
    "critical_learning_rate",
    "identify",
    "observe",
    "step_multipliers",
    "summarize_monitor",
    *sorted(_FACTORIES),
]
