"""The engine: compiled segments of steps over many configurations, probes, checkpoints, devices."""

from jaxopt_lab.training import sharpness_probes
from jaxopt_lab.training.devices import enable_compilation_cache, measure_bandwidth
from jaxopt_lab.training.engine import run
from jaxopt_lab.training.execution import Execution
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.parameters import load_params, save_params
from jaxopt_lab.training.probes import (
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
from jaxopt_lab.training.storage import Checkpoints
from jaxopt_lab.training.trace import Trace

__all__ = [
    "Checkpoints",
    "Execution",
    "Feasibility",
    "Observation",
    "Probe",
    "Trace",
    "band_energy",
    "coordinates",
    "cost",
    "distance",
    "enable_compilation_cache",
    "gradient_norm",
    "load_params",
    "loss",
    "measure_bandwidth",
    "metric",
    "run",
    "save_params",
    "sharpness_probes",
    "update_cosine",
    "update_ratio",
    "validation_loss",
]
