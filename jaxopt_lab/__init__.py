"""jaxopt_lab: why JAX training is slow, in numbers, with a fix that is proven by running before and after.

    import jaxopt_lab as lab
    problem = lab.objectives.quadratic(lab.objectives.spectra.log_uniform(1000, kappa=100.0))
    trace = lab.training.run(problem, lab.rules.heavy_ball, {"learning_rate": 3.3, "rho": 0.67}, steps=100)

The folders are imported when first used, so that this import stays light.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxopt_lab import (
        compare,
        core,
        curvature,
        datasets,
        diagnosis,
        networks,
        objectives,
        problems,
        reporting,
        rules,
        search,
        storage,
        studies,
        testing,
        theory,
        tracing,
        training,
    )
    from jaxopt_lab.core import Estimate, Problem, Status, Truth, Verdict, from_loss, precision
    from jaxopt_lab.diagnosis import diagnose
    from jaxopt_lab.networks import from_linen, from_nnx
    from jaxopt_lab.problems import load_problem
    from jaxopt_lab.rules import Monitor
    from jaxopt_lab.training import Trace, run

_FOLDERS = (
    "compare",
    "core",
    "curvature",
    "datasets",
    "diagnosis",
    "networks",
    "objectives",
    "problems",
    "reporting",
    "rules",
    "search",
    "storage",
    "studies",
    "testing",
    "theory",
    "tracing",
    "training",
)
_NAMES = {
    "Estimate": "core",
    "Problem": "core",
    "Status": "core",
    "Truth": "core",
    "Verdict": "core",
    "Monitor": "rules",
    "diagnose": "diagnosis",
    "from_loss": "core",
    "from_linen": "networks",
    "from_nnx": "networks",
    "load_problem": "problems",
    "precision": "core",
    "Trace": "training",
    "run": "training",
}

__all__ = [
    "Estimate",
    "Monitor",
    "Problem",
    "Status",
    "Trace",
    "Truth",
    "Verdict",
    "compare",
    "core",
    "curvature",
    "datasets",
    "diagnose",
    "diagnosis",
    "from_linen",
    "from_loss",
    "from_nnx",
    "load_problem",
    "networks",
    "objectives",
    "precision",
    "problems",
    "reporting",
    "rules",
    "run",
    "search",
    "storage",
    "studies",
    "testing",
    "theory",
    "tracing",
    "training",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.metadata.version("jaxopt_lab")
    if name in _FOLDERS:
        return importlib.import_module(f"jaxopt_lab.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"jaxopt_lab.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'jaxopt_lab' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
