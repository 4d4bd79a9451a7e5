"""`Problem`: the one type that every part of the package takes.

A problem is a pure loss of (params, batch, key) that is a mean over the batch's examples, a way to make
initial parameters, the data, and what is known exactly about it. By convention `key=None` asks for the expected
loss: no sampling, no additive noise, no dropout.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core.batches import Batches, as_data, first_batch, materialized
from jaxopt_lab.core.leaves import count_examples
from jaxopt_lab.core.summaries import summary, summary_line

Params = Any
Batch = Any
Key = jax.Array
Loss = Callable[[Params, Batch, Key | None], jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Truth:
    """What is known exactly about a problem; None where nothing is. A pytree, so that probes may read it when compiled.

    Attributes:
      eigenvalues: the Hessian's eigenvalues at the minimizer, shape [d].
      smoothness: largest eigenvalue L.
      strong_convexity: smallest eigenvalue mu.
      minimum: the smallest expected loss.
      minimizer: a pytree like the parameters at which it is reached; a scalar leaf stands for a constant array.
      index: number of negative Hessian eigenvalues at the point of interest.
      noise_variance: variance of the additive gradient noise, per coordinate.
    """

    eigenvalues: jax.Array | None = None
    smoothness: float | None = None
    strong_convexity: float | None = None
    minimum: float | None = None
    minimizer: Params = None
    index: int | None = None
    noise_variance: float | None = None

    @property
    def condition_number(self) -> float | None:
        """kappa = L / mu, or None when either is unknown."""
        if self.smoothness is None or self.strong_convexity is None:
            return None
        return self.smoothness / self.strong_convexity


@dataclasses.dataclass(frozen=True)
class Separable:
    """The form of a loss that is a sum over coordinates, which lets the engine run it in cache-sized chunks.

    Attributes:
      loss: (params [c], constants with leaves [c]) -> scalar, the sum over any c of the coordinates.
      constants: a pytree of arrays with leading axis d.
    """

    loss: Callable[[jax.Array, Any], jax.Array]
    constants: Any


@dataclasses.dataclass(frozen=True)
class Composite:
    """The form loss = criterion(outputs(params, batch), batch), which Gauss-Newton and Fisher operators need.

    Attributes:
      outputs: (params, batch) -> outputs with leading axis n, deterministic.
      criterion: (outputs, batch) -> scalar, the mean over the batch's examples, convex in the outputs.
      family: the likelihood whose negative logarithm the criterion is: "categorical" (outputs are logits [n, ..., c]),
        "bernoulli" (logits [n, ...]), "gaussian" (means; half the sum of squared errors), or None.
      in_chunks: for outputs too many to be held at once, (parts, product): parts (params, batch) -> a pytree from which
        the outputs are made, and product (parts, tangents, batch) -> the criterion's Gauss-Newton matrix with respect
        to the parts, times tangents of them; else None.
    """

    outputs: Callable[[Params, Batch], Any]
    criterion: Callable[[Any, Batch], jax.Array]
    family: str | None = None
    in_chunks: tuple[Callable[[Params, Batch], Any], Callable[[Any, Any, Batch], Any]] | None = None


@dataclasses.dataclass(frozen=True)
class Stateful:
    """The form of a loss whose model carries state besides its parameters, such as running batch statistics.

    Also of one whose evaluation mode is a function of its own; its state may then be empty.

    Attributes:
      initial: the state before the first step, a pytree of arrays.
      loss: (params, state, batch, key) -> (scalar, state after the batch), in training mode.
      evaluate: (params, state, batch) -> scalar in evaluation mode: running statistics, no dropout.
      outputs: (params, state, batch) -> outputs in evaluation mode, or None.
      expected: (params, state, batch) -> the expected loss at a state, for a loss that draws random numbers in training
        mode even without a key, so that `Problem.loss` cannot tell it at a state; None for all others.
    """

    initial: Any
    loss: Callable[[Params, Any, Batch, Key | None], tuple[jax.Array, Any]]
    evaluate: Callable[[Params, Any, Batch], jax.Array]
    outputs: Callable[[Params, Any, Batch], Any] | None = None
    expected: Callable[[Params, Any, Batch], jax.Array] | None = None


@dataclasses.dataclass(frozen=True)
class Problem:
    """A loss with everything that is needed to train on it and to judge the result.

    Attributes:
      loss: (params, batch, key) -> scalar, the mean over the batch's examples. Arrays that it needs besides the
        data belong in a `jax.tree_util.Partial`, so that they are arguments of the compiled program.
      init: key -> initial parameters, any pytree.
      data: a pytree of arrays with a common leading axis n; or batches, as `from_loss` says, which become `Batches`; or
        None for a loss that needs none.
      validation: the same, or None; batches are kept as the arrays that they make up.
      metrics: name -> (params, batch) -> scalar, further numbers worth watching. With `stateful` a metric also takes
        (params, batch, state), in evaluation mode; without the state it normalizes by the batch.
      truth: what is known exactly.
      separable: the chunkable form of a loss that is a sum over coordinates, or None.
      composite: the form criterion(outputs(params, batch), batch) of the expected loss, or None.
      stateful: the form of the loss that carries a model's state, or None; `loss` is then its training mode alone, in
        which batch normalization takes the statistics of the batch.
      name: a short name for tables and folders.
      frozen: arrays that the loss uses and that do not train, a pytree: what `wrt` left out, PRNG keys; None for none.
        They are arguments of the loss already; here they are to be read and counted.
    """

    loss: Loss
    init: Callable[[Key], Params]
    data: Batch = None
    validation: Batch = None
    metrics: Mapping[str, Callable[..., jax.Array]] = dataclasses.field(default_factory=dict)
    truth: Truth = Truth()
    separable: Separable | None = None
    composite: Composite | None = None
    stateful: Stateful | None = None
    name: str = "problem"
    frozen: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", as_data(self.name, self.data))
        held_out = materialized(self.name, "validation", as_data(self.name, self.validation))
        object.__setattr__(self, "validation", held_out)
        count_examples(first_batch(self.data), self.name, "data")
        count_examples(self.validation, self.name, "validation")

    def __str__(self) -> str:
        """What trains, what is frozen, the data, and what is known, a line each."""
        return summary(self)

    def __repr__(self) -> str:
        """One line without arrays."""
        return summary_line(self)

    @property
    def num_examples(self) -> int | None:
        """Number of examples n, or None when the problem has no data. Cost: of batches, to read them once."""
        if isinstance(self.data, Batches):
            return self.data.num_examples
        return count_examples(self.data, self.name, "data")

    def full_loss(self, params: Params) -> jax.Array:
        """The expected loss over all of the data, a scalar."""
        if isinstance(self.data, Batches):
            sized = [(batch, count_examples(batch, self.name, "data") or 0) for batch in self.data()]
            whole = sum(size for _, size in sized)
            return sum((self.loss(params, batch, None) * (size / whole) for batch, size in sized), jnp.zeros(()))
        return self.loss(params, self.data, None)

    @property
    def model_state(self) -> Any:
        """The model's state before the first step, or None."""
        return None if self.stateful is None else self.stateful.initial

    def evaluate(self, params: Params, batch: Batch, model_state: Any = None) -> jax.Array:
        """The loss in evaluation mode: running statistics of `model_state` (None for the initial one), no dropout."""
        if self.stateful is None:
            return self.loss(params, batch, None)
        return self.stateful.evaluate(params, self.model_state if model_state is None else model_state, batch)

    def freeze(self, model_state: Any = None) -> "Problem":
        """This problem in evaluation mode, with the model's state held fixed.

        Batch normalization is then a constant affine map, so that the loss is a mean over examples that do not touch
        each other; curvature can be summed over batches.

        Args:
          model_state: the state, as `Trace.model_state_of` gives it; None for the initial one.

        Returns:
          The problem without state; itself when it has no form of its own for evaluation.
        """
        if self.stateful is None:
            return self
        state = self.model_state if model_state is None else model_state
        composite = self.composite
        if composite is not None and self.stateful.outputs is not None:
            outputs = jax.tree_util.Partial(_in_state, as_partial(self.stateful.outputs), state)
            composite = dataclasses.replace(composite, outputs=outputs)
        return dataclasses.replace(
            self,
            loss=jax.tree_util.Partial(_in_state, as_partial(self.stateful.evaluate), state),
            metrics={name: _bound(metric, state) for name, metric in self.metrics.items()},
            composite=composite,
            stateful=None,
        )


def _bound(metric: Callable[..., jax.Array], state: Any) -> jax.tree_util.Partial:
    """The metric at one state, whose arrays stay arguments of a compiled program."""
    known = isinstance(metric, jax.tree_util.Partial)
    return jax.tree_util.Partial(metric.func if known else metric, *(metric.args if known else ()), model_state=state)


def _in_state(function: Any, state: Any, params: Params, batch: Batch, key: Key | None = None) -> Any:
    """(params, state, batch) -> value, with the function's arrays and the state bound first."""
    del key
    return function(params, state, batch)


def as_partial(function: Callable[..., Any]) -> jax.tree_util.Partial:
    """The function as a pytree, so that arrays in it are arguments of compiled programs."""
    return function if isinstance(function, jax.tree_util.Partial) else jax.tree_util.Partial(function)


def with_losses(problem: Problem, change: Callable[..., Any], *, evaluated: bool = True) -> Problem:
    """The problem with `change(loss, params, *rest)` in the place of its losses, arrays in them kept as arguments.

    Args:
      problem: with or without a state.
      change: (function, params, *rest) -> what the function gives, changed.
      evaluated: whether the loss in evaluation mode of a problem with a state is changed too.

    Returns:
      The problem, without its composite form.
    """
    bound = lambda function: jax.tree_util.Partial(change, as_partial(function))  # noqa: E731
    stateful = problem.stateful
    if stateful is not None:
        kept = bound(stateful.evaluate) if evaluated else stateful.evaluate
        stateful = dataclasses.replace(stateful, loss=bound(stateful.loss), evaluate=kept)
    return dataclasses.replace(problem, loss=bound(problem.loss), stateful=stateful, composite=None)


def with_metrics(problem: Problem, change: Callable[..., Any]) -> Problem:
    """The problem with `change(metric, params, *rest)` in the place of its metrics."""
    metrics = {name: jax.tree_util.Partial(change, as_partial(each)) for name, each in problem.metrics.items()}
    return dataclasses.replace(problem, metrics=metrics)
