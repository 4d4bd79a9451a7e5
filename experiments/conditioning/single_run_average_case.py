"""Does a bad condition number make high-dimensional problems slow?

What the lecture says: a large ratio of the Hessian's singular values makes descent slow, and it "actually becomes much
more common in high dimensions".

What is true: least squares on as many random examples as dimensions has kappa of about d^2, so that a rate read off
kappa says that nothing ever happens; yet one run of gradient descent at 1 / L, on one draw of the data, from one random
start, follows the curve (4 / pi) B(3/2, 2 k + 3/2), about k^(-3/2) / sqrt(2 pi), without d in it. Gaussian data or coin
flips give the same curve. How far a run deviates is known too: the start's components in the m modes still alive
fluctuate by sqrt(2 / m), so that the deviation falls like d^(-1/2) and grows slowly with k. And kappa itself grows with
d only where examples and dimensions are equal in number; at two examples a dimension it is about 34, whatever d.

Source: Paquette, van Merrienboer, Paquette and Pedregosa 2020, arXiv 2006.04299; Marchenko and Pastur 1967; Edelman
1988; Johnstone 2001 (how far the extreme eigenvalues of finite matrices lie inside of the limit's edges).
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import core, rules, training
from jaxopt_lab.core import Verdict, require_memory
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Must, Precision, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import relative, within
from jaxopt_lab.theory import random_matrices as law

KINDS = ("Gaussian", "coin flips")
RATE = 0.25  # 1 / L, L = 4 for as many examples as dimensions
STRETCH, STRIDE = 32, 4  # records a stretch; each stretch has steps STRIDE times farther apart than the one before
EARLY = 10  # step at which deviations are compared between dimensions
REFERENCE = "Paquette et al. 2020; closed form from the Marchenko-Pastur law"
SEVERAL = Must("hold at least two", lambda dims: len(dims) > 1)


@configclass
class Config:
    """All that can change a number. Entries of the n x d data have mean 0 and variance 1 / n; starts have norm 1."""

    dim: Annotated[int, Whole(50)] = 1000
    """Dimensions d, and examples n = d, of the single runs, a count."""
    num_stretches: Count = 4
    """Length of the single runs: 32, 160, 672, 2720, ... steps for 1, 2, 3, 4, ... stretches, a count."""
    small_dims: Annotated[tuple[int, ...], Whole(20), SEVERAL] = (40, 80, 160, 320)
    """Dimensions at which many draws are compared, counts."""
    num_draws: Annotated[int, Whole(4)] = 60
    """Draws at each of them, a count."""
    seed: Seed = 0
    """Seeds data and starts."""
    dtype: Precision = "float64"
    """Floating type of the runs, "float64" or "float32"; with the minimum at 0 both keep their digits."""

    def __post_init__(self) -> None:
        needed = 3 * 2 * self.dim**2 * np.dtype(self.dtype).itemsize
        told = f"data of {self.dim} x {self.dim}"
        require_memory("single_run_average_case", needed, core.available_memory(), told)


PRESETS = {
    "quick": Config(),
    "full": Config(dim=4000, small_dims=(50, 100, 200, 400, 800), num_draws=100),
    "huge": Config(20_000, 3, (50, 100, 200, 400, 800), num_draws=100, dtype="float32"),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a kind of data, one a small dimension, one an aspect ratio and dimension."""
    return [*_single_runs(config), *_many_draws(config), *_condition_numbers(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Each single run against the curve, the size of deviations against dimensions, kappa against dimensions."""
    many, kappas = rows.where(kind="many draws"), rows.where(kind="kappa")
    scaled = core.mean_of_samples(np.concatenate([(row["off"] / row["predicted"]) ** 2 for row in many]))
    return [
        *(_on_the_curve(config, row) for row in rows.where(kind="single run")),
        # Sampling error, and the spectrum's own part of the variance, 1 / m^2 against 2 / m of the start's.
        within("Runs deviate by sqrt(2 / modes alive), which falls like d^(-1/2),"
               f" d = {many[0]['dim']} to {many[-1]['dim']}",
               f"mean square deviation over its prediction, {many['off'].size} draws", 1.0, scaled.value,
               float(scaled.standard_error or 0) + float(np.mean(many["predicted"] ** 2)),
               reference="variance of a quadratic form on the sphere"),
        _kappa(kappas.where(ratio=1.0), "As many examples as dimensions: kappa grows like d^2",
               "Edelman 1988, theorem 6.1"),
        _kappa(kappas.where(ratio=0.5), "Two examples a dimension: kappa does not grow with d",
               "Marchenko, Pastur 1967; Johnstone 2001"),
    ]  # fmt: skip


def _on_the_curve(config: Config, row: Row) -> Verdict:
    # Four standard errors of the start's components, plus one or two of the m modes alive more in the spectrum.
    error = law.square_data_fluctuation(row["steps"], config.dim)
    allowed = 4 * error + error**2
    worst = int(np.argmax(np.abs(row["loss"] / row["predicted"] - 1) / allowed))
    return relative(f"One run on one draw ({row['data']}) follows the closed form, d = {config.dim}",
                    f"loss after {row['steps'][worst]} steps, where it deviates most for its size",
                    row["predicted"][worst], row["loss"][worst], float(allowed[worst]),
                    reference=REFERENCE)  # fmt: skip


def _kappa(some: Rows, claim: str, source: str) -> Verdict:
    error = float(np.sqrt(np.sum(some["error"] ** 2)) / len(some))
    # Sampling error; both laws are limits, off by about d^(-2/3) of the edge's scale, 1 / d for the square.
    return within(claim, f"mean of ln kappa minus its law, d = {some[0]['dim']} to {some[-1]['dim']}", 0.0,
                  float(np.mean(some["log_kappa"] - some["predicted"])), error + min(some["dim"]) ** (-2 / 3),
                  reference=source)  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The single runs on the curve; deviations against d; kappa against d."""
    figure, (curve, deviations, kappas) = maker.axes(3, 1, height=9.6, gridspec_kw={"height_ratios": [1.4, 1, 1]})
    singles, many = rows.where(kind="single run"), rows.where(kind="many draws")
    steps = singles[0]["steps"][1:]
    exact, spread = law.square_data_loss(steps), 2 * law.square_data_fluctuation(steps, config.dim)
    curve.fill_between(steps, exact * np.maximum(1 - spread, 0.05), exact * (1 + spread), color="#dfe7ee", linewidth=0)
    maker.predicted(curve, steps, exact, color=6)
    shown = np.unique(np.geomspace(1, len(steps), 34).astype(int)) - 1
    for color, (row, marker) in enumerate(zip(singles, "os", strict=True)):
        maker.measured(curve, steps[shown], row["loss"][1:][shown], color=color, marker=marker)
        curve.annotate(f"{row['data']}, one run", (0.05, 0.18 - 0.1 * color), xycoords="axes fraction",
                       color=maker.color(color))  # fmt: skip
    curve.annotate("(4 / π) B(3/2, 2k + 3/2)", (0.42, 0.75), xycoords="axes fraction", color=maker.color(6))
    curve.set(xscale="log", yscale="log", xlabel="step k", ylabel="loss",
              title=f"d = n = {config.dim}; band: two standard errors of one start")  # fmt: skip
    dims = many["dim"]
    dense = np.geomspace(dims[0] / 1.3, dims[-1] * 1.3, 50)
    maker.predicted(deviations, dense, law.square_data_fluctuation(EARLY, 1) / np.sqrt(dense), color=2)
    maker.measured(deviations, dims, many["deviation"], color=2)
    deviations.set(xscale="log", yscale="log", xlabel="d", ylabel="deviation, relative",
                   title=f"standard deviation of a run from the curve, k = {EARLY}")  # fmt: skip
    deviations.set_yticks([0.05, 0.1, 0.2], ["0.05", "0.1", "0.2"])
    for color, ratio, told in ((1, 1.0, "n = d"), (0, 0.5, "n = 2d")):
        some = rows.where(kind="kappa", ratio=ratio)
        maker.predicted(kappas, some["dim"], np.exp(some["predicted"]), color=color, label=told)
        maker.measured(kappas, some["dim"], np.exp(some["log_kappa"]), color=color)
    kappas.set(xscale="log", yscale="log", xlabel="d", ylabel="kappa", ylim=(10, None))
    for axes in (deviations, kappas):
        axes.set_xticks(dims, [str(dim) for dim in dims])
        axes.minorticks_off()
    return figure


def caption(config: Config, rows: Rows) -> str:
    run, square, wide = (rows.where(**which) for which in ({"kind": "single run"}, {"ratio": 1.0}, {"ratio": 0.5}))
    shown = int(np.searchsorted(run[0]["steps"], 100, side="right"))
    worst = np.abs(run[0]["loss"] / run[0]["predicted"] - 1)[:shown].max()
    return (
        f"One run of gradient descent on one draw of {config.dim} x {config.dim} random data follows the closed form"
        f" within {worst:.0%} up to step {run[0]['steps'][shown - 1]}, although kappa is about d^2,"
        f" {np.exp(square[-1]['log_kappa']):.1g} at d = {square[-1]['dim']}. With two examples a dimension kappa is"
        f" {np.exp(wide[-1]['log_kappa']):.0f} there, and nearly the same at any d."
    )


def _loss(data: jax.Array, params: jax.Array, batch: Any, key: Any) -> jax.Array:
    """Independent least squares side by side: data [b, n, d], parameters [b, d], the loss their sum."""
    return 0.5 * jnp.sum(jnp.square(jnp.einsum("bnd,bd->bn", data, params)))


def _each_loss(seen: training.Observation) -> jax.Array:
    """The losses [b] one by one: a problem whose parameters are set to 0 adds nothing."""
    alone = jnp.eye(seen.params.shape[0], dtype=seen.params.dtype)[:, :, None]
    return jax.lax.map(lambda chosen: seen.loss(chosen * seen.params), alone)


def _descend(data: jax.Array, start: jax.Array, steps: int, every: int, **options: Any) -> training.Trace:
    problem = core.from_loss(jax.tree_util.Partial(_loss, data), start, name="random-least-squares")
    probes = (training.loss(), training.Probe("losses", _each_loss))
    return training.run(problem, rules.sgd, {"learning_rate": RATE}, steps=steps, every=every, probes=probes, **options)


def _starts(rng: np.random.Generator, num: int, dim: int) -> jax.Array:
    points = rng.normal(size=(num, dim))
    return jnp.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), float)


def _single_runs(config: Config) -> list[Row]:
    rng, real = np.random.default_rng(config.seed), np.dtype(config.dtype)
    data = np.empty((2, config.dim, config.dim), real)
    data[0] = rng.standard_normal((config.dim, config.dim), real)
    data[1] = 2 * rng.integers(0, 2, (config.dim, config.dim), np.int8) - 1
    data /= np.sqrt(config.dim)
    data, point = jnp.asarray(data), _starts(rng, len(KINDS), config.dim)
    steps, losses = [np.zeros(1, int)], []
    for stretch in range(config.num_stretches):
        every = STRIDE**stretch
        trace = _descend(data, point, STRETCH * every, every, execution=training.Execution(segments=1))
        point = trace.params_of()
        losses.append(trace["losses"][0] if stretch == 0 else trace["losses"][0, 1:])
        steps.append(steps[-1][-1] + trace.steps[1:])
    taken, curves = np.concatenate(steps), np.concatenate(losses).astype(np.float64)
    return [{"kind": "single run", "data": kind, "learning_rate": RATE, "steps": taken, "loss": curve,
             "predicted": np.asarray(law.square_data_loss(taken))}
            for kind, curve in zip(KINDS, curves.T, strict=True)]  # fmt: skip


def _many_draws(config: Config) -> list[Row]:
    rng, rows = np.random.default_rng(config.seed), []
    for dim in config.small_dims:
        data = jnp.asarray(rng.normal(size=(config.num_draws, dim, dim)) / np.sqrt(dim), float)
        trace = _descend(data, _starts(rng, config.num_draws, dim), EARLY, EARLY)
        off = trace["losses"][0, -1].astype(np.float64) / float(law.square_data_loss(EARLY)) - 1
        rows.append({"kind": "many draws", "dim": dim, "deviation": float(np.sqrt(np.mean(off**2))), "off": off,
                     "predicted": float(law.square_data_fluctuation(EARLY, dim))})  # fmt: skip
    return rows


def _condition_numbers(config: Config) -> list[Row]:
    rng, rows = np.random.default_rng(config.seed), []
    for ratio, dim in ((ratio, dim) for ratio in (1.0, 0.5) for dim in config.small_dims):
        data = rng.normal(size=(config.num_draws, int(dim / ratio), dim))
        spectra = np.linalg.eigvalsh(data.swapaxes(1, 2) @ data)
        logs = core.mean_of_samples(np.log(spectra[:, -1] / spectra[:, 0]))
        square = 2 * float(law.square_gaussian_log_condition_number(dim))
        rows.append({
            "kind": "kappa", "ratio": ratio, "dim": dim, "log_kappa": logs.value, "error": logs.standard_error,
            "predicted": square if ratio == 1.0 else float(law.log_condition_number(dim, ratio)),
        })  # fmt: skip
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
