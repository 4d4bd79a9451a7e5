"""The loss around a point as its gradient sees it: which curvatures the gradient lies in, and how fast each rule goes.

    f(w + s) = f(w) + <g, s> + s'Hs / 2,      mu_g = sum_i <g, v_i>^2 [lambda_i]

k Hessian products from g give the k nodes and weights that predict the first k steps of every linear method exactly,
and later ones as a Gauss quadrature does. What is left after t steps of a two-step method is

    R(t) = sum_i w_i / (2 lambda_i) r_t(lambda_i)^2,      R(0) = what there is to gain

over the nodes with positive curvature. For a rule that divides by P, H is P^-1/2 H P^-1/2 and g is P^-1/2 g.

Reference: Golub and Meurant 2010, Matrices, moments and quadrature, chapter 7; Pedregosa and Scieur 2020.
"""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import curvature, theory
from jaxopt_lab.core import Problem, vectors
from jaxopt_lab.core.problem import as_partial
from jaxopt_lab.curvature.quadratures import Quadrature, gauss_quadrature_of, gauss_quadratures
from jaxopt_lab.diagnosis.budget import PRODUCT, Budget, Skipped
from jaxopt_lab.diagnosis.gradient_noise import is_quadratic, value_and_gradient

if TYPE_CHECKING:
    from jaxopt_lab.diagnosis.evidence import Evidence

_MOST_STEPS = 1e12
_whitened = jax.jit(functools.partial(jax.tree.map, lambda leaf, scale: leaf / jnp.sqrt(scale)))
_MOMENTA = 1 - np.concatenate([[1.0], np.geomspace(0.5, 1e-4, 12)])


@dataclasses.dataclass(frozen=True)
class Method:
    """A two-step method: the rule in use, or one to compare it with.

    Attributes:
      learning_rate: step size.
      rho: momentum.
      lookahead: 0 for heavy ball, rho for Nesterov.
    """

    learning_rate: float
    rho: float = 0.0
    lookahead: float = 0.0


@dataclasses.dataclass(frozen=True)
class QuadraticModel:
    """The measure of a gradient over the curvatures, and the ends of the spectrum.

    Attributes:
      eigenvalues: nodes in increasing order, [k].
      weights: the gradient's square in each, [k].
      largest: largest Ritz value, a lower bound on the largest eigenvalue.
      smallest: smallest Ritz value, an upper bound on the smallest eigenvalue.
      error: the larger of the two ends' residuals.
      rounding: error of an eigenvalue from rounding.
      loss: at the point.
      products: Hessian products spent.
      preconditioned: whether it is seen through the rule's own preconditioner.
    """

    eigenvalues: np.ndarray
    weights: np.ndarray
    largest: float
    smallest: float
    error: float
    rounding: float
    loss: float
    products: int
    preconditioned: bool = False

    @property
    def gradient_square(self) -> float:
        """|g|^2."""
        return float(self.weights.sum())

    @property
    def floor(self) -> float:
        """Below this an eigenvalue cannot be told from zero."""
        return max(self.rounding, 1e-7 * self.largest)

    @property
    def has_negative(self) -> bool:
        """Whether negative curvature is certified: a Rayleigh quotient lies below zero by more than rounding."""
        return self.smallest < -10 * self.floor

    @property
    def condition_interval(self) -> tuple[float, float]:
        """Bounds on the condition number of the part that the gradient has seen; the upper one may be infinite."""
        seen = self.eigenvalues[self._bowl]
        low = self.largest / seen.min() if len(seen) else float("nan")
        return low, (float("inf") if self.smallest < self.error else self.largest / (self.smallest - self.error))

    @property
    def _bowl(self) -> np.ndarray:
        heavy = self.weights > 1e-12 * max(self.gradient_square, 1e-300)
        return (self.eigenvalues > self.floor) & heavy

    def gains(self, ceiling: float = np.inf) -> np.ndarray:
        """What each node has to give, w / (2 lambda), none more than `ceiling`; 0 outside of the bowl. Shape [k]."""
        gains = np.where(self._bowl, self.weights / (2 * np.where(self._bowl, self.eigenvalues, 1.0)), 0.0)
        return np.minimum(gains, ceiling)

    def gap(self, ceiling: float = np.inf) -> float:
        """What the bowl has to give in all, at most `ceiling`."""
        return float(min(self.gains(ceiling).sum(), ceiling))

    def decrease(self, steps: float, method: Method) -> float:
        """How far the loss falls in so many steps; on a quadratic exact up to as many steps as there are nodes."""
        return self.gap() * (1 - self.remaining(steps, method))

    def remaining(self, steps: float, method: Method, ceiling: float = np.inf) -> float:
        """The share of the gap that is left after so many steps; the gap itself is that of the nodes."""
        gains = self.gains(ceiling)
        if not gains.any():
            return 0.0
        bowl = gains > 0
        value = theory.modes.mode_value(
            np.floor(steps), method.learning_rate, self.eigenvalues[bowl], method.rho, method.lookahead
        )
        with np.errstate(over="ignore"):
            return float((gains[bowl] * np.square(value)).sum() / gains.sum())

    def steps_to(self, share: float, method: Method, ceiling: float = np.inf) -> float:
        """First steps after which at most `share` of the gap is left, to 1 %; inf for a method that diverges."""
        if method.learning_rate * self.largest >= theory.stability.two_step_edge(method.rho, method.lookahead):
            return float("inf")
        low, high = 0.0, 1.0
        while self.remaining(high, method, ceiling) > share:
            low, high = high, 2 * high
            if high > _MOST_STEPS:
                return float("inf")
        while high - low > max(1.0, 0.01 * high):
            middle = np.floor((low + high) / 2)
            low, high = (middle, high) if self.remaining(middle, method, ceiling) > share else (low, middle)
        return high

    def best_learning_rate(self, method: Method, share: float = 0.1, ceiling: float = np.inf) -> Method:
        """The method at the learning rate that takes the fewest steps; as it is where nothing curves."""
        if self.largest <= 0:
            return method
        edge = float(theory.stability.two_step_edge(method.rho, method.lookahead)) / (self.largest + self.error)
        tries = [dataclasses.replace(method, learning_rate=edge * c) for c in (0.98, 0.9, 0.75, 0.5, 0.25, 0.12, 0.06)]
        return min(tries, key=lambda each: self.steps_to(share, each, ceiling))

    def best_heavy_ball(self, share: float = 0.1, ceiling: float = np.inf, steps: int = 0) -> Method:
        """Heavy ball at the momentum and the rate that take the fewest steps, or after `steps` leave the least."""
        bound = self.largest + self.error  # at its fastest heavy ball stands at the edge
        tries = [Method(float((1 + np.sqrt(rho)) ** 2) / bound * 0.98, float(rho)) for rho in _MOMENTA]
        if steps:
            return min(tries, key=lambda each: self.remaining(steps, each, ceiling))
        return min(tries, key=lambda each: self.steps_to(share, each, ceiling))


@dataclasses.dataclass(frozen=True)
class Curvature:
    """The loss around two places.

    Attributes:
      point: around the point.
      end: around the end of the run, or None.
      standardized: around the point on standardized inputs, where theirs are far from it, or None.
      is_quadratic: whether the trapezoidal rule gives the change of the loss on the way, as on every quadratic.
    """

    point: QuadraticModel
    end: QuadraticModel | None = None
    standardized: QuadraticModel | None = None
    is_quadratic: bool = False


def measure_model(
    operator: curvature.Operator, gradient: Any, loss: float, *, num_products: int, num_random: int, seed: int,
    preconditioner: Any = None,
) -> QuadraticModel:  # fmt: skip
    """Measures the model with `num_products` products from the gradient and `num_random` from a random vector.

    Args:
      operator: the Hessian at the point.
      gradient: like the parameters.
      loss: at the point.
      num_products: k, fewer where the Krylov space closes; 0 products are spent on a zero gradient.
      num_random: products that look for directions in which the gradient has no part.
      seed: seeds the random vector.
      preconditioner: P, a pytree of positive arrays, or None.

    Returns:
      The model.
    """
    if preconditioner is not None:
        operator = curvature.preconditioned(operator, preconditioner)
        gradient = _whitened(gradient, preconditioner)
    square = float(vectors.sum_of_squares(gradient))
    key = jax.random.key(seed)
    rules = list(gauss_quadratures(operator, 1, num_random, key))
    nodes, weights = np.zeros(0), np.zeros(0)
    if square > 0:
        along = gauss_quadrature_of(operator, gradient, num_products, key)
        rules.append(along)
        nodes, weights = along.rule
    ends = np.array([_ends(rule) for rule in rules])
    top, bottom = ends[:, 0].argmax(), ends[:, 2].argmin()
    return QuadraticModel(
        eigenvalues=nodes,
        weights=square * weights,
        largest=float(ends[top, 0]),
        smallest=float(ends[bottom, 2]),
        error=float(max(ends[top, 1], ends[bottom, 3])),
        rounding=max(rule.rounding for rule in rules),
        loss=loss,
        products=sum(rule.products for rule in rules),
        preconditioned=preconditioner is not None,
    )


def _ends(rule: Quadrature) -> tuple[float, float, float, float]:
    """Largest Ritz value and its residual, smallest Ritz value and its residual."""
    values, rotation = np.linalg.eigh(rule.matrix)
    residuals = np.abs(rule.coupling @ rotation) + rule.rounding
    return values[-1], residuals[-1], values[0], residuals[0]


def measure_curvature(evidence: "Evidence", budget: Budget) -> Curvature | Skipped:
    """The quadratic models: where the run stood still, all products at the point; else most where it ended.

    A deterministic run of a rule whose edge is known needs no other rates: what those cost goes into products.
    """
    setting, run = evidence.setting, evidence.run
    moved = run is not None and not run.diverged and not evidence.is_stationary
    adaptive = setting.optimizer.kind == "adaptive"
    linear = not evidence.is_random and setting.optimizer.kind in ("gradient descent", "heavy ball", "Nesterov")
    at_point, at_end = ((6, 3), (42 if linear else 20, 4)) if moved else ((20, 8), (12, 4) if adaptive else (0, 0))
    point = _paid_model(evidence, setting.params, None, setting.opt_state if adaptive else None, at_point, budget)
    if point is None:
        return budget.skipped["curvature"]
    end = None
    if any(at_end) and run is not None and not run.diverged:
        state = run.state if adaptive else None
        end = _paid_model(evidence, run.params, run.model_state, state, at_end, budget)
    if not (moved and linear and run is not None and run.model_state is None):
        return Curvature(point, end)
    return Curvature(point, end, is_quadratic=is_quadratic(setting.problem, setting.params, run.params))


def _paid_model(
    evidence: "Evidence", params: Any, model_state: Any, state: Any, counts: tuple[int, int], budget: Budget
) -> QuadraticModel | None:
    """The model with so many products in a budget of 200; None where they are not to be had."""
    num_along, num_random = (max(2, round(count * budget.total / 200)) for count in counts)
    if not budget.allows("curvature", (num_along + num_random) * PRODUCT):
        return None
    setting = evidence.setting
    model = budget.attempt("curvature", lambda: model_around(
        setting.problem, params, model_state, state, (num_along, num_random), setting.seed, setting.optimizer.b2
    ))  # fmt: skip
    if model is not None:
        budget.pay(model.products * PRODUCT)
    return model


def model_around(
    problem: Problem, params: Any, model_state: Any, state: Any, counts: tuple[int, int], seed: int, b2: float = np.nan
) -> QuadraticModel:
    """The model with `counts` products along the gradient and at random; preconditioned where the state tells how."""
    frozen = problem.freeze(model_state)
    loss, gradient = value_and_gradient(as_partial(frozen.loss), params, frozen.data)
    preconditioner = None
    if state is not None:
        try:
            preconditioner = diagonal_of(state, b2, params)
        except ValueError:
            preconditioner = None
    return measure_model(
        curvature.hessian(frozen, params), gradient, float(loss), num_products=counts[0], num_random=counts[1],
        seed=seed, preconditioner=preconditioner,
    )  # fmt: skip


def diagonal_of(state: Any, b2: float, params: Any) -> Any:
    """What the rule divides its step by, in the parameters' structure; `b2` is NaN where it is not known.

    Raises:
      ValueError: the state does not tell it for all of them.
    """
    tree = curvature.preconditioner_of(state, **({"b2": b2} if 0 <= b2 < 1 else {}))
    known = vectors.leaves_by_path(tree)
    paths = vectors.parameter_paths(params)
    if not known.keys() >= set(paths):
        raise ValueError("the rule's state holds no second moment for some of the parameters")
    return jax.tree.unflatten(jax.tree.structure(params), [known[path] for path in paths])
