"""Pieces of evidence for the thresholds of causes."""

import jax.numpy as jnp
import numpy as np
import optax

import jaxopt_lab as lab
from jaxopt_lab.core import Status
from jaxopt_lab.diagnosis.evidence import Evidence, PointState, Setting
from jaxopt_lab.diagnosis.example_checks import Coupling
from jaxopt_lab.diagnosis.output_search import OutputSearch, Search
from jaxopt_lab.diagnosis.probe_runs import ProbeRun
from jaxopt_lab.diagnosis.program_checks import ProgramChecks
from jaxopt_lab.diagnosis.quadratic_model import Curvature, QuadraticModel
from jaxopt_lab.diagnosis.rule_checks import Update
from jaxopt_lab.rules.identification import IdentifiedRule
from jaxopt_lab.tracing.outputs import OutputPlace

INPUTS, LABELS = np.zeros((40, 3), np.float32), np.arange(40) % 4
CLASSES = lab.from_loss(lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (INPUTS, LABELS))
REGRESSION = lab.from_loss(
    lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (INPUTS, np.linspace(0, 1, 40, dtype=np.float32))
)
SGD = IdentifiedRule("gradient descent", 0.1, effective_rate=0.1)
PLACE = OutputPlace(0, (40, 4), ((5, "softmax"),), (0,), (1,), False)


def evidence(problem=CLASSES, end=0.9, batch_size=None, rule=None, noise=None, total_steps=None, **parts):
    """A run from 1.1 to `end` where the best constant output has the loss 1.0."""
    curve = np.linspace(1.1, end, 40)
    curve[20:] = end
    run = ProbeRun(np.arange(40), curve, np.ones(40), None, Status.COMPLETED, jnp.zeros(3), None, None)
    setting = Setting(problem, optax.sgd(0.1), jnp.zeros(64), True, 39, batch_size, 0, None, None, SGD, total_steps)
    return Evidence(setting, PointState(1.1, 1.0, baseline=1.0), run=run, update=Update(noise, rule), **parts)


def bowl(gradient_square, curvature_=1.0):
    """One direction of which gradient_square / (2 curvature) is left."""
    model = QuadraticModel(np.array([curvature_]), np.array([gradient_square]), 1.0, 1.0, 0.0, 1e-15, 0.9, 0)
    return Curvature(model, model)


def search(reachable=0.0, bypassed=None, constant=1.0, coupling=0.0, shift=0.0, place=PLACE, loss=1.1):
    free = np.full((40, 4), shift)
    found = None if bypassed is None else Search(bypassed, free)
    return ProgramChecks(
        OutputSearch(
            place, loss, np.zeros((40, 4)), 1.0, Search(reachable, free), found, "softmax", Search(constant, free[0])
        ),
        coupling=Coupling(coupling),
    )  # fmt: skip
