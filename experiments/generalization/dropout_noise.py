"""Is the noise of dropout the same as that of minibatches, and which of them generalizes?

What the lecture says: noise may come from minibatches, or be "explicit stochasticity in the network".

What is true: their covariances add up, by the law of total variance, and they are not the same. A minibatch's gradient
has the mean of all examples'; dropout's has another, that of a penalized loss. On perceptrons that learn 100 digits,
a fifth of the hidden values dropped, either is half of the noise at the start, and nine tenths are dropout's at the
end. What dropout does to the held-out loss is the penalty's doing: averaged over eight masks a step, with an eighth of
the noise, it ends at the same loss. Neither generalizes better by much: minibatches leave .95 to 1.01 of the held-out
loss without noise, dropout .92 to .98, in three draws of the seeds whose intervals mostly hold 1. With a half dropped,
a rate that was tried first, dropout raised it by a quarter.

Source: the law of total variance; for the linear model the moments of a Bernoulli variable. The bounds on networks are
from seeds 11 and 12.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.pairs import Ratio, paired_ratio
from jaxopt_lab import datasets, networks, theory
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Count, OpenUnit, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere

TOTAL, REPEATS = "law of total variance", 8
METHODS = {  # examples a step, 0 for all; whether inputs of layers are dropped; masks an example
    "neither noise": (0, False, 1),
    "minibatches": (8, False, 1),
    "dropout": (0, True, 1),
    "dropout, averaged": (0, True, 8),
}


@configclass
class Config:
    """All that can change a number."""

    dim: Annotated[int, Whole(2)] = 30
    """Inputs of the linear model, standard Gaussian, as are its weights."""
    rates: Annotated[tuple[float, ...], Between("(0, 1)")] = (0.1, 0.5, 0.8)
    """Probabilities of dropping an input of the linear model."""
    num_masks: Annotated[int, Whole(100)] = 2000
    """Draws of what is dropped there."""
    num_digits: Annotated[int, Whole(32)] = 100
    """Digits that the perceptrons learn; the others judge."""
    width: Annotated[int, Whole(4)] = 32
    """Units in each of their two hidden layers."""
    rate: OpenUnit = 0.2
    """Probability of dropping a hidden value."""
    batch_size: Count = 8
    """Examples of the batches whose gradients are drawn."""
    num_batches: Annotated[int, Whole(16)] = 400
    """Such batches."""
    learning_rate: Positive = 0.1
    """Learning rate of gradient descent."""
    steps: Annotated[int, Whole(10)] = 400
    """Steps of training."""
    num_networks: Annotated[int, Whole(4)] = 6
    """Draws of the digits, with a perceptron each."""
    seed: Seed = 0
    """Seeds everything."""


PRESETS = {"quick": Config(), "full": Config(num_masks=20_000, num_batches=4000, width=64, steps=1000, num_networks=12)}


class Setting(NamedTuple):
    """Digits, their draws [networks, n], stacked first parameters, and the mean loss (params, rows, key or None)."""

    labels: jax.Array
    orders: jax.Array
    starts: Any
    loss: Callable[..., jax.Array]
    outputs: Callable[..., jax.Array]


def run(config: Config) -> list[dict[str, Any]]:
    """One row a rate of the linear model, one a method, and the two noises before and after training."""
    rng = np.random.default_rng(config.seed)
    setting = _setting(rng, config)
    trained = {method: _train(config, setting, *options) for method, options in METHODS.items()}
    rows = [_linear(rng, config, rate) for rate in config.rates]
    rows += [_judged(config, setting, method, params) for method, params in trained.items()]
    places = {"start": setting.starts, "end": trained["dropout"]}
    return rows + [
        _noises(config, setting, name, jax.tree.map(lambda leaf: leaf[0], params)) for name, params in places.items()
    ]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The closed form, the law of total variance, what is left of each noise, and what each does to held-out digits."""
    end, (_, low, high) = rows.only(kind="noises", place="end"), _ratio(rows, "dropout", "dropout, averaged")
    better = _ratio(rows, "dropout", "minibatches")
    return [
        everywhere("On a linear model the noise of dropout is the closed form", "trace of covariance at rate {rate:g}",
                   rows.where(kind="linear"), "variance", "predicted", errors="error",
                   reference="moments of a Bernoulli variable"),
        everywhere("The noises of the batch and of dropout add up", "trace of the covariance of both, {place}",
                   rows.where(kind="noises"), "total", "predicted", errors="error", reference=TOTAL),
        at_least("At the end most of the noise is dropout's", "its share of the trace", 0.75,
                 end["dropout"] / end["predicted"], reference="seeds 11 and 12 gave .90 and .92"),
        at_most("Dropout does what its mean over masks does", "held-out losses apart, times, upper end of 95 %", 1.15,
                max(high, 1 / low), reference="seeds 11 and 12 gave 1.03 and 1.05"),
        at_most("Neither generalizes better by much", "held-out losses of both apart, times, upper end of 95 %", 1.25,
                max(better[2], 1 / better[1]), reference="seeds 11 and 12 gave 1.10 and 1.07"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Both parts of the noise at the start and at the end; below, what each does to the held-out loss."""
    figure, (top, bottom) = maker.axes(2, height=6.4)
    noises = rows.where(kind="noises")
    for color, name in enumerate(("batch", "dropout")):
        values, errors = noises[name], noises[f"{name}_error"]
        maker.measured(top, range(len(noises)), values, color=color, linestyle="-", linewidth=1, label=name)
        top.errorbar(range(len(noises)), values, yerr=1.96 * errors, fmt="none", ecolor=maker.color(color))
    top.set(yscale="log", xlim=(-0.2, 1.4), xticks=range(len(noises)), xticklabels=noises["place"],
            ylabel="trace of the covariance", title="The batch's noise dies out before dropout's")  # fmt: skip
    names = list(METHODS)[1:]
    ratios = np.array([_ratio(rows, name, "neither noise") for name in names])
    bottom.errorbar(ratios[:, 0], range(len(names)), xerr=[ratios[:, 0] - ratios[:, 1], ratios[:, 2] - ratios[:, 0]],
                    fmt="o", color=maker.color(0))  # fmt: skip
    bottom.axvline(1.0, color=maker.color(2), linewidth=1)
    bottom.set(ylim=(len(names) - 0.5, -0.5), xlabel="held-out loss over that without noise",
               title="Dropout acts by its mean")  # fmt: skip
    bottom.set_yticks(range(len(names)), names)
    return figure


def caption(config: Config, rows: Rows) -> str:
    ends = rows.where(kind="noises")
    shares = [row["dropout"] / row["predicted"] for row in ends]
    told = {name: _ratio(rows, name, "neither noise") for name in METHODS}
    return (
        f"Of the gradient's noise {shares[0]:.0%} is dropout's at the start and {shares[-1]:.0%} at the end; it takes"
        f" the held-out loss to {told['dropout']} of that without noise, averaged over masks to"
        f" {told['dropout, averaged']}, minibatches to {told['minibatches']}."
    )


def _ratio(rows: Rows, method: str, other: str, name: str = "held_out") -> Ratio:
    """A number with one method over that with another at the same seeds, and its 95 % interval."""
    return paired_ratio(*(rows.only(kind="trained", method=each)[name] for each in (method, other)))


def _linear(rng: np.random.Generator, config: Config, rate: float) -> Row:
    """Sample variances of the gradient of (x . w - y)^2 / 2 over masks, one an example."""
    inputs, weights = rng.normal(size=(20, config.dim)), rng.normal(size=config.dim)
    labels = inputs @ weights + rng.normal(size=20)
    grads = []
    for _ in range(config.num_masks):
        dropped = inputs * (rng.random(inputs.shape) >= rate) / (1 - rate)
        grads.append(dropped * (dropped @ weights - labels)[:, None])
    groups = np.array(grads).reshape(20, -1, *inputs.shape)
    variance = mean_of_samples(groups.var(1, ddof=1).sum(-1).mean(-1))
    law = theory.regularization.dropout_gradient_variance(inputs, labels, weights, rate).mean()
    return {"kind": "linear", "rate": rate, "variance": variance.value, "error": variance.standard_error,
            "predicted": float(law)}  # fmt: skip


def _setting(rng: np.random.Generator, config: Config) -> Setting:
    images = datasets.load_images("digits")[0]
    pixels, labels = jnp.asarray(images.pixels / images.white), jnp.asarray(images.labels)
    pixels = (pixels - pixels.mean()) / pixels.std()
    orders = jnp.asarray(np.stack([rng.permutation(len(labels)) for _ in range(config.num_networks)]))
    drawn = [
        networks.functional_nnx(
            networks.MLP(
                64, 10, width=config.width, depth=2, dropout=config.rate, rngs=nnx.Rngs(1000 * config.seed + place)
            )
        )
        for place in range(config.num_networks)
    ]
    model = drawn[0]

    def outputs(params: Any, rows: jax.Array, key: jax.Array | None) -> jax.Array:
        return model.apply(params, model.model_state, pixels[rows], training=key is not None, key=key)[0]

    def loss(params: Any, rows: jax.Array, key: jax.Array | None) -> jax.Array:
        return optax.softmax_cross_entropy_with_integer_labels(outputs(params, rows, key), labels[rows]).mean()

    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(form.params for form in drawn))
    return Setting(labels, orders, starts, loss, outputs)


def _train(config: Config, setting: Setting, batch_size: int, dropped: bool, num_masks: int) -> Any:
    """The parameters of all networks after gradient descent with one, the other, or neither noise."""

    def descend(params: Any, order: jax.Array, key: jax.Array) -> Any:
        train = order[: config.num_digits]

        def step(params: Any, key: jax.Array) -> tuple[Any, None]:
            keys = jax.random.split(key)
            rows = train[jax.random.randint(keys[0], (batch_size,), 0, len(train))] if batch_size else train
            grads = jax.grad(setting.loss)(params, jnp.tile(rows, num_masks), keys[1] if dropped else None)
            return jax.tree.map(lambda leaf, grad: leaf - config.learning_rate * grad, params, grads), None

        return jax.lax.scan(step, params, jax.random.split(key, config.steps))[0]

    keys = jax.random.split(jax.random.key(config.seed), config.num_networks)
    return jax.jit(jax.vmap(descend))(setting.starts, setting.orders, keys)


def _judged(config: Config, setting: Setting, method: str, params: Any) -> Row:
    """Losses without dropout and the share of errors, one a network."""

    def measure(params: Any, order: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        train, held = order[: config.num_digits], order[config.num_digits :]
        wrong = jnp.mean(setting.outputs(params, held, None).argmax(1) != setting.labels[held])
        return setting.loss(params, train, None), setting.loss(params, held, None), wrong

    train, held_out, wrong = map(np.asarray, jax.jit(jax.vmap(measure))(params, setting.orders))
    return {"kind": "trained", "method": method, "train": train, "held_out": held_out, "gap": held_out - train,
            "wrong": wrong}  # fmt: skip


def _noises(config: Config, setting: Setting, place: str, params: Any) -> Row:
    """Both parts of the covariance's trace a single example, and the whole of it from batches, times their size.

    Between the means of an example's gradients over K masks lies the batch's part and a K-th of dropout's.
    """
    train, size = setting.orders[0, : config.num_digits], config.batch_size

    def gradient(rows: jax.Array, key: jax.Array) -> jax.Array:
        return jax.flatten_util.ravel_pytree(jax.grad(setting.loss)(params, rows, key))[0]

    @jax.jit
    def parts(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, (REPEATS, len(train)))
        grads = jax.lax.map(lambda each: jax.vmap(lambda row, key: gradient(row[None], key))(train, each), keys)
        within = grads.var(0, ddof=1).sum(-1).mean()
        return within, grads.mean(0).var(0).sum() - within / REPEATS * (1 - 1 / len(train))

    @jax.jit
    def whole(key: jax.Array) -> jax.Array:
        keys = jax.random.split(key, (config.num_batches, 2))
        rows = jax.vmap(lambda each: train[jax.random.randint(each, (size,), 0, len(train))])(keys[:, 0])
        grads = jax.lax.map(lambda each: gradient(*each), (rows, keys[:, 1]))
        squares = jnp.square(grads - grads.mean(0)).sum(-1)
        return size * squares * len(squares) / (len(squares) - 1)

    keys = jax.random.split(jax.random.key(config.seed + 1), REPEATS + 1)
    dropout, batch = (mean_of_samples(np.asarray(each)) for each in zip(*map(parts, keys[1:]), strict=True))
    total = mean_of_samples(np.asarray(whole(keys[0])))
    errors = np.array([total.standard_error, dropout.standard_error, batch.standard_error], float)
    return {"kind": "noises", "place": place, "dropout": dropout.value, "dropout_error": dropout.standard_error,
            "batch": batch.value, "batch_error": batch.standard_error, "total": total.value,
            "predicted": dropout.value + batch.value, "error": float(np.linalg.norm(errors))}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
