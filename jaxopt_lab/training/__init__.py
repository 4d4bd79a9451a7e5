"""The engine: compiled segments of steps over many configurations, probes, checkpoints, devices."""

from jaxopt_lab.training.baselines import constant_loss
from jaxopt_lab.training.devices import device_kind, enable_compilation_cache, measure_bandwidth
from jaxopt_lab.training.engine import run
from jaxopt_lab.training.execution import Execution
from jaxopt_lab.training.failures import require_rule
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.parameters import load_params, save_params
from jaxopt_lab.training.probes import (
    Evaluation,
    Observation,
    Probe,
    band_energy,
    coordinates,
    cost,
    distance,
    gradient_norm,
    loss,
    metric,
    update_cosine,
    update_ratio,
    validation_loss,
)
from jaxopt_lab.training.progress import log_line
from jaxopt_lab.training.storage import Checkpoints
from jaxopt_lab.training.trace import Trace

__all__ = [
    "Checkpoints",
    "Evaluation",
    "Execution",
    "Feasibility",
    "Observation",
    "Probe",
    "Trace",
    "band_energy",
    "constant_loss",
    "coordinates",
    "cost",
    "device_kind",
    "distance",
    "enable_compilation_cache",
    "gradient_norm",
    "load_params",
    "loss",
    "measure_bandwidth",
    "metric",
    "require_rule",
    "run",
    "save_params",
    "log_line",
    "update_cosine",
    "update_ratio",
    "validation_loss",
]
