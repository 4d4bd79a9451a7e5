"""How large a batch is worth its cost?

What the lecture says: a minibatch gives "some noisy estimate of the gradient"; the full batch "doesn't really solve
these problems".

What is true: one number tells, the noise scale B_noise, the noise of one example's gradient over the gradient itself.
The best learning rate and the gain of a step are 1 / (1 + B_noise / B) of those of the full gradient: below the noise
scale twice the batch saves half of the steps, above it nothing. For linear regression with equal eigenvalues it is
exactly d + 1 without label noise, and grows as the run comes closer to labels with noise.

Source: McCandlish, Kaplan, Amodei 2018, arXiv 1812.06162, for the law; the Gaussian fourth moment for d + 1.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, theory
from jaxopt_lab.core import Verdict, fail, judge, mean_of_samples, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGE = 64
REFERENCE = "McCandlish et al. 2018, arXiv 1812.06162"


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. Every eigenvalue is 1, and the run stands at distance 1 from the minimizer."""

    dim: int = 63
    """Number of parameters d."""
    label_noises: tuple[float, ...] = (0.0, 1.0, 3.0)
    """Standard deviations of the labels' noise, in units of a label; the first is 0."""
    batch_sizes: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    """Examples a step, powers of 2."""
    num_examples: int = 32_768
    """Examples drawn for each label noise, a multiple of 64 and of twice the largest batch."""
    seed: int = 0
    """Seeds the examples."""

    def __post_init__(self) -> None:
        require_count("noise_scale", "dim", self.dim, minimum=2)
        require_count("noise_scale", "num_examples", self.num_examples)
        if not self.label_noises or self.label_noises[0] != 0:
            raise fail("noise_scale", f"label_noises must start with 0, got {self.label_noises}")
        for noise in self.label_noises:
            require_between("noise_scale", "label_noises", noise, 0, np.inf, ends="[)")
        if not self.batch_sizes:
            raise fail("noise_scale", "batch_sizes must hold at least one batch size, got none")
        for size in self.batch_sizes:
            require_count("noise_scale", "batch_sizes", size)
            if self.num_examples % LARGE or self.num_examples % (2 * size):
                whole = f"num_examples must be a multiple of {LARGE} and of twice each of batch_sizes"
                raise fail("noise_scale", f"{whole}, got {self.num_examples}")


def run(config: Config) -> list[dict[str, Any]]:
    """One row a label noise, with the two-batch estimate; then one a batch size, with the gain of a step."""
    start = np.full(config.dim, config.dim**-0.5)
    rows: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for k, noise in enumerate(config.label_noises):
        problem = objectives.streaming_regression(np.ones(config.dim), batch_size=1, label_noise=noise)
        keys = jax.random.split(jax.random.key(config.seed + k), config.num_examples)
        single = np.asarray(_gradients(problem.loss, jnp.asarray(start), keys))
        rows.append({"label_noise": noise} | _estimate(single))
        if k == 0:
            steps = [_step(config.dim, start, single, batch_size) for batch_size in config.batch_sizes]
    return rows + steps


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """The noise scale with and without label noise; the gains of a step; the trade of steps for examples."""
    scales, steps = _split(rows)
    half = min(steps, key=lambda row: abs(np.log(row["batch_size"] / (config.dim + 1))))
    worst = max(steps, key=lambda row: abs(row["gain"] - row["predicted_gain"]) / row["gain_error"])
    # All tolerances: four standard errors, from independent batches.
    return [
        *(_scale(config, row) for row in scales),
        judge("At the best learning rate a step gains 1 / (1 + B_noise / B) of the full gradient's gain",
              f"gain where it is furthest off, batch size {worst['batch_size']}", worst["predicted_gain"],
              worst["gain"], 4 * worst["gain_error"], kind="within", reference=REFERENCE),
        judge("Steps and examples trade along a hyperbola",
              f"(S / S_min - 1)(E / E_min - 1) at batch size {half['batch_size']}", 1.0, half["product"],
              4 * half["product_error"], kind="within", reference=REFERENCE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Steps against examples, each over the fewest: the hyperbola as a line, measured batch sizes as dots."""
    figure, axes = maker.axes(height=4.6)
    sizes = np.geomspace(config.batch_sizes[0] / 2, 2 * config.batch_sizes[-1], 200)
    scale = float(theory.noise_scale.isotropic_noise_scale(config.dim))
    maker.predicted(
        axes, theory.noise_scale.relative_examples(sizes, scale), theory.noise_scale.relative_steps(sizes, scale)
    )
    steps = _split(rows)[1]
    maker.measured(axes, [row["examples"] for row in steps], [row["steps"] for row in steps], markersize=7)
    for row in steps:
        place = {"xytext": (7, 5), "textcoords": "offset points"}
        axes.annotate(f"B = {row['batch_size']}", (row["examples"], row["steps"]), **place)
    axes.set(xscale="log", yscale="log", xlabel="examples over the fewest", ylabel="steps over the fewest")
    axes.set_title(f"Noise scale {scale:.0f}: there both are doubled")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    (first, *_), steps = _split(rows)
    return (
        f"The noise scale of this regression is {first['noise_scale']:.1f} examples (d + 1 = {config.dim + 1}): a batch"
        f" of {steps[0]['batch_size']} takes {steps[0]['steps']:.0f} times the fewest steps, one of"
        f" {steps[-1]['batch_size']} {steps[-1]['examples']:.0f} times the fewest examples."
    )


@jax.jit
def _gradients(loss: Any, point: jax.Array, keys: jax.Array) -> jax.Array:
    """The gradient of one example for each key, [keys, d]."""
    return jax.vmap(lambda key: jax.grad(loss)(point, None, key))(keys)


def _estimate(single: np.ndarray) -> dict[str, float]:
    """The noise scale from the norms of single gradients and of means of 64, with the error of their ratio."""
    batches = single.reshape(-1, LARGE, single.shape[1])
    small, large = np.square(batches).sum(-1).mean(1), np.square(batches.mean(1)).sum(-1)
    estimate = theory.noise_scale.two_batch_estimate(small, large, 1, LARGE)
    signal, trace = np.mean(estimate.squared_gradient), np.mean(estimate.noise_trace)
    scatter = estimate.noise_trace - trace / signal * estimate.squared_gradient  # the ratio's own, to first order
    error = np.std(scatter, ddof=1) / np.sqrt(len(small)) / signal
    return {"noise_scale": float(trace / signal), "noise_scale_error": float(error)}


def _step(dim: int, start: np.ndarray, single: np.ndarray, batch_size: int) -> dict[str, Any]:
    """The share of the risk that a step at the best learning rate removes, over batches of this size."""
    scale = float(theory.noise_scale.isotropic_noise_scale(dim))
    rate = float(theory.noise_scale.optimal_learning_rate(batch_size, scale))
    after = start - rate * single.reshape(-1, batch_size, dim).mean(1)
    gain = mean_of_samples(1 - np.square(after).sum(1))
    assert gain.standard_error is not None
    share = batch_size / scale
    steps, examples = 1 / gain.value, share / gain.value  # over the full gradient's, which needs one step
    slope = steps**2 * (examples - 1) + (steps - 1) * share * steps**2  # of the product, by the gain
    return {
        "batch_size": batch_size,
        "learning_rate": rate,
        "effective_rate": rate,
        "gain": gain.value,
        "gain_error": gain.standard_error,
        "predicted_gain": rate,
        "steps": steps,
        "examples": examples,
        "product": (steps - 1) * (examples - 1),
        "product_error": abs(slope) * gain.standard_error,
    }


def _split(rows: Rows) -> tuple[list[Any], list[Any]]:
    return [row for row in rows if "label_noise" in row], [row for row in rows if "gain" in row]


def _scale(config: Config, row: Any) -> Verdict:
    law = "d + 1" if row["label_noise"] == 0 else "d + 1 + label noise^2 d / distance^2"
    return judge(
        f"Gradients of two batch sizes tell the noise scale, {law}", f"B_noise at label noise {row['label_noise']:g}",
        float(theory.noise_scale.isotropic_noise_scale(config.dim, 1.0, row["label_noise"] ** 2)), row["noise_scale"],
        4 * row["noise_scale_error"], kind="within", unit="examples", reference=REFERENCE,
    )  # fmt: skip


STUDY = Study(
    name="noise_scale",
    question="How large a batch is worth its cost?",
    lecture='A minibatch is "some noisy estimate of the gradient"; full batch "doesn\'t really solve these".',
    truth=(
        "Below the noise scale twice the batch saves half of the steps, above it nothing; for regression with equal"
        " eigenvalues and clean labels it is d + 1."
    ),
    reference=REFERENCE,
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(dim=255, batch_sizes=(1, 4, 16, 64, 256, 1024, 4096), num_examples=262_144),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
