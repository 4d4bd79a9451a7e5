"""`Monitor`: a rule that runs unchanged while its state keeps a few signs of how training goes.

Every `every` steps it writes down the loss, the norms of gradient, update and parameters, and

    <u_t, u_{t-1}> / (|u_t| |u_{t-1}|)                of updates: near 1 a crawl, near -1 the edge, near 0 noise
    (|g_1|^2 + |g_2|^2) / 2, |(g_1 + g_2) / 2|^2      of gradients on two independent batches of one size b

Of the last two follow |G|^2 and tr S as in `theory.noise_scale.two_batch_estimate`. Where the caller hands in no two
halves of a batch, g_1 and g_2 are the gradients of successive steps. The step between them makes |G|^2 too small by
about lr tr(H S) / b: the noise scale is then an upper estimate, and near the noise floor unbounded.

With `sharpness_every` it also takes, along the update u of a step, on the batch of that step,

    u'Hu / |u|^2,      -2 g'u / |u|^2                 sharpness, and the one at which the step would not lower the loss

The second, the edge, is 2 / learning_rate for SGD. A quadratic's loss changes by g'u + u'Hu / 2, so that any rule's
step raises it where the first is above the second; heavy ball that swings at its 2 (1 + rho) / learning_rate has both
equal there.

Reference: McCandlish et al. 2018, arXiv 1812.06162, appendix A.1; of the sharpness Kalra et al. 2026, arXiv 2601.16979.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.core import fail, vectors
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.rules.monitor_sharpness import TAKES_SHARPNESS, WithoutSharpness, required_gradient, sharpness_along
from jaxopt_lab.rules.monitor_writer import Records

FIELDS = ("loss", "gradient_norm", "update_norm", "params_norm", "cosine", "small", "large", "sharpness", "edge",
          "halves")  # fmt: skip


class MonitorState(NamedTuple):
    """State of `Monitor`: arrays of fixed shapes, so that it runs in a scan and is stored with the rule's own.

    Attributes:
      inner: the state of the rule.
      count: updates so far, int32 scalar.
      every: steps from one record to the next, int32 scalar.
      records: one row for each, a ring in the order of `FIELDS`, [length, 10]; `halves` is 1 where the two gradients
        before it are those of half a batch.
      num_observed: pairs of gradients that `observe` was given so far, int32 scalar.
      observed: their `small` and `large`, a ring, [length, 2].
      first_wrong: the first step at which the loss, or at a record the gradient, was not finite; 0 for none.
      previous: update and gradient of the step before the next record; the gradient is () without `noise`.
    """

    inner: Any
    count: jax.Array
    every: jax.Array
    records: jax.Array
    num_observed: jax.Array
    observed: jax.Array
    first_wrong: jax.Array
    previous: tuple[Any, Any]


class Monitor(optax.GradientTransformationExtraArgs):
    """A rule with a record of cheap signs in its state, read by `summarize_monitor`.

    Args:
      rule: any rule; its updates are not changed by a bit. Pass `value=loss` to `update` to record the loss, and
        `half_grads=(g_1, g_2)`, the gradients of two halves of the batch, for an unbiased noise scale.
      every: steps from one record to the next, >= 2; the work is done at two of them.
      length: records to keep, >= 1.
      noise: keep the last gradient too, for a noise scale from successive gradients; without it the memory is one
        vector in the place of two.
      writer: where each record goes while training, too: a TensorBoard `SummaryWriter`, a run of Weights & Biases, or a
        function of (step, {name: number}); None for nowhere. Of runs side by side each sends its own.
      sharpness_every: steps from one sharpness along the update to the next, a multiple of `every`; None for none.
        `update` then needs `params` and `grad_fn`, params -> gradient on the batch of the step, as the engine gives it.

    Returns:
      The rule; an `optax.GradientTransformationExtraArgs`. Cost: eight inner products and two copies every `every`
      steps, a gradient and a Hessian product every `sharpness_every` (each step under `vmap`, which takes both branches
      of a condition), and a few kernels a leaf at each, because updates are written out that XLA would have fused away:
      little where a step takes milliseconds, felt where it takes 0.2 (`benchmarks/monitor.py`).

    Raises:
      InputError: an argument out of its range; at `update`, a `grad_fn` that is needed is not given, or has no forward
        derivative.

    Example:
      >>> from jaxopt_lab.rules.monitor_summary import summarize_monitor
      >>> rule = Monitor(optax.sgd(0.1), every=2)
      >>> params = jnp.array([1.0, 2.0])
      >>> state = rule.init(params)
      >>> for _ in range(4):
      ...     updates, state = rule.update(params, state, params)
      >>> signs = summarize_monitor(state)
      >>> signs.steps.tolist(), [f"{cosine:.3f}" for cosine in signs.cosines]
      ([2, 4], ['1.000', '1.000'])

      The sharpness along the update, of (4 x^2 + y^2) / 2, and 2 / learning_rate:

      >>> rule, slope = Monitor(optax.sgd(0.1), every=2, sharpness_every=2), lambda w: jnp.array([4.0, 1.0]) * w
      >>> state, params = rule.init(params), jnp.array([0.0, 1.0])
      >>> for _ in range(2):
      ...     updates, state = rule.update(slope(params), state, params, grad_fn=slope)
      >>> [f"{float(each[-1]):.2f}" for each in (summarize_monitor(state).sharpness, summarize_monitor(state).edges)]
      ['1.00', '20.00']
    """

    def __new__(
        cls,
        rule: optax.GradientTransformation,
        every: int = 25,
        length: int = 256,
        noise: bool = True,
        *,
        writer: Any = None,
        sharpness_every: int | None = None,
    ) -> "Monitor":
        """The pair (init, update)."""
        require_count("Monitor", "every", every, 2, "A cosine takes the update before it.")
        require_count("Monitor", "length", length)
        if sharpness_every is not None:
            require_count("Monitor", "sharpness_every", sharpness_every)
            if sharpness_every % every:
                raise fail(
                    "Monitor", f"sharpness_every must be a multiple of every, {every}, got {sharpness_every}",
                    "It stands in the records, which are taken every so many steps.",
                )  # fmt: skip
        records = None if writer is None else Records(writer, FIELDS)
        init, update = _transformation(
            optax.with_extra_args_support(rule), every, length, noise, records, sharpness_every
        )
        return super().__new__(cls, init, update)


def observe(state: Any, first: Any, second: Any) -> Any:
    """Writes the gradients of two independent batches of one size into the monitor inside of an optax state.

    Args:
      state: the state of a rule with a `Monitor` anywhere in it.
      first: gradient of one batch, a pytree.
      second: of the other, at the same parameters.

    Returns:
      The state with the record.

    Raises:
      InputError: the state holds no monitor.

    Example:
      >>> rule = optax.chain(Monitor(optax.sgd(0.1)), optax.scale(0.5))
      >>> state = observe(rule.init(jnp.zeros(2)), jnp.array([3.0, 0.0]), jnp.array([1.0, 2.0]))
      >>> state[0].observed[0].tolist()
      [7.0, 5.0]
    """
    find_monitor("observe", state)
    return jax.tree.map(
        lambda node: _observed(node, first, second) if is_monitor(node) else node, state, is_leaf=is_monitor
    )


def find_monitor(where: str, state: Any) -> MonitorState:
    """The first monitor's state inside of an optax state, at any depth."""
    found = [node for node in jax.tree.leaves(state, is_leaf=is_monitor) if is_monitor(node)]
    if not found:
        raise fail(where, "the state holds no monitor", "Wrap the rule: Monitor(optax.adam(1e-3)).")
    return found[0]


def without_sharpness(rule: Any, params: Any) -> Any:
    """A rule of the same state that takes gradients alone: the monitors anywhere in it take no sharpness."""
    state = jax.eval_shape(rule.init, params)
    if not any(map(is_monitor, jax.tree.leaves(state, is_leaf=is_monitor))):
        return rule
    return optax.GradientTransformationExtraArgs(rule.init, WithoutSharpness(rule.update))


def is_monitor(node: Any) -> bool:
    """Whether a node of a state is a monitor's."""
    return isinstance(node, MonitorState)


def _transformation(
    rule: optax.GradientTransformationExtraArgs, every: int, length: int, noise: bool, sent: Records | None,
    sharpness_every: int | None,
) -> Any:  # fmt: skip
    def init(params: Any) -> MonitorState:
        real = jnp.zeros((), float).dtype
        return MonitorState(
            inner=rule.init(params),
            count=jnp.zeros((), jnp.int32),
            every=jnp.array(every, jnp.int32),
            records=jnp.zeros((length, len(FIELDS)), real),
            num_observed=jnp.zeros((), jnp.int32),
            observed=jnp.zeros((length, 2), real),
            first_wrong=jnp.zeros((), jnp.int32),
            previous=(vectors.zeros_like(params), vectors.zeros_like(params) if noise else ()),
        )

    def update(
        grads: Any, state: MonitorState, params: Any = None, *, value: Any = None, half_grads: Any = None, **extra: Any
    ) -> tuple[Any, MonitorState]:
        grad_fn = required_gradient(params, extra) if sharpness_every is not None and TAKES_SHARPNESS.get() else None
        extra = extra if value is None else {**extra, "value": value}
        updates, inner = rule.update(grads, state.inner, params, **extra)
        count = jnp.asarray(optax.safe_increment(state.count))
        place = jnp.maximum(count // every - 1, 0) % length
        due = count % every == 0

        def row() -> jax.Array:
            pair = half_grads or ((state.previous[1], grads) if noise else None)
            curved = nothing = jnp.full(2, jnp.nan)
            if grad_fn is not None:
                taken = functools.partial(sharpness_along, grad_fn, params, updates, nothing)
                curved = jax.lax.cond(count % (sharpness_every or every) == 0, taken, lambda: nothing)
            return _row(value, grads, updates, params, state.previous[0], pair, curved, half_grads is not None)

        def keep(_: int, previous: tuple[Any, Any]) -> tuple[Any, Any]:
            newest = jax.lax.stop_gradient((updates, grads if noise else ()))
            return jax.tree.map(lambda old, new: new.astype(old.dtype), previous, newest)

        # So that XLA copies nothing at the other steps: the branch gives one row and not the ring; a loop of 0 or 1
        # rounds keeps in place, where a branch becomes a select; and all that is written in place waits for the row, by
        # a test that always holds, `halves` being 0 or 1.
        newest = jax.lax.cond(due, lambda: row().astype(state.records.dtype), lambda: state.records[place])
        if sent is not None:
            sent.emit(due, count, newest)
        done = newest[-1] < 2
        keeps = done & (count % every == every - 1)
        wrong = due & ~jnp.isfinite(newest[1])
        wrong = wrong if value is None else wrong | ~jnp.isfinite(jnp.asarray(value))
        after = jax.tree.map(lambda leaf: jnp.where(done, leaf, jnp.zeros_like(leaf)), updates)
        return after, state._replace(
            inner=inner,
            count=count,
            records=state.records.at[place].set(newest),
            first_wrong=jnp.where((state.first_wrong == 0) & wrong, count, state.first_wrong),
            previous=jax.lax.fori_loop(0, keeps.astype(jnp.int32), keep, jax.lax.stop_gradient(state.previous)),
        )

    return init, update


def _row(
    value: Any, grads: Any, updates: Any, params: Any, previous: Any, pair: Any, curved: jax.Array, halves: bool
) -> jax.Array:  # fmt: skip
    """One record, in the order of `FIELDS`."""
    missing = jnp.asarray(jnp.nan)
    entries = (
        missing if value is None else value, vectors.norm(grads), vectors.norm(updates),
        missing if params is None else vectors.norm(params), vectors.cosine(previous, updates),
        *((missing, missing) if pair is None else _squares(*pair)), *curved, float(halves),
    )  # fmt: skip
    return jnp.stack([jnp.asarray(entry, missing.dtype) for entry in entries])


def _squares(first: Any, second: Any) -> tuple[jax.Array, jax.Array]:
    """(|g_1|^2 + |g_2|^2) / 2 and |(g_1 + g_2) / 2|^2."""
    small = 0.5 * (vectors.sum_of_squares(first) + vectors.sum_of_squares(second))
    return small, 0.5 * (small + vectors.dot(first, second))


def _observed(state: MonitorState, first: Any, second: Any) -> MonitorState:
    row = jnp.stack(_squares(first, second)).astype(state.observed.dtype)
    place = state.num_observed % state.observed.shape[0]
    return state._replace(num_observed=state.num_observed + 1, observed=state.observed.at[place].set(row))
