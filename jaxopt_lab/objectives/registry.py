"""The table of objectives at small sizes: every law in the tests runs over it."""

import dataclasses
from collections.abc import Callable

import jax
import numpy as np

from jaxopt_lab.core import Problem
from jaxopt_lab.objectives import spectra
from jaxopt_lab.objectives.landscapes import gaussian_field, spherical_spin_glass
from jaxopt_lab.objectives.linear_networks import linear_network, planted_matrix
from jaxopt_lab.objectives.noise import with_noise
from jaxopt_lab.objectives.octopus import octopus
from jaxopt_lab.objectives.phase_retrieval import phase_retrieval
from jaxopt_lab.objectives.quadratics import laplacian, quadratic
from jaxopt_lab.objectives.regressions import linear_regression, logistic_regression, streaming_regression
from jaxopt_lab.objectives.saddles import degenerate_saddle, monkey_saddle, quadratic_saddle
from jaxopt_lab.objectives.student_teacher import student_teacher
from jaxopt_lab.objectives.wells import rosenbrock, two_layers, two_wells


@dataclasses.dataclass(frozen=True)
class ObjectiveSpec:
    """One entry: a function that makes a small instance, where the objective is from, and where its truth holds.

    Attributes:
      example: makes a small instance.
      reference: where it is from.
      at_origin: whether the truth's eigenvalues are those at the origin, a saddle; else they hold everywhere.
    """

    example: Callable[[], Problem]
    reference: str
    at_origin: bool = False


def _features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(24, 5))


REGISTRY: dict[str, ObjectiveSpec] = {
    "quadratic": ObjectiveSpec(lambda: quadratic(spectra.log_uniform(16, 100.0)), "textbook"),
    "quadratic-householder": ObjectiveSpec(
        lambda: quadratic(spectra.linear(16, 100.0), rotation="householder"), "Householder 1958"
    ),
    "quadratic-hadamard": ObjectiveSpec(
        lambda: quadratic(spectra.power_law(16, 1.0), rotation="hadamard", minimizer=np.ones(16)), "Sylvester 1867"
    ),
    "laplacian": ObjectiveSpec(lambda: laplacian(16), "textbook"),
    "linear-regression": ObjectiveSpec(
        lambda: linear_regression(_features(), _features() @ np.arange(5.0) + 1), "Gauss 1809"
    ),
    "streaming-regression": ObjectiveSpec(
        lambda: streaming_regression(spectra.two_point(16, 10.0), batch_size=4, label_noise=0.5), "textbook"
    ),
    "logistic-regression": ObjectiveSpec(
        lambda: logistic_regression(_features(), _features()[:, 0] > 0, ridge=0.1), "Cox 1958"
    ),
    "quadratic-uniform-noise": ObjectiveSpec(
        lambda: with_noise(quadratic(spectra.marchenko_pastur(16, 0.5)), "uniform", 0.1), "CS231n 2017, lecture 7"
    ),
    "quadratic-saddle": ObjectiveSpec(
        lambda: quadratic_saddle([-2.0, -0.5, 1.0, 3.0], confinement=0.7), "Lee et al. 2016", at_origin=True
    ),
    "degenerate-saddle": ObjectiveSpec(lambda: degenerate_saddle(4, dim=3), "textbook", at_origin=True),
    "octopus": ObjectiveSpec(lambda: octopus(3, scale=0.5, curvature=0.7), "Du et al. 2017", at_origin=True),
    "spherical-spin-glass": ObjectiveSpec(
        lambda: spherical_spin_glass(jax.random.key(0), 6), "Crisanti and Sommers 1992"
    ),
    "gaussian-field": ObjectiveSpec(lambda: gaussian_field(jax.random.key(0), 4, 40), "Bray and Dean 2007"),
    "student-teacher": ObjectiveSpec(lambda: student_teacher(3, 2), "Safran and Shamir 2018"),
    "linear-network": ObjectiveSpec(
        lambda: linear_network(planted_matrix([2.0, 0.5], 3, 2), width=2, scale=0.5),
        "Baldi and Hornik 1989",
        at_origin=True,
    ),
    "monkey-saddle": ObjectiveSpec(monkey_saddle, "Hilbert and Cohn-Vossen 1932", at_origin=True),
    "phase-retrieval": ObjectiveSpec(lambda: phase_retrieval(4), "Sun, Qu and Wright 2018"),
    "phase-retrieval-sample": ObjectiveSpec(lambda: phase_retrieval(4, num_examples=20), "Sun, Qu and Wright 2018"),
    "rosenbrock": ObjectiveSpec(lambda: rosenbrock(4), "Rosenbrock 1960"),
    "two-wells": ObjectiveSpec(lambda: two_wells(dim=3), "Wu, Ma and E 2018"),
    "two-layers": ObjectiveSpec(lambda: two_layers(3), "Lewkowycz et al. 2020"),
}
