"""The step of any rule as a linear map of what it starts from: parameters and state in, parameters and state out.

    F(w, s) = (w + u, s'),   (u, s') = rule(grad f(w), s, w)        J = dF / d(w, s)

A product with J is one with the Hessian and one forward derivative of the update. What no parameter reaches is held:
counters, keys, a rate or a decay that lies in the state; so are entries of the parameters that the loss does not depend
on. Neither changes the multipliers of the rest, because the rest does not act on them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab.core import Problem, fail, vectors
from jaxopt_lab.core.compilation import compiled
from jaxopt_lab.core.errors import reason
from jaxopt_lab.core.vectors import parameter_paths
from jaxopt_lab.curvature.operators import Operator, random_vector
from jaxopt_lab.curvature.points import ExpectedLoss, locate
from jaxopt_lab.curvature.products import hessian
from jaxopt_lab.curvature.streams import Source

Factory = Callable[[Any], optax.GradientTransformation]

_AWAY = -1e3  # times the gradient: a sign, or a limit that is met, is another one there
_SEED = 0


class Place(NamedTuple):
    """What the step is taken from, and what it takes besides.

    Attributes:
      rate: what the rule's factory is called with.
      params: the parameters.
      grads: the gradient there.
      value: the loss there.
      state: the rule's state.
      loss: (params, batch) -> scalar, None where the examples do not come at once.
      batch: the examples.
      unused: like the parameters, whether the loss does not depend on an entry.
    """

    rate: Any
    params: Any
    grads: Any
    value: Any
    state: Any
    loss: ExpectedLoss | None
    batch: Any
    unused: Any


class LinearizedStep:
    """J - 1 on vectors [n] of float64: the entries that are used, and the leaves of the state that they reach.

    Attributes:
      size: n.
      num_held: entries of the parameters that the loss does not depend on.
      products: products made so far.
    """

    def __init__(
        self, where: str, problem: Problem, factory: Factory, place: tuple[Any, Any, Any], data: Source,
        chunk_size: int | None,
    ) -> None:  # fmt: skip
        """The step at (rate, params, state).

        Raises:
          InputError: see `step_multipliers`.
        """
        rate, params, state = place
        self._where, self._factory, self.products = where, factory, 0
        self._hessian: Operator = hessian(problem, params, data=data, chunk_size=chunk_size)
        point = locate(problem, params, data, chunk_size)
        at_once = point.chunks.num_chunks == 1
        batch = next(iter(point.chunks))[0] if at_once else None
        unused = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, bool), point.params)
        self._place = Place(
            jnp.asarray(rate, float), point.params, point.gradient, jnp.asarray(point.value, float), state,
            point.loss if at_once else None, batch, unused,
        )  # fmt: skip
        self._require_fit()
        self._probe = random_vector(jax.random.key(_SEED), self._hessian.like)
        self._curved = self._hessian(self._probe)
        unused = jax.tree.map(lambda g, h: (g == 0) & (h == 0), point.gradient, self._curved)
        self._place = self._place._replace(unused=unused)
        used = [~np.asarray(leaf).ravel() for leaf in jax.tree.leaves(unused)]
        self.num_held = int(sum(np.sum(~leaf) for leaf in used))
        self._require_dependence(problem.name)
        self._scales = self._reach()
        parts = used + [
            np.full(jnp.size(leaf), scale > 0) for leaf, scale in zip(self._floats, self._scales, strict=True)
        ]
        self._active = np.flatnonzero(np.concatenate(parts))
        self.size = len(self._active)
        self._require_answers()

    def at(self, rate: float) -> "LinearizedStep":
        """The same step at another rate; shares the programs."""
        other = object.__new__(LinearizedStep)
        other.__dict__ = self.__dict__ | {"_place": self._place._replace(rate=jnp.asarray(rate, float)), "products": 0}
        return other

    def require_rate(self) -> None:
        """Raises unless the update answers in another way at twice the rate."""
        one, other = (step._answers() for step in (self, self.at(2 * float(self._place.rate))))
        if all(bool(jnp.all(a == b)) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)):
            raise fail(
                self._where, "the update is the same at twice the rate",
                "Give a factory whose rate is an argument, not one that keeps it in the state.",
            )  # fmt: skip

    def start(self) -> np.ndarray:
        """A vector to start from: of the parameters alone, the state as it follows."""
        return self._flat(self._probe, [jnp.zeros_like(leaf) for leaf in self._floats])

    def __call__(self, vector: np.ndarray) -> np.ndarray:
        """(J - 1) vector."""
        vector = np.asarray(vector, np.float64).ravel()
        tangent, floats = self._split(vector)
        self.products += 1
        _, moved, after = self._forward(tangent, self._hessian(tangent), floats)
        answer = self._flat(moved, after) - vector
        if not np.all(np.isfinite(answer)):
            raise fail(self._where, f"product {self.products} with the linearized step is not finite")
        return answer

    @property
    def _floats(self) -> list[Any]:
        return _floating(self._place.state)

    def _forward(self, params: Any, grads: Any, floats: list[Any]) -> Any:
        """Tangents of (updates, parameters after the step, floating leaves of the state after it)."""
        return compiled(_tangents, (self._factory,), self._place)(self._place, params, grads, floats)

    def _updates(self, factor: float) -> Any:
        """The update for a multiple of the gradient."""
        return compiled(_updates, (self._factory,), self._place)(self._place, factor)

    def _split(self, vector: np.ndarray) -> tuple[Any, list[Any]]:
        leaves, structure = jax.tree.flatten(self._place.params)
        shapes = [*leaves, *self._floats]
        whole = np.zeros(sum(jnp.size(leaf) for leaf in shapes))
        whole[self._active] = vector
        ends = np.cumsum([jnp.size(leaf) for leaf in shapes])[:-1]
        scales = [1.0] * len(leaves) + self._scales
        parts = [
            jnp.asarray(scale * part.reshape(jnp.shape(leaf)), jnp.result_type(leaf))
            for scale, part, leaf in zip(scales, np.split(whole, ends), shapes, strict=True)
        ]
        return structure.unflatten(parts[: len(leaves)]), parts[len(leaves) :]

    def _flat(self, params: Any, floats: list[Any]) -> np.ndarray:
        scales = [1.0] * len(jax.tree.leaves(params)) + [scale or 1.0 for scale in self._scales]
        parts = [
            np.asarray(leaf, np.float64).ravel() / scale
            for leaf, scale in zip([*jax.tree.leaves(params), *floats], scales, strict=True)
        ]
        return np.concatenate(parts)[self._active]

    def _reach(self) -> list[float]:
        """The size of each floating leaf's answer to the parameters, 0 where they do not reach it."""
        scales = [0.0] * len(self._floats)
        zeros = [jnp.zeros_like(leaf) for leaf in self._floats]
        tangent, floats = self._probe, zeros
        for _ in range(len(scales) + 1):
            _, moved, after = self._forward(tangent, self._hessian(tangent), floats)
            self._require_finite(moved, after)
            sizes = [float(np.sqrt(np.mean(np.square(np.asarray(leaf, np.float64))))) for leaf in after]
            found = [scale or size for scale, size in zip(scales, sizes, strict=True)]
            if [scale > 0 for scale in found] == [scale > 0 for scale in scales]:
                break
            scales, tangent, floats = found, moved, after
        return scales

    def _require_fit(self) -> None:
        """Raises unless the rule takes a step from this state, and leaves one like it."""
        try:
            after = jax.eval_shape(lambda place: _step(self._factory, place, 1.0)[1], self._place)
        except Exception as error:
            raise fail(
                self._where, f"the rule takes no step from these parameters and this state {reason(error)}",
                "Give the state that rule.init or a run left; a rule that needs the loss takes all examples at once.",
            ) from error  # fmt: skip
        if jax.tree.structure(after) != jax.tree.structure(self._place.state):
            raise fail(
                self._where, "the step leaves a state of another structure than this one", "Give the rule's own."
            )

    def _require_dependence(self, name: str) -> None:
        if self.num_held == vectors.size(self._place.params):
            raise fail(
                self._where, f"gradient and Hessian of {name} are zero here, so that no step depends on the point",
                "Take another point.",
            )  # fmt: skip

    def _require_finite(self, params: Any, floats: list[Any]) -> None:
        for path, leaf in zip(parameter_paths(params), jax.tree.leaves(params), strict=True):
            num = int(jnp.sum(~jnp.isfinite(leaf)))
            if num:
                raise fail(
                    self._where,
                    f"the step has no finite derivative at {num} of {leaf.size} entries of {path or 'the parameters'}",
                    "A square root at zero has none: take a point after a few steps.",
                )  # fmt: skip
        if not all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in floats):
            raise fail(self._where, "the step has no finite derivative in the rule's state", "Take another point.")

    def _require_answers(self) -> None:
        """Raises where an update does not answer to small changes of the gradient, though it does to large ones."""
        answers = self._answers()
        near, away = self._updates(1.0), self._updates(_AWAY)
        flat = jax.tree.map(lambda answer, one, other: (answer == 0) & (one != other), answers, near, away)
        for path, leaf in zip(parameter_paths(flat), jax.tree.leaves(flat), strict=True):
            if bool(jnp.any(leaf)):
                raise fail(
                    self._where,
                    f"{int(jnp.sum(leaf))} of {leaf.size} updates of {path or 'the parameters'} do not answer to small"
                    " changes of the gradient, as those of a sign or of a limit that is met",
                    "Its linearization tells nothing of stability; curvature.critical_sharpness along the update does.",
                )  # fmt: skip
        if not any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(answers)):
            raise fail(
                self._where, "no update answers to the gradient at this step",
                "Of a rule that moves at some steps alone, take the state before such a step.",
            )  # fmt: skip

    def _answers(self) -> Any:
        """What the updates answer to a random change of the gradient and of the state, the parameters held."""
        drawn = random_vector(jax.random.key(_SEED + 1), self._hessian.like)
        floats = [scale * jnp.ones_like(leaf) for scale, leaf in zip(self._scales, self._floats, strict=True)]
        return self._forward(jax.tree.map(jnp.zeros_like, drawn), _in_size_of(drawn, self._place.grads), floats)[0]


def _in_size_of(drawn: Any, grads: Any) -> Any:
    """A random vector whose leaves are as large as those of the gradient, or of size 1 where that is zero."""

    def scaled(leaf: jax.Array, grad: jax.Array) -> jax.Array:
        size = jnp.sqrt(jnp.mean(jnp.square(grad)))
        return jnp.where(size > 0, size, 1) * leaf

    return jax.tree.map(scaled, drawn, grads)


def _floating(state: Any) -> list[Any]:
    """The leaves of a state that have tangents."""
    return [leaf for leaf in jax.tree.leaves(state) if vectors.is_floating(leaf)]


def _with_floating(state: Any, floats: list[Any]) -> Any:
    leaves, structure = jax.tree.flatten(state)
    new = iter(floats)
    return structure.unflatten([next(new) if vectors.is_floating(leaf) else leaf for leaf in leaves])


def _step(factory: Factory, place: Place, factor: Any) -> tuple[Any, Any]:
    """(updates, state after the step), for a multiple of the gradient."""
    extra = {"value": place.value, "grad": jax.tree.map(lambda leaf: factor * leaf, place.grads)}
    loss = place.loss
    if loss is not None:
        extra["value_fn"] = lambda params, *_, **__: loss(params, place.batch)
        extra["grad_fn"] = lambda params, *_, **__: jax.grad(loss)(params, place.batch)
    rule = optax.with_extra_args_support(factory(place.rate))
    updates, after = rule.update(extra["grad"], place.state, place.params, **extra)
    return jax.tree.map(lambda unused, leaf: jnp.where(unused, 0, leaf), place.unused, updates), after


def _updates(factory: Factory, place: Place, factor: Any) -> Any:
    return _step(factory, place, factor)[0]


def _tangents(factory: Factory, place: Place, params: Any, grads: Any, floats: list[Any]) -> Any:
    slope = vectors.dot(place.grads, params).astype(place.value.dtype)

    def advance(params: Any, grads: Any, value: Any, floats: list[Any]) -> Any:
        moved = place._replace(params=params, grads=grads, value=value, state=_with_floating(place.state, floats))
        updates, after = _step(factory, moved, 1.0)
        return updates, optax.apply_updates(params, updates), _floating(after)

    here = (place.params, place.grads, place.value, _floating(place.state))
    return jax.jvp(advance, here, (params, grads, slope, floats))[1]
