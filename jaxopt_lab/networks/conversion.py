"""From a Flax module to a `Problem`: `from_nnx` and `from_linen`.

    loss = loss_fn(model, batch)                            anything
    loss = criterion(model(inputs(batch)), batch)           what Gauss-Newton and Fisher operators need to see

In training mode (`problem.loss`) batch normalization takes the statistics of the batch, and dropout is on when a key is
given. `problem.stateful` carries the running statistics along; `problem.freeze` holds them fixed. A module that is told
its mode in the call, `model(inputs, train=True)`, cannot be put into evaluation mode from outside: its loss is given
twice, as `loss_fn` and as `eval_loss_fn`. Whether that is needed is found out here, and said.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen, nnx

from jaxopt_lab.core import Problem, Truth, fail
from jaxopt_lab.core.losses import traced
from jaxopt_lab.core.problem import Batch, Key, Params
from jaxopt_lab.networks.building import Facts, Source, build_problem
from jaxopt_lab.networks.criteria import OnOutputs
from jaxopt_lab.networks.forms import ModelFunction, Parts
from jaxopt_lab.networks.functional import Functional, Unknown, takes
from jaxopt_lab.networks.linen_modules import functional_linen
from jaxopt_lab.networks.nnx_modules import functional_nnx


def from_nnx(
    model: nnx.Module | Callable[[nnx.Rngs], nnx.Module],
    loss_fn: ModelFunction | None = None,
    data: Batch = None,
    *,
    criterion: Callable[[Any, Batch], jax.Array] | OnOutputs | None = None,
    eval_loss_fn: ModelFunction | None = None,
    wrt: Any = None,
    statistics: str = "batch",
    validation: Batch = None,
    metrics: Mapping[str, ModelFunction] | None = None,
    truth: Truth | None = None,
    name: str | None = None,
) -> Problem:
    """Makes a problem from a Flax NNX module.

    Args:
      model: the module, whose parameters are the start, or a function of `nnx.Rngs` that builds it, so that each seed
        starts elsewhere.
      loss_fn: (model, batch) -> scalar mean over the batch; with a third argument named `key` it gets the key of the
        step, or None, for layers that take one. Dropout that was built with `rngs` needs none: its stream is
        seeded from the key of each step.
      data: pytree of arrays with a common leading axis n; or batches of such, as in `from_loss`.
      criterion: instead of `loss_fn`, (outputs, batch) -> scalar mean over the batch, convex in the outputs, where the
        model takes the first of a pair; or `networks.criteria.OnOutputs`, which also says what the model takes of a
        batch, and the likelihood. `problem.composite` is then filled. Arguments of the model's call that are named
        `train`, `training`, `is_training`, `deterministic` or `use_running_average` are filled in.
      eval_loss_fn: the same loss with the model in evaluation mode, for a `loss_fn` that tells the model its mode, as
        in `model(inputs, train=True)`, and for models that draw random numbers by themselves. `evaluate`, `freeze` and
        the probes of validation data take it; so does the loss without a key, where `loss_fn` is random without one.
        Metrics are functions of their own, to be written in evaluation mode.
      wrt: what trains, an NNX filter: a type of variables, a function of (path, variable), or a tuple of them; None for
        nnx.Param, which trains the base of an nnx.LoRA too (`nnx.LoRAParam` trains the adapters alone). Everything else
        that the model does not move itself is frozen: carried as data, drawn once, and counted by `print(problem)`.
      statistics: "batch", or "running" to hold the model's running statistics fixed (`Problem.freeze`).
      validation: a pytree like `data`, or None.
      metrics: name -> (model, batch) -> scalar.
      truth: what is known exactly.
      name: defaults to the name of the module's class.

    Returns:
      The problem. Parameters are a plain dictionary; those of a finished module are copied into it.

    Raises:
      InputError: the loss fails or is not a scalar, the module returns no array, dropout finds no random stream, both
        or neither of `loss_fn` and `criterion` are given, or the data's leaves differ in length; evaluation mode
        depends on random numbers, or normalizes by the batch; a floating variable of a type of its own neither trains
        nor moves, and `wrt` does not say which.

    Warns:
      UserWarning: in evaluation mode the loss of an example depends on the others of its batch, so that the loss is no
        mean over examples; silence it with `warnings.filterwarnings` where that is meant (a contrastive loss).

    Example:
      >>> data = (jnp.ones((4, 3)), jnp.zeros((4, 1)))
      >>> square = lambda model, batch: jnp.mean((model(batch[0]) - batch[1]) ** 2)
      >>> problem = from_nnx(nnx.Linear(3, 1, kernel_init=nnx.initializers.ones, rngs=nnx.Rngs(0)), square, data)
      >>> float(problem.full_loss(problem.init(jax.random.key(0))))
      9.0
    """
    selected = nnx.Param if wrt is None else wrt
    if isinstance(model, nnx.Module):
        source, label = _of_module(model, selected, wrt is None), type(model).__name__
        _require_streams(model, loss_fn)
    else:
        source, label = _of_factory(model, loss_fn, selected, wrt is None)
    loss = criterion if isinstance(criterion, OnOutputs) else OnOutputs(criterion)
    parts = Parts("from_nnx", source.form.call, loss_fn, loss.criterion, loss.inputs, eval_loss_fn)
    facts = Facts(data, validation, loss.family, statistics, metrics or {}, truth or Truth(), name or label)
    return build_problem(source, parts, facts)


def from_linen(
    module: linen.Module,
    variables: Mapping[str, Any],
    loss_fn: ModelFunction | None = None,
    data: Batch = None,
    *,
    criterion: Callable[[Any, Batch], jax.Array] | OnOutputs | None = None,
    eval_loss_fn: ModelFunction | None = None,
    wrt: str | Sequence[str] | None = None,
    statistics: str = "batch",
    validation: Batch = None,
    metrics: Mapping[str, ModelFunction] | None = None,
    truth: Truth | None = None,
    name: str | None = None,
) -> Problem:
    """Makes a problem from a Flax Linen module and its variables.

    `loss_fn` and the metrics get a callable in the place of the model: `model(inputs)` applies the module. Arguments
    of the module's call named `train`, `training`, `is_training`, `deterministic`, `use_running_average` are filled in.
    In training the key of the step seeds dropout and every other stream (`make_rng`); without a key there is none.

    Args:
      module: the module.
      variables: what `module.init` gave: "params" and further collections, such as "batch_stats".
      loss_fn: as in `from_nnx`.
      data: as in `from_nnx`.
      criterion: as in `from_nnx`.
      eval_loss_fn: as in `from_nnx`.
      wrt: the collection that trains, or several; None for "params". The parameters of several are a dictionary of
        collections. What neither trains nor is moved by the module is frozen, as in `from_nnx`.
      statistics: as in `from_nnx`.
      validation: as in `from_nnx`.
      metrics: as in `from_nnx`.
      truth: as in `from_nnx`.
      name: defaults to the name of the module's class.

    Returns:
      The problem, which starts at the given parameters.

    Raises:
      InputError: as `from_nnx`; or the variables hold no "params", or not what `wrt` names.
    """
    selected = "params" if wrt is None else wrt
    form = functional_linen(module, variables, selected)
    holding = lambda paths: functional_linen(module, variables, selected, [name for (name,) in paths])  # noqa: E731
    source = Source(form, _Copies(form.params), holding, _linen_remedy if wrt is None else None)
    loss = criterion if isinstance(criterion, OnOutputs) else OnOutputs(criterion)
    parts = Parts("from_linen", form.call, loss_fn, loss.criterion, loss.inputs, eval_loss_fn)
    facts = Facts(
        data, validation, loss.family, statistics, metrics or {}, truth or Truth(), name or type(module).__name__
    )  # fmt: skip
    return build_problem(source, parts, facts)


@dataclasses.dataclass(frozen=True, eq=False)
class _Copies:
    """key -> copies of the parameters of a finished module."""

    params: Params

    def __call__(self, key: Key) -> Params:
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), self.params)


def _of_module(model: nnx.Module, wrt: Any, by_default: bool) -> Source:
    form = functional_nnx(model, wrt)
    return Source(
        form, _Copies(form.params), lambda paths: functional_nnx(model, wrt, paths), _nnx_remedy if by_default else None
    )  # fmt: skip


def _of_factory(factory: Any, loss_fn: ModelFunction | None, wrt: Any, by_default: bool) -> tuple[Source, str]:
    """The source that a factory makes, and the class of what it builds.

    Only a model that has state, or arrays that are frozen, is built here, from one key: all others are traced.
    """
    static: list[tuple[Functional, str]] = []

    def build(key: Key) -> tuple[Params, Any, Any]:
        model = _build(factory, key)
        _require_streams(model, loss_fn)
        form = functional_nnx(model, wrt)
        static.append((form, type(model).__name__))
        return form.params, form.model_state, form.frozen

    params, state, frozen = traced("from_nnx", "the function of nnx.Rngs", build, jax.random.key(0), names=("key",))
    form, label = static[0]
    form = dataclasses.replace(form, params=params, model_state=state, frozen=frozen)
    holding = lambda paths: form  # noqa: E731
    if jax.tree.leaves((state, frozen)):
        model = _build(factory, jax.random.key(0))
        form, holding = functional_nnx(model, wrt), lambda paths: functional_nnx(model, wrt, paths)
    init = lambda key: functional_nnx(_build(factory, key), wrt).params  # noqa: E731
    return Source(form, init, holding, _nnx_remedy if by_default else None), label


def _build(factory: Any, key: Key) -> nnx.Module:
    model = factory(nnx.Rngs(key)) if callable(factory) else factory
    if not isinstance(model, nnx.Module):
        raise fail(
            "from_nnx", f"model must be a flax.nnx.Module or a function of nnx.Rngs that returns one, got {model!r}",
            "A Linen module goes through from_linen.",
        )  # fmt: skip
    return model


def _nnx_remedy(unknown: Unknown) -> str:
    train = f"wrt=(nnx.Param, {unknown.kind}) trains it" if unknown.kind != "Variable" else "An nnx.Param trains"
    return f"{train}; wrt=nnx.Param holds it fixed."


def _linen_remedy(unknown: Unknown) -> str:
    return f"wrt=('params', {unknown.kind!r}) trains it; wrt='params' holds it fixed."


def _require_streams(model: nnx.Module, loss_fn: ModelFunction | None) -> None:
    if takes(type(model).__call__, "key") or (loss_fn is not None and takes(loss_fn, "key")):
        return
    dropouts = [module for _, module in nnx.iter_modules(model) if isinstance(module, nnx.Dropout)]
    if any(module.rate > 0 and module.rngs is None for module in dropouts):
        raise fail(
            "from_nnx", "the model has nnx.Dropout without a random stream, and no key reaches it",
            "Build it as nnx.Dropout(rate, rngs=rngs), or write loss_fn(model, batch, key) and hand the key on.",
        )  # fmt: skip
