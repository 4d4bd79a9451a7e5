"""Learning-rate schedules that run under jit and vmap with traced arguments: unit shape times traced peak.

optax's own reject a traced number in places (cosine with traced steps, exponential decay with a traced rate); these are
equal to them where both exist. A schedule maps the number of updates so far to a learning rate.

    Scheduled(rules.heavy_ball, "warmup_cosine", steps=2000, warmup=100)

is a factory like `rules.heavy_ball` whose `learning_rate` is the schedule's peak, so that a sweep searches it.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core.errors import require_between, require_choice, require_count, require_finite, require_positive

Schedule = Callable[[Any], Any]
Number = float | jax.Array


def constant(peak: Number) -> Schedule:
    """lr(t) = peak."""
    return lambda count: peak * jnp.ones_like(jnp.asarray(count, float))


def cosine(peak: Number, steps: Number, end: Number = 0.0) -> Schedule:
    """Half a cosine from `peak` at 0 to `end` times peak at `steps`, and constant from there.

    Reference: Loshchilov and Hutter, SGDR, 2017, eq. 5.
    """
    _check("cosine", peak=peak, steps=steps)
    require_between("cosine", "end", end, 0, 1)
    return lambda count: peak * _cosine(_share(count, steps), end)


def warmup_cosine(peak: Number, steps: Number, warmup: Number, end: Number = 0.0) -> Schedule:
    """Linear from 0 to `peak` in `warmup` steps, then half a cosine to `end` times peak at `steps`."""
    _check("warmup_cosine", peak=peak, steps=steps, warmup=warmup)
    require_between("warmup_cosine", "end", end, 0, 1)

    def rate(count: Any) -> Any:
        shape = _cosine(_share(_time(count) - warmup, steps - warmup), end)
        return peak * jnp.where(_time(count) < warmup, _share(count, warmup), shape)

    return rate


def step_decay(peak: Number, every: Number, factor: Number = 0.1) -> Schedule:
    """peak factor^floor(t / every): the lecture's drops."""
    _check("step_decay", peak=peak, every=every, factor=factor)
    _check_decay("step_decay", factor)
    return lambda count: peak * jnp.power(factor, jnp.floor(_time(count) / every))


def exponential_decay(peak: Number, every: Number, factor: Number) -> Schedule:
    """peak factor^(t / every)."""
    _check("exponential_decay", peak=peak, every=every, factor=factor)
    _check_decay("exponential_decay", factor)
    return lambda count: peak * jnp.power(factor, _time(count) / every)


def inverse_time(peak: Number, scale: Number) -> Schedule:
    """peak / (1 + t / scale): 1/t in the end, whose sum diverges and whose sum of squares does not.

    Reference: Robbins and Monro, A stochastic approximation method, 1951.
    """
    _check("inverse_time", peak=peak, scale=scale)
    return lambda count: peak / (1 + _time(count) / scale)


def warmup_stable_decay(peak: Number, steps: Number, warmup: Number, decay: Number, end: Number = 0.0) -> Schedule:
    """Linear up in `warmup` steps, then peak, then linear down to `end` times peak in the last `decay` of `steps`.

    Reference: Hu et al., MiniCPM, arXiv 2404.06395, 2024, section 4.2.
    """
    _check("warmup_stable_decay", peak=peak, steps=steps, warmup=warmup, decay=decay)
    require_between("warmup_stable_decay", "end", end, 0, 1)

    def rate(count: Any) -> Any:
        down = 1 - (1 - end) * _share(_time(count) - (steps - decay), decay)
        return peak * jnp.minimum(_share(count, warmup), down)

    return rate


def inverse_square_root(peak: Number, warmup: Number) -> Schedule:
    """Linear from 0 to `peak` in `warmup` steps, then peak sqrt(warmup / t).

    Reference: Vaswani et al., Attention is all you need, 2017, eq. 3.
    """
    _check("inverse_square_root", peak=peak, warmup=warmup)
    return lambda count: peak * jnp.minimum(_share(count, warmup), jnp.sqrt(warmup / jnp.maximum(_time(count), 1.0)))


SHAPES: dict[str, Callable[..., Schedule]] = {
    "constant": constant,
    "cosine": cosine,
    "warmup_cosine": warmup_cosine,
    "step": step_decay,
    "exponential": exponential_decay,
    "inverse_time": inverse_time,
    "warmup_stable_decay": warmup_stable_decay,
    "inverse_square_root": inverse_square_root,
}


@dataclasses.dataclass(frozen=True, init=False)
class Scheduled:
    """A rule's factory whose `learning_rate` is the peak of a schedule; equal ones share a compiled program.

    Args:
      factory: hyperparameters -> rule, with a `learning_rate` that may be a schedule.
      shape: a name of `SHAPES`.
      **fixed: the schedule's arguments that are not searched. A hyperparameter of the sweep with the name of another
        argument of the schedule goes to the schedule.

    Raises:
      InputError: no such shape, or an argument that it does not take.
    """

    factory: Callable[..., optax.GradientTransformation]
    shape: str
    fixed: tuple[tuple[str, float], ...]

    def __init__(self, factory: Callable[..., optax.GradientTransformation], shape: str, **fixed: float) -> None:
        require_choice("Scheduled", "shape", shape, SHAPES)
        for name, value in fixed.items():
            require_choice("Scheduled", f"an argument of {shape}", name, arguments_of(shape))
            require_finite("Scheduled", f"{name} of {shape}", value)
        object.__setattr__(self, "factory", factory)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "fixed", tuple(sorted(fixed.items())))

    def __call__(self, learning_rate: Number, **hyperparameters: Any) -> optax.GradientTransformation:
        """The rule at one peak and the other hyperparameters."""
        own = {name: hyperparameters.pop(name) for name in arguments_of(self.shape) if name in hyperparameters}
        rate = SHAPES[self.shape](learning_rate, **(dict(self.fixed) | own))
        return self.factory(learning_rate=rate, **hyperparameters)


def arguments_of(shape: str) -> tuple[str, ...]:
    """The names of a schedule's arguments after its peak."""
    code = SHAPES[shape].__code__
    return code.co_varnames[1 : code.co_argcount]


def _time(count: Any) -> Any:
    return jnp.asarray(count, float)


def _share(count: Any, steps: Any) -> Any:
    time = _time(count)
    return jnp.clip(jnp.where(time < steps, time / jnp.where(steps > 0, steps, 1.0), 1.0), 0.0, 1.0)


def _cosine(share: Any, end: Any) -> Any:
    return end + (1 - end) * 0.5 * (1 + jnp.cos(jnp.pi * share))


def _check(where: str, **numbers: Any) -> None:
    for name, value in numbers.items():
        require_positive(where, name, value)
        if isinstance(value, int):
            require_count(where, name, value)


def _check_decay(where: str, factor: Number) -> None:
    require_between(where, "factor", factor, 0, 1, ends="(]", why="A rate that grows again and again overflows.")
