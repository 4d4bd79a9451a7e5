"""What do dropout, L2 and stopping early do, and are they different things?

What the lecture says: regularization is there "to reduce the gap between train and test error"; noise may also come
from "explicit stochasticity in the network".

What is true: for least squares they are one thing, up to constants. Dropout of the inputs at rate p is a penalty of
p / (1 - p) times the inputs' second moments, exactly: explicit noise in the network does not average out, it changes
what is minimized. L2 of strength a makes the condition number (L + a) / (mu + a), and saves as many steps. Stopping
gradient descent at time t is ridge with a = 1 / t: never more bias, and at most 1.6859 times the variance, at its
worst eigenvalue (published as 1.6862).

On perceptrons that learn 100 digits, each tuned on validation, they are not one: L2 narrows the gap between held-out
and training loss by a sixth and lowers the held-out loss by a tenth, after 2000 steps by a quarter. Dropout does less,
in one draw of the seeds nothing, and after 2000 steps it widens the gap; stopping early gains a hundredth, after 2000
steps a sixteenth; batch normalization does not narrow the gap, and moving the images by a pixel, an eighth of their
side, hurts.

Source: Srivastava et al. 2014, section 9.1; Ali, Kolter, Tibshirani 2019, arXiv 1810.10082. The bounds on
perceptrons are from seeds 11 and 12, but for that on stopping early: it was said to gain next to nothing, which the
full preset refuted.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from experiments.pairs import Ratio, paired_ratio
from jaxopt_lab import datasets, networks, objectives, rules, theory, training
from jaxopt_lab.core import Verdict, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Increasing, MultipleOf, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, everywhere

METHODS = ("nothing", "L2", "dropout", "stopped early", "moved images", "batch normalization")
ALI, DROPOUT = "Ali, Kolter, Tibshirani 2019, arXiv 1810.10082", "Srivastava et al. 2014, section 9.1"


@configclass
class Config:
    """All that can change a number. Examples are Gaussian, with eigenvalues evenly spaced in the logarithm."""

    dim: Annotated[int, Whole(4)] = 30
    """Parameters d."""
    num_examples: Annotated[int, Whole(8)] = 200
    """Examples n."""
    kappa: Annotated[float, Between("[10, 1e6]")] = 1e3
    """Condition number of the inputs' covariance."""
    dropout_rates: Annotated[tuple[float, ...], Between("(0, 1)")] = (0.1, 0.5, 0.8)
    """Probabilities of dropping an input."""
    num_masks: Annotated[int, Whole(100)] = 4000
    """Draws of what is dropped."""
    strengths: Annotated[tuple[Positive, ...], Increasing("hold at least two strengths that increase")] = (
        0.01, 0.03, 0.1, 0.3,
    )  # fmt: skip
    """Strengths of L2 a, of an eigenvalue's unit; the largest eigenvalue is about 1."""
    accuracy: Annotated[float, Between("[1e-8, 0.1]")] = 1e-4
    """Distance to the minimizer over the first, to which steps are counted."""
    noise: Positive = 1.0
    """Standard deviation of the labels' noise."""
    num_labels: Annotated[int, Whole(50)] = 1000
    """Draws of the labels' noise for the variance of stopping early."""
    num_digits: Annotated[int, Whole(32)] = 100
    """Digits that the perceptrons learn; 200 tune, the others judge."""
    rates: Annotated[tuple[float, ...], Between("(0, 1)")] = (0.2, 0.5)
    """Probabilities of dropping a hidden value of theirs that are tried."""
    decays: Annotated[tuple[Positive, ...], Increasing("hold at least two decays that increase")] = (1e-2, 3e-2)
    """Weight decays that are tried."""
    network_steps: Annotated[int, MultipleOf(10)] = 400
    """Steps of training at rate 0.1, 32 digits each; a tenth is the unit in which it may be stopped."""
    num_networks: Annotated[int, Whole(4)] = 8
    """Draws of the digits, with a perceptron each."""
    seed: Seed = 0
    """Seeds everything."""


PRESETS = {
    "quick": Config(),
    "full": Config(dim=200, num_examples=2000, num_masks=20_000, kappa=1e4, network_steps=2000, num_networks=20,
                   rates=(0.1, 0.2, 0.35, 0.5), decays=(1e-3, 3e-3, 1e-2, 3e-2)),
}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row a dropout rate, one a strength of L2, one a time at which descent is stopped."""
    rng = np.random.default_rng(config.seed)
    deviations = np.geomspace(1, config.kappa**-0.5, config.dim)
    inputs = rng.normal(size=(config.num_examples, config.dim)) * deviations
    weights = rng.normal(size=config.dim)
    labels = inputs @ weights + config.noise * rng.normal(size=config.num_examples)
    rows = [_dropout(rng, config, inputs, labels, weights, rate) for rate in config.dropout_rates]
    rows += [_ridge(config, inputs, labels, a) for a in config.strengths] + _stopping(rng, config, inputs)
    return rows + _networks(config)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Dropout's penalty, the steps of L2, and the bias and variance of stopping early."""
    stopped = rows.where(kind="stopping")
    gaps = {name: rows.only(kind="network", method=name)["gap"] for name in METHODS}
    return [
        everywhere("Dropout adds p / (1 - p) sum_j w_j^2 E x_j^2 to the loss", "what it adds at rate {rate:g}",
                   rows.where(kind="dropout"), "penalty", "predicted", errors="error", reference=DROPOUT),
        everywhere("L2 of strength a makes the condition number (L + a) / (mu + a)", "kappa at a = {strength:g}",
                   rows.where(kind="ridge"), "kappa", "kappa_law", relatively=1e-6, reference="exact"),
        # the last half of the run still holds some of the modes that are not the slowest
        everywhere("and gradient descent contracts at that rate", "its exponent over the law's at a = {strength:g}",
                   rows.where(kind="ridge"), "steps", "steps_law", relatively=0.1, reference="theory.rates"),
        at_most("Stopping early has no more bias than ridge at 1 / t", "largest ratio of squared biases", 1.0,
                max(stopped["bias_ratio"]), tolerance=1e-9, reference=ALI),
        # the steps of descent are short but not of length 0
        at_most("and at most 1.6859 times its variance", "largest ratio over times",
                theory.regularization.largest_variance_ratio(), max(stopped["variance_ratio"]), tolerance=0.02,
                reference=ALI),
        at_most("On digits L2 narrows the gap", "held-out less training loss, over that without, upper end", 0.95,
                _over_nothing(rows, "L2", "gap").high, reference="seeds 11 and 12 gave .86 and .88"),
        at_most("and lowers the held-out loss", "held-out loss over that without", 0.95,
                _over_nothing(rows, "L2", "held_out").value, reference="seeds 11 and 12 gave .89 and .90"),
        at_least("Dropout narrows it less", "gap over that with L2", 1.03,
                 paired_ratio(gaps["dropout"], gaps["L2"]).value, reference="seeds 11, 12 gave 1.1, 1.2"),
        at_least("Stopping early gains less than L2", "held-out loss over that with L2", 1.03,
                 paired_ratio(*(rows.only(kind="network", method=each)["held_out"]
                                for each in ("stopped early", "L2"))).value,
                 reference="set after a full run: without any it was .94, with L2 .76"),
        at_least("Batch normalization does not narrow the gap by much", "gap over that without, lower end", 0.75,
                 _over_nothing(rows, "batch normalization", "gap").low,
                 reference="seeds 11 and 12 gave .90 and .88"),
        at_least("Moving the images by a pixel hurts", "error on held-out digits over that without", 1.05,
                 _over_nothing(rows, "moved images", "wrong").value, reference="seeds 11 and 12 gave 1.4 and 1.2"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Variance and squared bias of stopping early, over ridge's, against the time; below, networks' gaps."""
    figure, (axes, bottom) = maker.axes(2, height=7.0)
    stopped = rows.where(kind="stopping")
    maker.measured(axes, stopped["time"], stopped["variance_ratio"], label="variance")
    maker.measured(axes, stopped["time"], stopped["bias_ratio"], color=1, label="squared bias")
    bound = theory.regularization.largest_variance_ratio()
    maker.predicted(axes, stopped["time"], np.full(len(stopped), bound), linestyle=":", label=f"{bound:.4f}")
    axes.set(xscale="log", xlim=(None, 12 * stopped["time"][-1]), ylim=(0, 1.9), xlabel="steps x learning rate t",
             ylabel="stopping at t over ridge of 1 / t", title="Stopping early is ridge, within 1.69")  # fmt: skip
    ratios = [_over_nothing(rows, name, "gap") for name in METHODS[1:]]
    values, low, high = np.array(ratios).T
    bottom.axvline(1.0, color=maker.color(2), linewidth=1)
    bottom.errorbar(values, range(len(values)), xerr=[values - low, high - values], fmt="o",
                    color=maker.color(0))  # fmt: skip
    bottom.set(ylim=(len(values) - 0.5, -0.5), xlabel="gap in the loss, over that without",
               title="On digits L2 narrows the gap")  # fmt: skip
    bottom.set_yticks(range(len(values)), METHODS[1:])
    return figure


def caption(config: Config, rows: Rows) -> str:
    stopped = rows.where(kind="stopping")
    gaps = ((name, _over_nothing(rows, name, "gap")) for name in METHODS[1:])
    told = ", ".join(f"{gap} with {name}" for name, gap in gaps)
    return (
        f"Stopped at any time, gradient descent has at most {max(stopped['bias_ratio']):.2f} times the squared bias and"
        f" {max(stopped['variance_ratio']):.2f} times the variance of ridge with the strength 1 / t. Perceptrons on"
        f" {config.num_digits} digits have this part of the gap without: {told}."
    )


def _over_nothing(rows: Rows, method: str, name: str) -> Ratio:
    """A number of a method over that of the same networks without any."""
    return paired_ratio(*(rows.only(kind="network", method=each)[name] for each in (method, "nothing")))


def _dropout(
    rng: np.random.Generator, config: Config, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray, rate: float
) -> Row:
    """The mean squared error with inputs dropped, less that without."""
    plain = np.square(labels - inputs @ weights).mean()
    kept = [rng.random(inputs.shape) >= rate for _ in range(config.num_masks)]
    errors = [np.square(labels - (mask * inputs) @ weights / (1 - rate)).mean() for mask in kept]
    added = mean_of_samples(np.array(errors) - plain)
    law = theory.regularization.dropout_penalty(weights, np.square(inputs).mean(0), rate)
    return {"kind": "dropout", "rate": rate, "penalty": added.value, "error": added.standard_error,
            "predicted": float(law)}  # fmt: skip


def _ridge(config: Config, inputs: np.ndarray, labels: np.ndarray, strength: float) -> Row:
    """Steps of gradient descent at 2 / (L + mu), against those of the condition number."""
    spectrum = np.linalg.eigvalsh(inputs.T @ inputs / len(inputs))
    problem = objectives.linear_regression(inputs, labels, ridge=strength)
    law = float(theory.regularization.regularized_condition_number(spectrum[-1], spectrum[0], strength))
    rate = 2 / (spectrum[-1] + spectrum[0] + 2 * strength)
    slowest = np.log((law - 1) / (law + 1))
    steps = round(1.5 * np.log(config.accuracy) / slowest)
    trace = training.run(problem, rules.sgd, {"learning_rate": rate}, steps=steps, probes=[training.distance()])
    curve = trace["distance"][0]
    half = len(curve) // 2
    return {"kind": "ridge", "strength": strength, "learning_rate": rate, "kappa_law": law,
            "kappa": problem.truth.condition_number, "steps_law": 1.0,
            "steps": float(np.log(curve[-1] / curve[half]) / (len(curve) - 1 - half) / slowest)}  # fmt: skip


def _stopping(rng: np.random.Generator, config: Config, inputs: np.ndarray) -> list[Row]:
    """Gradient descent on pure signal and on pure noise, read at some times, each over ridge's."""
    num, dim = inputs.shape
    hessian = inputs.T @ inputs / num
    rate, target = 0.02 / np.linalg.norm(hessian, 2), rng.normal(size=(dim, 1))
    push = inputs.T @ rng.normal(size=(num, config.num_labels)) / num
    reads = np.unique(np.geomspace(1, 30_000, 25).astype(int))
    signal, noise, rows = np.zeros((dim, 1)), np.zeros_like(push), []
    for step in range(1, reads[-1] + 1):
        signal, noise = signal - rate * hessian @ (signal - target), noise - rate * (hessian @ noise - push)
        if step in reads:
            solved = hessian + np.eye(dim) / (step * rate)
            ridge, other = np.linalg.solve(solved, hessian @ target), np.linalg.solve(solved, push)
            rows.append({"kind": "stopping", "time": step * rate,
                         "bias_ratio": float(np.sum((signal - target) ** 2) / np.sum((ridge - target) ** 2)),
                         "variance_ratio": float(np.sum(noise**2) / np.sum(other**2))})  # fmt: skip
    return rows


def _networks(config: Config) -> list[Row]:
    """Each method at the strength whose validation loss is lowest; stopping early is that of the run with nothing."""
    tried = {"nothing": [(0.0, "none", 0.0, 0)], "L2": [(0.0, "none", decay, 0) for decay in config.decays],
             "dropout": [(rate, "none", 0.0, 0) for rate in config.rates], "moved images": [(0.0, "none", 0.0, 1)],
             "batch normalization": [(0.0, "batch", 0.0, 0)]}  # fmt: skip
    programs = {
        kind: _program(config, *kind) for kind in {each[:2] for strengths in tried.values() for each in strengths}
    }
    ends, rows = {}, []
    for method, strengths in tried.items():
        curves = [programs[rate, norm](decay, moved) for rate, norm, decay, moved in strengths]
        best = min(range(len(curves)), key=lambda place: curves[place][:, -1, 1].mean())
        ends[method] = strengths[best], curves[best][:, -1]
        if method == "nothing":
            stopped = curves[0][:, :, 1].argmin(1)
            ends["stopped early"] = strengths[0], curves[0][np.arange(len(stopped)), stopped]
    for method in METHODS:
        (rate, _, decay, _), (train, _, held_out, wrong) = ends[method][0], ends[method][1].T
        rows.append({"kind": "network", "method": method, "rate": rate, "decay": decay, "train": train,
                     "held_out": held_out, "gap": held_out - train, "wrong": wrong})  # fmt: skip
    return rows


def _program(config: Config, rate: float, norm: str) -> Any:
    """(decay, pixels) -> losses [networks, 10, (training, validation, held out, share of errors)] along training."""
    images = datasets.load_images("digits")[0]
    pixels, labels = jnp.asarray(images.pixels / images.white), jnp.asarray(images.labels)
    pixels, num = (pixels - pixels.mean()) / pixels.std(), config.num_networks
    rng = np.random.default_rng(config.seed)
    orders = jnp.asarray(np.stack([rng.permutation(len(labels)) for _ in range(num)]))
    streams = [nnx.Rngs(1000 * config.seed + place) for place in range(num)]
    drawn = [
        networks.functional_nnx(networks.MLP(64, 10, width=64, depth=2, dropout=rate, norm=norm, rngs=each))
        for each in streams
    ]
    model, ends = drawn[0], (config.num_digits, config.num_digits + 200)

    def judged(params: Any, state: Any, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        logits = model.apply(params, state, pixels[rows], training=False)[0]
        return _cross_entropy(logits, labels[rows]), jnp.mean(logits.argmax(1) != labels[rows])

    def descend(params: Any, decay: float, pixel: int, order: jax.Array, key: jax.Array) -> jax.Array:
        train, tune, held = order[: ends[0]], order[ends[0] : ends[1]], order[ends[1] :]

        def step(carry: Any, key: jax.Array) -> tuple[Any, None]:
            keys = jax.random.split(key, 3)
            rows = train[jax.random.randint(keys[0], (32,), 0, ends[0])]
            moves = pixel * jax.random.randint(keys[1], (32, 2), -1, 2)
            inputs = jax.vmap(lambda image, move: jnp.roll(image, move, (0, 1)))(pixels[rows], moves)

            def loss(params: Any) -> tuple[jax.Array, Any]:
                logits, state = model.apply(params, carry[1], inputs, training=True, key=keys[2])
                return _cross_entropy(logits, labels[rows]), state

            grads, state = jax.grad(loss, has_aux=True)(carry[0])
            return (jax.tree.map(lambda leaf, grad: leaf - 0.1 * (grad + decay * leaf), carry[0], grads), state), None

        def stretch(carry: Any, keys: jax.Array) -> tuple[Any, jax.Array]:
            carry, _ = jax.lax.scan(step, carry, keys)
            losses, wrong = zip(*(judged(carry[0], carry[1], rows) for rows in (train, tune, held)), strict=True)
            return carry, jnp.stack([*losses, wrong[-1]])

        return jax.lax.scan(
            stretch, (params, model.model_state), jax.random.split(key, config.network_steps).reshape(10, -1)
        )[1]

    starts = jax.tree.map(lambda *leaves: jnp.stack(leaves), *(form.params for form in drawn))
    keys = jax.random.split(jax.random.key(config.seed), num)
    side_by_side = jax.jit(jax.vmap(descend, in_axes=(0, None, None, 0, 0)))
    return lambda decay, pixel: np.asarray(side_by_side(starts, decay, pixel, orders, keys))


def _cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


if __name__ == "__main__":
    raise SystemExit(main())
