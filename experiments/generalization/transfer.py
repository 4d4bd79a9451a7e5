"""Does a network that has learned something else need less data than one thinks?

What the lecture says: transfer learning is announced for "using less data than you think".

What is true: right where the tasks are near, and wrong where they only look alike. Gradient descent on a linear model
errs by its distance from where it starts: fitted to n < d examples its mean excess risk is |w* - w0|^2 (1 - n / d) plus
s^2 n / (d - n - 1), so that a start which is nearer than 0 saves data, and one that is further away costs some. A
perceptron that knows the same five classes from images moved by a pixel does with 5 examples what one from scratch does
with seven times as many, at a tenth of the rate; with 50 examples the gain is down to a factor of 2. One that knows
five other classes of digits gains nothing, and its layers kept as they are leave several times the error where examples
are many.

Source: the mean of an inverse Wishart matrix, for the linear model; Yosinski et al. 2014, arXiv 1411.1792: what is
transferred loses its worth as the tasks part. All bounds on networks are from seed 11.
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxopt_lab import datasets, networks, theory
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Increasing, NotEmpty, OneOf, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere

WISHART, YOSINSKI = "mean of an inverse Wishart matrix", "Yosinski et al. 2014, arXiv 1411.1792"
BATCH, POOL, TEST, OLD = 32, 350, 196, 900
TICKS = (0.02, 0.05, 0.1, 0.2, 0.5)
MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))
METHODS = {  # what the network has learned; learning rates of its layers and of its head, over the config's
    "from scratch": ("nothing", 1.0, 1.0),
    "near: head only": ("near", 0.0, 1.0),
    "near: all": ("near", 1.0, 1.0),
    "near: all at a tenth": ("near", 0.1, 0.1),
    "far: head only": ("far", 0.0, 1.0),
    "far: all": ("far", 1.0, 1.0),
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
    num_draws: Annotated[int, Whole(20)] = 200
    """Data sets."""
    images: Annotated[str, OneOf(("digits", "fashion"))] = "digits"
    """Images of ten classes: the last five are learned anew; "fashion" needs the package of Fashion-MNIST."""
    sizes: Annotated[tuple[int, ...], Whole(1), Increasing("hold at least three numbers that increase", least=3)] = (
        5, 15, 50, 150, 350,
    )  # fmt: skip
    """Examples of the five classes, at most 350."""
    width: Annotated[int, Whole(4)] = 32
    """Units in each of the two hidden layers."""
    learning_rate: Positive = 0.2
    """Learning rate of gradient descent on the networks, in all phases."""
    steps: Annotated[int, Whole(1)] = 200
    """Steps of each phase, 32 examples each."""
    num_seeds: Annotated[int, Whole(4)] = 16
    """Draws of the examples, each with a network of its own."""
    seed: Seed = 0
    """Seeds everything."""


PRESETS = {"quick": Config(), "full": Config(num_draws=2000, width=64, steps=1000, num_seeds=40)}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a start of the linear model; then one a method and number of examples."""
    rng = np.random.default_rng(config.seed)
    rows = [_linear(rng, config, distance) for distance in config.distances]
    return rows + _networks(rng, config)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The linear model's risk; how many times less data; when nothing is gained, and when it hurts."""
    few, some, most = config.sizes[0], config.sizes[2], config.sizes[-1]
    tenth = [_times_less(rows, "near: all at a tenth", num) for num in (few, some)]
    far = _times_less(rows, "far: all", config.sizes[1])
    kept, scratch = (rows.only(method=name, num=most)["error_rate"] for name in ("far: head only", "from scratch"))
    return [
        everywhere("Gradient descent errs by its distance from the start", "excess risk at |w* - w0|^2 = {distance:g}",
                   rows.where(kind="linear"), "risk", "predicted", errors="error", reference=WISHART),
        at_least("From a near task few examples are worth several times as many",
                 f"examples from scratch for the error of {few}, times, lower end of 95 %", 3.0, tenth[0][1],
                 reference=YOSINSKI),
        at_most("The gain shrinks as examples come", f"times fewer at {some} over times fewer at {few}", 0.5,
                tenth[1][0] / tenth[0][0], reference=WISHART),
        at_most("From a far task nothing is gained", f"times fewer at {config.sizes[1]}, upper end of 95 %", 1.5,
                far[2], reference=YOSINSKI),
        at_least("and its layers kept as they are hurt", f"error over that from scratch, {most} examples", 2.0,
                 kept / scratch, reference=YOSINSKI),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Error on held-out images of the five classes by the number of examples."""
    figure, axes = maker.axes(height=4.6)
    for color, method in enumerate(METHODS):
        own = rows.where(kind="network", method=method)
        maker.measured(axes, own["num"], own["error_rate"], color=color, linestyle="-", linewidth=1, label=method)
    axes.set(xscale="log", yscale="log", xlim=(4, 14 * config.sizes[-1]), xlabel="examples of five classes",
             ylabel="error on held-out images", yticks=TICKS, yticklabels=[f"{tick:.0%}" for tick in TICKS],
             title="A near task saves data, a far one none")  # fmt: skip
    axes.minorticks_off()
    return figure


def caption(config: Config, rows: Rows) -> str:
    few, some = config.sizes[0], config.sizes[2]
    (first, low, high), (second, *_) = (_times_less(rows, "near: all at a tenth", num) for num in (few, some))
    other = _times_less(rows, "far: all", config.sizes[1])[0]
    return (
        f"A network that knows the classes from moved images does with {few} examples what one from scratch does with"
        f" {first:.1f} times as many ({low:.1f} to {high:.1f}), with {some} {second:.1f} times; one that knows other"
        f" classes with {config.sizes[1]} examples {other:.1f} times."
    )


def _times_less(rows: Rows, method: str, num: int) -> tuple[float, float, float]:
    """How many times as many examples from scratch give the error of a method on `num`, and its 95 % interval.

    Between two numbers of examples the logarithm of the error is a line in that of the number.
    """
    scratch = rows.where(kind="network", method="from scratch")
    errors, own = np.stack(list(scratch["errors"])), rows.only(method=method, num=num)["errors"]

    def log_times(drawn: np.ndarray) -> float:
        curve = np.minimum.accumulate(np.log(errors[:, drawn].mean(1)))
        return float(np.interp(-np.log(own[drawn].mean()), -curve, np.log(scratch["num"]))) - float(np.log(num))

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
    """Inputs [seeds, n, pixels] and labels [seeds, n]."""

    inputs: jax.Array
    labels: jax.Array


def _networks(rng: np.random.Generator, config: Config) -> list[Row]:
    """Every method on every number of examples; the seeds side by side in one compiled program."""
    train, error, fresh = _program(config)
    data = _examples(rng, config)
    first, second = fresh(config.seed), fresh(config.seed + config.num_seeds)
    known = {name: train(first, (1.0, 1.0), data[name], data[name].labels.shape[1]) for name in ("near", "far")}
    # the head of the near task goes on, as its classes are the same; that of the far one is new
    starts = {"nothing": second, "near": known["near"], "far": known["far"] | {"output": second["output"]}}
    rows = []
    for method, (source, body, head) in METHODS.items():
        for num in config.sizes:
            errors = np.asarray(error(train(starts[source], (body, head), data["pool"], num), data["test"]))
            rows.append({"kind": "network", "method": method, "num": num, "errors": errors,
                         "error_rate": float(errors.mean())})  # fmt: skip
    return rows


def _examples(rng: np.random.Generator, config: Config) -> dict[str, Examples]:
    """Of the last five classes a pool, a test, and others moved by one pixel, the near task; the far one's classes."""
    images = datasets.load_images(config.images)[0]
    pixels = images.pixels / images.white
    pixels = (pixels - pixels.mean()) / pixels.std()
    old, new = (np.flatnonzero((images.labels < 5) == first) for first in (True, False))
    new = np.stack([rng.permutation(new) for _ in range(config.num_seeds)])
    pool, test, near = new[:, :POOL], new[:, POOL : POOL + TEST], new[:, POOL + TEST : 2 * POOL + TEST]
    far = np.stack([rng.permutation(old)[:OLD] for _ in range(config.num_seeds)])

    def taken(rows: np.ndarray, moves: Any = ((0, 0),)) -> Examples:
        values = np.concatenate([np.roll(pixels[rows], move, (-2, -1)) for move in moves], axis=1)
        labels = np.concatenate([images.labels[rows] % 5] * len(moves), axis=1)
        return Examples(jnp.asarray(values.reshape(*labels.shape, -1)), jnp.asarray(labels))

    return {"pool": taken(pool), "test": taken(test), "near": taken(near, MOVES), "far": taken(far)}


def _program(config: Config) -> tuple[Callable[..., Any], Callable[..., Any], Callable[[int], Any]]:
    """Training, the error on held-out images, and new networks, one a seed."""
    pixels = datasets.load_images(config.images)[0].pixels[0].size

    def made(seed: int) -> networks.Functional:
        perceptron = networks.MLP(pixels, 5, width=config.width, depth=2, rngs=nnx.Rngs(seed))
        return networks.functional_nnx(perceptron)

    model = made(0)

    def outputs(params: Any, inputs: jax.Array) -> jax.Array:
        return model.apply(params, model.model_state, inputs, training=False)[0]

    def descend(params: Any, scales: Any, data: Examples, num: int, key: jax.Array) -> Any:
        def loss(params: Any, rows: jax.Array) -> jax.Array:
            logits = outputs(params, data.inputs[rows])
            return optax.softmax_cross_entropy_with_integer_labels(logits, data.labels[rows]).mean()

        def step(params: Any, key: jax.Array) -> tuple[Any, None]:
            grads = jax.grad(loss)(params, jax.random.randint(key, (BATCH,), 0, num))
            rates = {name: config.learning_rate * scales[name == "output"] for name in params}
            moves = {name: jax.tree.map(lambda grad, rate=rates[name]: -rate * grad, grads[name]) for name in params}
            return optax.apply_updates(params, moves), None

        return jax.lax.scan(step, params, jax.random.split(key, config.steps))[0]

    keys = jax.random.split(jax.random.key(config.seed), config.num_seeds)
    side_by_side = jax.jit(jax.vmap(descend, in_axes=(0, None, 0, None, 0)))
    wrong = jax.jit(jax.vmap(lambda params, data: jnp.mean(outputs(params, data.inputs).argmax(1) != data.labels)))

    def fresh(seed: int) -> Any:
        drawn = [made(seed + place).params for place in range(config.num_seeds)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)

    return lambda params, scales, data, num: side_by_side(params, scales, data, num, keys), wrong, fresh


if __name__ == "__main__":
    raise SystemExit(main())
