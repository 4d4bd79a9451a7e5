"""How large a batch is worth its cost?

What the lecture says: a minibatch gives "some noisy estimate of the gradient"; the full batch "doesn't really solve
these problems".

What is true: one number tells, the noise scale B_noise, the noise of one example's gradient over the gradient itself.
The best learning rate and the gain of a step are 1 / (1 + B_noise / B) of those of the full gradient: below the noise
scale twice the batch saves half of the steps, above it nothing. For linear regression with equal eigenvalues it is
exactly d + 1 without label noise, and grows as the run comes closer to labels with noise.

Source: McCandlish, Kaplan, Amodei 2018, arXiv 1812.06162, for the law; the Gaussian fourth moment for d + 1.
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, theory
from jaxopt_lab.core import Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, Must, NotEmpty, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import everywhere, within

LARGE = 64
REFERENCE = "McCandlish et al. 2018, arXiv 1812.06162"


@configclass
class Config:
    """All that can change a number. Every eigenvalue is 1, and the run stands at distance 1 from the minimizer."""

    dim: Annotated[int, Whole(2)] = 63
    """Number of parameters d."""
    label_noises: Annotated[
        tuple[float, ...], Must("start with 0", lambda noises: noises[:1] == (0,)), Between("[0, inf)")
    ] = (0.0, 1.0, 3.0)
    """Standard deviations of the labels' noise, in units of a label; the first is 0."""
    batch_sizes: Annotated[tuple[Count, ...], NotEmpty("batch size")] = (1, 4, 16, 64, 256, 1024)
    """Examples a step, powers of 2."""
    num_examples: Count = 32_768
    """Examples drawn for each label noise, a multiple of 64 and of twice the largest batch."""
    seed: Seed = 0
    """Seeds the examples."""

    def __post_init__(self) -> None:
        if any(self.num_examples % size for size in (LARGE, *(2 * size for size in self.batch_sizes))):
            whole = f"num_examples must be a multiple of {LARGE} and of twice each of batch_sizes"
            raise fail("noise_scale", f"{whole}, got {self.num_examples}")


PRESETS = {
    "quick": Config(),
    "full": Config(dim=255, batch_sizes=(1, 4, 16, 64, 256, 1024, 4096), num_examples=262_144),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a label noise, with the two-batch estimate; then one a batch size, with the gain of a step."""
    start = np.full(config.dim, config.dim**-0.5)
    rows, steps = [], []
    for k, noise in enumerate(config.label_noises):
        problem = objectives.streaming_regression(np.ones(config.dim), batch_size=1, label_noise=noise)
        keys = jax.random.split(jax.random.key(config.seed + k), config.num_examples)
        single = np.asarray(_gradients(problem.loss, jnp.asarray(start), keys))
        rows.append({"label_noise": noise} | _estimate(single))
        if k == 0:
            steps = [_step(config.dim, start, single, batch_size) for batch_size in config.batch_sizes]
    return rows + steps


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The noise scale with and without label noise; the gains of a step; the trade of steps for examples."""
    steps = rows.having("gain")
    half = min(steps, key=lambda row: abs(np.log(row["batch_size"] / (config.dim + 1))))
    return [
        *(_scale(config, row) for row in rows.having("label_noise")),
        everywhere("At the best learning rate a step gains 1 / (1 + B_noise / B) of the full gradient's gain",
                   "gain where it is furthest off, batch size {batch_size}", steps, "gain", "predicted_gain",
                   errors="gain_error", reference=REFERENCE),
        within("Steps and examples trade along a hyperbola",
               f"(S / S_min - 1)(E / E_min - 1) at batch size {half['batch_size']}", 1.0, half["product"],
               half["product_error"], reference=REFERENCE),
    ]  # fmt: skip


def _scale(config: Config, row: Any) -> Verdict:
    law = "d + 1" if row["label_noise"] == 0 else "d + 1 + label noise^2 d / distance^2"
    exact = float(theory.noise_scale.isotropic_noise_scale(config.dim, 1.0, row["label_noise"] ** 2))
    return within(f"Gradients of two batch sizes tell the noise scale, {law}",
                  f"B_noise at label noise {row['label_noise']:g}", exact, row["noise_scale"], row["noise_scale_error"],
                  unit="examples", reference=REFERENCE)  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Steps against examples, each over the fewest: the hyperbola as a line, measured batch sizes as dots."""
    figure, axes = maker.axes(height=4.6)
    sizes = np.geomspace(config.batch_sizes[0] / 2, 2 * config.batch_sizes[-1], 200)
    scale = float(theory.noise_scale.isotropic_noise_scale(config.dim))
    maker.predicted(
        axes, theory.noise_scale.relative_examples(sizes, scale), theory.noise_scale.relative_steps(sizes, scale)
    )
    steps = rows.having("gain")
    maker.measured(axes, steps["examples"], steps["steps"], markersize=7)
    for row in steps:
        place = {"xytext": (7, 5), "textcoords": "offset points"}
        axes.annotate(f"B = {row['batch_size']}", (row["examples"], row["steps"]), **place)
    axes.set(xscale="log", yscale="log", xlabel="examples over the fewest", ylabel="steps over the fewest",
             title=f"Noise scale {scale:.0f}: there both are doubled")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    first, last = rows.having("gain")[0], rows[-1]
    return (
        f"The noise scale of this regression is {rows[0]['noise_scale']:.1f} examples (d + 1 = {config.dim + 1}): a"
        f" batch of {first['batch_size']} takes {first['steps']:.0f} times the fewest steps, one of"
        f" {last['batch_size']} {last['examples']:.0f} times the fewest examples."
    )


@jax.jit
def _gradients(loss: Any, point: jax.Array, keys: jax.Array) -> jax.Array:
    """The gradient of one example for each key, [keys, d]."""
    return jax.vmap(lambda key: jax.grad(loss)(point, None, key))(keys)


def _estimate(single: np.ndarray) -> dict[str, float | None]:
    """The noise scale from the norms of single gradients and of means of 64, with the error of their ratio."""
    batches = single.reshape(-1, LARGE, single.shape[1])
    small, large = np.square(batches).sum(-1).mean(1), np.square(batches.mean(1)).sum(-1)
    estimate = theory.noise_scale.two_batch_estimate(small, large, 1, LARGE)
    ratio = measures.ratio_of_means(estimate.noise_trace, estimate.squared_gradient)
    return {"noise_scale": ratio.value, "noise_scale_error": ratio.standard_error}


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
        "batch_size": batch_size, "learning_rate": rate, "gain": gain.value, "gain_error": gain.standard_error,
        "predicted_gain": rate, "steps": steps, "examples": examples, "product": (steps - 1) * (examples - 1),
        "product_error": abs(slope) * gain.standard_error,
    }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
