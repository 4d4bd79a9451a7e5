"""Does a network that has learned something else need less data than one thinks?

What the lecture says: transfer learning is announced for "using less data than you think".

What is true: right where the tasks are near, and a small factor where they only look alike. Gradient descent on a
linear model errs by its distance from where it starts: fitted to n < d examples its mean excess risk is |w* - w0|^2
(1 - n / d) plus s^2 n / (d - n - 1), so that a start which is nearer than 0 saves data, and one that is further away
costs some. A convolutional network that knows two classes of digits from other images, moved by a pixel, does with 5
examples what one from scratch does with many times as many. One that knows the eight other classes, all its layers
trained on, saves a factor between one and three, so little that 10 draws of the classes hardly tell it from one. Its
layers kept as they are hurt as soon as there are 50 examples.

Source: the mean of an inverse Wishart matrix, for the linear model; Yosinski et al. 2014, arXiv 1411.1792: features
that are kept as they are lose their worth as the tasks part, features that are trained on do not. All bounds on
networks are from seeds 11 and 12.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_lab import datasets, networks, theory
from jaxopt_lab.core import Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Increasing, NotEmpty, OneOf, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere

WISHART, YOSINSKI = "mean of an inverse Wishart matrix", "Yosinski et al. 2014, arXiv 1411.1792"
BATCH, TEST, OLD = 16, 96, 1400
TICKS = (0.01, 0.02, 0.05, 0.1, 0.2)
NEAR, MOVES = 150, ((1, 0), (-1, 0), (0, 1), (0, -1))  # the near task's images are those of the pool from there on
METHODS = {  # what the network has learned; learning rates of its layers and of its head, over the config's
    "from scratch": ("nothing", 1.0, 1.0),
    "others: head only": ("others", 0.0, 1.0),
    "others: all": ("others", 1.0, 1.0),
    "others: all at a tenth": ("others", 0.1, 0.1),
    "near: all at a tenth": ("near", 0.1, 0.1),
}


@configclass
class Config:
    """All that can change a number. The linear model's inputs are Gaussian, and |w*| = 1."""

    dim: Annotated[int, Whole(20)] = 120
    """Parameters d of the linear model."""
    num_examples: Annotated[int, Whole(5)] = 40
    """Its examples n, fewer than d - 1."""
    distances: Annotated[tuple[Positive, ...], NotEmpty("distance")] = (0.1, 1.0, 4.0)
    """Squared distances of its starts from w*; 1 is that of 0."""
    noise: Positive = 0.5
    """Standard deviation of its labels' noise s."""
    num_draws: Annotated[int, Whole(20)] = 100
    """Data sets."""
    images: Annotated[str, OneOf(("digits", "fashion"))] = "digits"
    """Images of ten classes; "fashion" needs the package of Fashion-MNIST."""
    num_new: Annotated[int, OneOf(range(2, 9))] = 2
    """Classes that are learned anew, drawn by each seed; the network first learns the others."""
    sizes: Annotated[tuple[int, ...], Whole(2), Increasing("hold at least three numbers that increase", least=3)] = (
        5, 15, 50, 250,
    )  # fmt: skip
    """Examples of the new classes, alike in number; two classes of digits hold 250 beside the 96 that judge."""
    width: Annotated[int, Whole(2)] = 8
    """Channels of the first of two convolutions; the second has twice as many."""
    learning_rate: Positive = 0.1
    """Learning rate of gradient descent with momentum 0.9 on the networks, in all phases."""
    first_steps: Annotated[int, Whole(1)] = 300
    """Steps on the first classes, 16 examples each,"""
    steps: Annotated[int, Whole(1)] = 100
    """and on the new ones."""
    num_seeds: Annotated[int, Whole(4)] = 10
    """Draws of classes and examples, each with a network of its own."""
    seed: Seed = 0
    """Seeds everything."""

    def __post_init__(self) -> None:
        if self.num_examples > self.dim - 2:
            told = f"num_examples must be at most dim - 2, got {self.num_examples} and {self.dim}"
            raise fail("transfer", told, "Else the risk has no mean.")


PRESETS = {
    "quick": Config(),
    "full": Config(num_draws=2000, sizes=(5, 15, 50, 100, 250), width=16, first_steps=2000, steps=400, num_seeds=30),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a start of the linear model; then one a method and number of examples."""
    rng = np.random.default_rng(config.seed)
    data = _examples(rng, config)  # first, as it says what is missing
    return [_linear(rng, config, distance) for distance in config.distances] + _networks(config, data)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The linear model's risk; how many times less data; when nothing is gained, and when it hurts."""
    few, some, most = config.sizes[0], config.sizes[1], config.sizes[-1]
    kept, scratch = (rows.only(method=name, num=most)["error_rate"] for name in ("others: head only", "from scratch"))
    return [
        everywhere("Gradient descent errs by its distance from the start", "excess risk at |w* - w0|^2 = {distance:g}",
                   rows.where(kind="linear"), "risk", "predicted", errors="error", reference=WISHART),
        at_least("From a near task few examples are worth several times as many",
                 f"examples from scratch for the error of {few}, times, lower end of 95 %", 2.0,
                 _times_less(rows, "near: all at a tenth", few)[1], reference="seeds 11 and 12 gave 3.4 and 3.8"),
        at_most("From the other classes it is a small factor", f"times fewer at {some}, upper end of 95 %", 6.0,
                _times_less(rows, "others: all", some)[2], reference="seeds 11 and 12 gave 2.9 and 4.4"),
        at_least("and their layers kept as they are hurt", f"error over that from scratch, {most} examples", 2.0,
                 kept / scratch, reference=f"{YOSINSKI}; seeds 11 and 12 gave 3.0 and 2.5"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Error on held-out images of the new classes by the number of examples."""
    figure, axes = maker.axes(height=4.6)
    for color, method in enumerate(METHODS):
        own, near = rows.where(kind="network", method=method), method.startswith("near")
        maker.measured(axes, own["num"], own["error_rate"], color=color, linestyle="-", linewidth=1,
                       label="" if near else method)  # fmt: skip
        if near:  # it ends among the others
            maker.label(axes, own["num"][0], 0.4 * own["error_rate"][0], "near: all\nat a tenth", color=color)
    axes.set(xscale="log", yscale="log", xlim=(4, 16 * config.sizes[-1]), xlabel="examples of the new classes",
             ylabel="error on held-out images", yticks=TICKS, yticklabels=[f"{tick:.0%}" for tick in TICKS],
             title="A near task saves data, other classes hardly any")  # fmt: skip
    axes.minorticks_off()
    return figure


def caption(config: Config, rows: Rows) -> str:
    few, some = config.sizes[:2]
    near, other = _times_less(rows, "near: all at a tenth", few), _times_less(rows, "others: all", some)
    told = "{:.1f} times as many ({:.1f} to {:.1f})"
    return (
        f"A network that knows the {config.num_new} classes from moved images does with {few} examples what one from"
        f" scratch does with {told.format(*near)}; one that knows the other {10 - config.num_new}, with {some} what"
        f" takes {told.format(*other)}."
    )


def _times_less(rows: Rows, method: str, num: int) -> tuple[float, float, float]:
    """How many times as many examples from scratch give the error of a method on `num`, and its 95 % interval.

    Between two numbers of examples the logarithm of the error is a line in that of the number.
    """
    scratch = rows.where(kind="network", method="from scratch")
    errors, own = np.stack(list(scratch["errors"])), rows.only(method=method, num=num)["errors"]
    least = 0.5 / (TEST * len(own))  # half an error, as draws may hold none

    def log_times(drawn: np.ndarray) -> float:
        curve = np.minimum.accumulate(np.log(least + errors[:, drawn].mean(1)))
        return float(np.interp(-np.log(least + own[drawn].mean()), -curve, np.log(scratch["num"]))) - float(np.log(num))

    value, error = log_times(np.arange(len(own))), measures.bootstrap_error(log_times, len(own))
    return float(np.exp(value)), float(np.exp(value - 1.96 * error)), float(np.exp(value + 1.96 * error))


def _linear(rng: np.random.Generator, config: Config, distance: float) -> Row:
    """Gradient descent from w0 until it fits; w* - w0 has the given length and any direction."""
    away = rng.normal(size=(config.num_draws, config.dim))
    away *= distance**0.5 / np.linalg.norm(away, axis=1, keepdims=True)
    inputs = rng.normal(size=(config.num_draws, config.num_examples, config.dim))
    noise = config.noise * rng.normal(size=(config.num_draws, config.num_examples))
    moved, rate = np.zeros_like(away), 1 / np.square(np.linalg.norm(inputs, 2, axis=(1, 2)))
    for _ in range(400):  # exp(-400 / 14) of the slowest direction is left
        residual = np.einsum("snd,sd->sn", inputs, away - moved) + noise
        moved += rate[:, None] * np.einsum("snd,sn->sd", inputs, residual)
    risk = mean_of_samples(np.square(away - moved).sum(1))
    law = theory.least_squares.interpolation_risk(config.dim, config.num_examples, distance, config.noise**2)
    return {"kind": "linear", "distance": distance, "risk": risk.value, "error": risk.standard_error,
            "predicted": float(law)}  # fmt: skip


class Examples(NamedTuple):
    """Inputs [seeds, n, h, w, 1] and labels [seeds, n]."""

    inputs: jax.Array
    labels: jax.Array


def _networks(config: Config, data: dict[str, Examples]) -> list[Row]:
    """Every method on every number of examples; the seeds side by side, in one compiled program a phase."""
    train, error, fresh = _program(config)
    first, second = fresh(config.seed, 10 - config.num_new), fresh(config.seed + config.num_seeds, config.num_new)
    others = train(first, (1.0, 1.0), data["others"], OLD, config.first_steps) | {"output": second["output"]}
    # the head of the near task goes on, as its classes are the same
    near = train(second, (1.0, 1.0), data["near"], data["near"].labels.shape[1], config.first_steps)
    starts = {"nothing": second, "others": others, "near": near}
    rows = []
    for method, (source, body, head) in METHODS.items():
        for num in (size for size in config.sizes if size <= NEAR or source != "near"):
            errors = error(train(starts[source], (body, head), data["pool"], num, config.steps), data["test"])
            rows.append({"kind": "network", "method": method, "num": num, "errors": np.asarray(errors),
                         "error_rate": float(errors.mean())})  # fmt: skip
    return rows


def _examples(rng: np.random.Generator, config: Config) -> dict[str, Examples]:
    """A pool and a test of new classes, drawn by each seed; those of the others, and moved ones of the new classes.

    Raises:
      InputError: the images are not there, or the new classes hold too few.
    """
    images = datasets.load_images(config.images)[0]
    pixels, most = images.pixels[..., None] / images.white, config.sizes[-1]
    pixels = (pixels - pixels.mean()) / pixels.std()
    drawn: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"pool": [], "test": [], "others": [], "near": []}
    for _ in range(config.num_seeds):
        new, old = np.split(rng.permutation(10), [config.num_new])
        each = [rng.permutation(np.flatnonzero(images.labels == one)) for one in new]
        num = min(map(len, each))
        if num * config.num_new < most + TEST:
            told = f"sizes must be at most {num * config.num_new - TEST}, got {most}"
            raise fail("transfer", told, f"{config.num_new} classes of {config.images} hold no more beside the test.")
        rows, numbers = np.stack([one[:num] for one in each], 1).ravel(), np.tile(np.arange(config.num_new), num)
        first = rng.permutation(np.flatnonzero(np.isin(images.labels, old)))[:OLD]
        drawn["pool"].append((pixels[rows[:most]], numbers[:most]))
        drawn["test"].append((pixels[rows[most : most + TEST]], numbers[most : most + TEST]))
        drawn["others"].append((pixels[first], np.argsort(old)[np.searchsorted(np.sort(old), images.labels[first])]))
        drawn["near"].append((np.concatenate([np.roll(pixels[rows[NEAR:most]], move, (1, 2)) for move in MOVES]),
                              np.tile(numbers[NEAR:most], len(MOVES))))  # fmt: skip
    return {name: Examples(*(jnp.asarray(np.stack(side)) for side in zip(*pairs, strict=True)))
            for name, pairs in drawn.items()}  # fmt: skip


def _program(config: Config) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[int, int], Any]]:
    """Training, the error on held-out images, and new networks, one a seed."""
    rule = optax.sgd(config.learning_rate, momentum=0.9)

    def made(seed: int, num_classes: int) -> networks.Functional:
        network = networks.ConvNet(1, num_classes, width=config.width, depth=2, rngs=nnx.Rngs(seed))
        for layer in network.convolutions:
            layer.conv_general_dilated = _convolved
        return networks.functional_nnx(network)

    models = {num: made(0, num) for num in (config.num_new, 10 - config.num_new)}

    def outputs(params: Any, inputs: jax.Array) -> jax.Array:
        model = models[params["output"]["bias"].shape[0]]
        return model.apply(params, model.model_state, inputs, training=False)[0]

    def descend(params: Any, data: Examples, key: jax.Array, scales: Any, num: int, steps: int) -> Any:
        def loss(params: Any, rows: jax.Array) -> jax.Array:
            logits = outputs(params, data.inputs[rows])
            return optax.softmax_cross_entropy_with_integer_labels(logits, data.labels[rows]).mean()

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            params, state = carry
            grads = jax.grad(loss)(params, jax.random.randint(key, (BATCH,), 0, num))
            updates, state = rule.update(grads, state)
            by_layer: Any = updates
            moves = {name: jax.tree.map(lambda move, scale=scales[name == "output"]: scale * move, by_layer[name])
                     for name in params}  # fmt: skip
            return (optax.apply_updates(params, moves), state), None

        return jax.lax.scan(step, (params, rule.init(params)), jax.random.split(key, steps))[0][0]

    keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)

    @functools.partial(jax.jit, static_argnames="steps")
    def train(params: Any, scales: Any, data: Examples, num: int, steps: int) -> Any:
        return jax.vmap(lambda own, examples, key: descend(own, examples, key, scales, num, steps))(params, data, keys)

    def wrong(params: Any, data: Examples) -> jax.Array:
        return jnp.mean(outputs(params, data.inputs).argmax(1) != data.labels)

    def fresh(seed: int, num_classes: int) -> Any:
        drawn = [made(seed + place, num_classes).params for place in range(config.num_seeds)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)

    return train, jax.jit(jax.vmap(wrong)), fresh


def _convolved(inputs: jax.Array, kernel: jax.Array, strides: tuple[int, ...], *_: Any, **__: Any) -> jax.Array:
    """A convolution as one product of matrices: several times as fast on CPUs where the networks differ."""
    (height, width), stride = kernel.shape[:2], strides[0]
    sizes = [-(-size // stride) for size in inputs.shape[1:3]]
    reach = [(size - 1) * stride + 1 for size in sizes]
    wanting = [max(far + side - 1 - have, 0) for far, side, have in zip(reach, (height, width), inputs.shape[1:3],
                                                                      strict=True)]  # fmt: skip
    padded = jnp.pad(inputs, ((0, 0), *((each // 2, each - each // 2) for each in wanting), (0, 0)))
    columns = [padded[:, down : down + reach[0] : stride, right : right + reach[1] : stride]
               for down in range(height) for right in range(width)]  # fmt: skip
    return jnp.concatenate(columns, -1) @ kernel.reshape(-1, kernel.shape[-1])


if __name__ == "__main__":
    raise SystemExit(main())
