"""The stability edge of any rule: the multipliers of its linearized step, at a rate and as a function of the rate.

    J v = mu v,   J = d(params, state after a step) / d(params, state)

A small displacement along v is multiplied by mu in a step. Multipliers near 1 belong to flat directions and to slow
parts of the state, real ones above 1 to directions of negative curvature: neither is the edge. At its edge a step
oscillates and does not shrink: |mu| = 1 away from 1, for the rules with a closed form mu = -1. That is where J - 1 is
large, so that Arnoldi's method on J - 1 finds these first.

Reference: Cohen et al. 2021, arXiv 2103.00065, appendix B, for closed forms; Lehoucq, Sorensen and Yang 1998, ARPACK
users' guide.
"""

import dataclasses
from typing import Any

import numpy as np
import optax
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigs

from jaxopt_lab.core import Estimate, Problem, fail
from jaxopt_lab.core.errors import require_between, require_count, require_positive
from jaxopt_lab.curvature.streams import Source
from jaxopt_lab.rules.linearized_steps import Factory, LinearizedStep

TURN = np.pi / 6  # a mode that comes back within twelve steps
_DENSE = 64
_SPARE = 8  # Arnoldi vectors beside those of two per mode
_FIRST_FACTOR = 1.25  # of the rate, squared each time: eight reach 24 orders of magnitude
_MOST_FACTORS = 8


@dataclasses.dataclass(frozen=True)
class StepMultipliers:
    """What the linearized step multiplies displacements with.

    Attributes:
      values: complex [k], the furthest from 1 first.
      residuals: |J v - mu v| / |v| of each, [k]: each is exact for a step that differs by so much.
      products: products with J.
      num_held: entries of the parameters on which the loss does not depend; they are left out.
    """

    values: np.ndarray
    residuals: np.ndarray
    products: int
    num_held: int

    @property
    def oscillates(self) -> np.ndarray:
        """Whether each turns by more than a twelfth of a circle a step, bool [k]."""
        return np.abs(np.angle(self.values)) > TURN

    @property
    def radius(self) -> float:
        """The largest |mu| of those that oscillate: 1 at the edge, above it beyond; 0 where none does."""
        return float(np.max(np.abs(self.values[self.oscillates]), initial=0.0))


def step_multipliers(
    problem: Problem, rule: optax.GradientTransformation | Factory, params: Any, state: Any,
    learning_rate: float | None = None, *, data: Source = None, chunk_size: int | None = None, num_modes: int = 6,
    tolerance: float = 1e-4, max_products: int = 1000,
) -> StepMultipliers:  # fmt: skip
    """The multipliers of a rule's linearized step on the expected loss, the furthest from 1.

    The state is taken as it is: Adam's second moment must have come to rest for its closed form to hold, and a rule
    must do the same at each step.

    Args:
      problem: its loss is taken with key None.
      rule: any rule that answers smoothly to the gradient; with `learning_rate` a function of it that gives the rule,
        whose programs are then shared among rates and with `critical_learning_rate`.
      params: the point.
      state: the rule's state there.
      learning_rate: of the rule, > 0, where `rule` is such a function.
      data: as in `curvature.hessian`.
      chunk_size: as in `curvature.hessian`; a rule that calls the loss itself needs all examples at once.
      num_modes: how many, >= 1; all where parameters and state have at most 64 entries.
      tolerance: of |mu - 1|, relative, in (0, 1).
      max_products: the most products, >= 1.

    Returns:
      The multipliers. Cost: `products` products with the Hessian, memory O(num_modes (d + state)) on the host.

    Raises:
      InputError: an argument out of its range, a state of another rule, a step without a finite derivative, updates
        that do not answer to small changes of the gradient (a sign, a limit that is met), no convergence, or a loss
        that `curvature.hessian` does not take.

    Example:
      >>> import jax.numpy as jnp, jaxopt_lab as lab
      >>> bowl = lab.from_loss(lambda w, batch, key: w @ (jnp.array([4.0, 1.0]) * w) / 2, jnp.ones(2))
      >>> rule = optax.sgd(0.45)
      >>> found = step_multipliers(bowl, rule, jnp.ones(2), rule.init(jnp.ones(2)))  # 1 - .45 * 4
      >>> print(f"{found.radius:.3f} {found.values[0].real:.3f}")
      0.800 -0.800
    """
    where = "step_multipliers"
    _require_search(where, num_modes, tolerance, max_products)
    if isinstance(rule, optax.GradientTransformation):
        if learning_rate is not None:
            raise fail(
                where, "learning_rate is given with a rule", "Give it with a function of the rate, such as optax.sgd."
            )
        rule, learning_rate = _Fixed(rule), 1.0
    elif learning_rate is None:
        raise fail(where, f"rule must be an optax.GradientTransformation, got {type(rule).__name__}")
    _require_factory(where, rule, learning_rate)
    step = LinearizedStep(where, problem, rule, (learning_rate, params, state), data, chunk_size)
    return _search(where, step, step.start(), (num_modes, tolerance, max_products))[0]


def critical_learning_rate(
    problem: Problem, factory: Factory, params: Any, state: Any, learning_rate: float, *, data: Source = None,
    chunk_size: int | None = None, accuracy: float = 1e-3, num_modes: int = 6, tolerance: float = 1e-4,
    max_products: int = 1000,
) -> Estimate:  # fmt: skip
    """The learning rate at which the radius of a rule's linearized step crosses 1, at one point and state.

    The rate in use over it is the share of the stability edge, for rules with a closed form and for those without.

    Args:
      problem: as in `step_multipliers`.
      factory: learning rate, a traced scalar -> rule.
      params: the point.
      state: the rule's state there, the same for all rates.
      learning_rate: where the search starts, > 0; it moves by growing factors until the radius is on the other side.
      data: as in `step_multipliers`.
      chunk_size: as in `step_multipliers`.
      accuracy: of the rate, relative, in (0, 1).
      num_modes: as in `step_multipliers`.
      tolerance: as in `step_multipliers`.
      max_products: the most products at a rate.

    Returns:
      The rate; within its interval the radius crosses 1. Only rates that were tried are known. Cost: products.

    Raises:
      InputError: as `step_multipliers`; a factory that gives no rule, or on whose rate the update does not depend; a
        radius that stays on one side of 1 at every rate.

    Example:
      >>> import jax.numpy as jnp, jaxopt_lab as lab
      >>> bowl = lab.from_loss(lambda w, batch, key: w @ (jnp.array([4.0, 1.0]) * w) / 2, jnp.ones(2))
      >>> make = lambda rate: optax.sgd(rate, momentum=0.9)
      >>> found = critical_learning_rate(bowl, make, jnp.ones(2), make(0.1).init(jnp.ones(2)), 0.1)
      >>> print(f"{found.value:.3f}")  # 2 (1 + .9) / 4
      0.950
    """
    where = "critical_learning_rate"
    _require_search(where, num_modes, tolerance, max_products)
    require_between(where, "accuracy", accuracy, 0, 1, ends="()")
    _require_factory(where, factory, learning_rate)
    step = LinearizedStep(where, problem, factory, (learning_rate, params, state), data, chunk_size)
    step.require_rate()
    edge = _Edge(where, step, (num_modes, tolerance, max_products))
    low, high = edge.bracket(learning_rate)
    while high > low * (1 + accuracy):
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if edge.is_beyond(middle) else (middle, high)
    return Estimate(float(np.sqrt(low * high)), interval=(low, high), level=1.0, cost=edge.products)


class _Edge:
    """On which side of 1 the radius is, rate by rate; each search starts from the last one's mode."""

    def __init__(self, where: str, step: LinearizedStep, limits: tuple[int, float, int]) -> None:
        self._where, self._step, self._limits = where, step, limits
        self._start, self.products = step.start(), 0

    def is_beyond(self, rate: float) -> bool:
        """Whether the radius is at least 1 at a rate."""
        found, self._start = _search(self._where, self._step.at(rate), self._start, self._limits)
        self.products += found.products
        return found.radius >= 1

    def bracket(self, rate: float) -> tuple[float, float]:
        """(rate below the edge, rate beyond it), the nearer to the start the closer together."""
        beyond, factor = self.is_beyond(rate), _FIRST_FACTOR
        for _ in range(_MOST_FACTORS):
            last, rate = rate, rate / factor if beyond else rate * factor
            if self.is_beyond(rate) != beyond:
                return (rate, last) if beyond else (last, rate)
            factor **= 2
        side = "beyond" if beyond else "within"
        raise fail(
            self._where, f"the step is {side} its edge at every rate that was tried, to {rate:.3g}",
            "Its edge does not depend on the rate; look at step_multipliers.",
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Fixed:
    """A rule as the factory of itself; equal where the rule is, to share programs."""

    rule: optax.GradientTransformation

    def __call__(self, rate: Any) -> optax.GradientTransformation:
        del rate
        return self.rule


def _require_factory(where: str, factory: Factory, learning_rate: float) -> None:
    require_positive(where, "learning_rate", learning_rate)
    rule = factory(learning_rate)
    if not isinstance(rule, optax.GradientTransformation):
        raise fail(where, f"factory must return an optax.GradientTransformation, got {type(rule).__name__}")


def _require_search(where: str, num_modes: int, tolerance: float, max_products: int) -> None:
    require_count(where, "num_modes", num_modes)
    require_between(where, "tolerance", tolerance, 0, 1, ends="()")
    require_count(where, "max_products", max_products)


def _search(
    where: str, step: LinearizedStep, start: np.ndarray, limits: tuple[int, float, int]
) -> tuple[StepMultipliers, np.ndarray]:
    """The multipliers, and a vector to start the next search from."""
    num_modes, tolerance, max_products = limits
    if step.size <= max(_DENSE, num_modes + 2):
        matrix = np.stack([step(column) for column in np.eye(step.size)], axis=1)
        values, vectors = np.linalg.eig(matrix)
        moved = matrix @ vectors
    else:
        values, vectors = _arnoldi(where, step, start, num_modes, tolerance, max_products)
        moved = np.stack([_moved(step, column) for column in vectors.T], axis=1)
    residuals = np.linalg.norm(moved - vectors * values, axis=0)
    order = np.argsort(-np.abs(values))
    found = StepMultipliers(1 + values[order], residuals[order], step.products, step.num_held)
    return found, vectors[:, order[0]].real


def _moved(step: LinearizedStep, mode: np.ndarray) -> np.ndarray:
    """(J - 1) mode, of a real one by one product."""
    return step(mode.real) + 1j * step(mode.imag) if mode.imag.any() else step(mode.real)


def _arnoldi(
    where: str, step: LinearizedStep, start: np.ndarray, num_modes: int, tolerance: float, max_products: int
) -> tuple[np.ndarray, np.ndarray]:
    rows = min(step.size - 1, 2 * num_modes + _SPARE)
    operator = LinearOperator((step.size, step.size), matvec=step, dtype=np.float64)  # pyrefly: ignore
    try:
        return eigs(operator, k=num_modes, v0=start, ncv=rows, tol=tolerance,
                    maxiter=max(1, max_products // (rows - num_modes)))  # fmt: skip
    except ArpackNoConvergence as error:
        raise fail(
            where, f"{len(error.eigenvalues)} of {num_modes} multipliers converged in {step.products} products",
            "Whether the step is stable cannot be told: give more max_products, or a larger tolerance.",
        ) from error  # fmt: skip
