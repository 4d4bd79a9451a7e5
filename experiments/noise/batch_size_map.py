"""At which batch sizes does momentum help?

What the lecture says: a minibatch gives "some noisy estimate of the gradient", so that training "might actually take a
long time"; the full batch "doesn't really solve these problems"; momentum averages the noise out.

What is true: exactly, for linear regression on fresh batches: the noise scales with the error, and it moves the edge of
stability. In small batches the edge of the effective rate learning_rate / (1 - rho) is the same for every rho, and so
is the number of steps: momentum gains nothing. In large ones the edge is 2 (1 + rho) and momentum is many times faster.
In between lies, for equal eigenvalues, the batch (d + 1)(1 + rho) / (1 - rho). A full batch leaves conditioning alone.

Source: the second moments of `theory.second_moments`; Zhang et al. 2019; Kidambi et al. 2018.
"""

from functools import partial
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import minimize_scalar

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.reporting import FigureMaker, sliders
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, Increasing, NotEmpty, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, relative

BLOCK, LONGEST = 128, 2**20
REFERENCE = "second moments of regression; Zhang et al., NeurIPS 2019"


@configclass
class Config:
    """All that can change a number. The spectrum is log-uniform up to 1, the labels have no noise."""

    dim: Annotated[int, Whole(2), Between("[2, 500]", why="The exact curves need matrices of (3 d)^2.")] = 32
    """Number of parameters d, at most 500."""
    kappa: Annotated[float, Between("(1, inf)")] = 1000.0
    """Condition number of the inputs' covariance."""
    rhos: Annotated[
        tuple[float, ...], Between("[0, 1)"), Increasing("start with 0 and go on with another", first=0)
    ] = (0.0, 0.9, 0.98)
    """Momentum constants, pure numbers in [0, 1), increasing; the first is what the others are compared with."""
    batch_sizes: Annotated[tuple[Count, ...], Increasing("be two or more, increasing")] = (
        1, 4, 16, 64, 256, 1024, 8192,
    )  # fmt: skip
    """Examples a step, for the exact curves, increasing."""
    simulated: Annotated[tuple[int, ...], NotEmpty("batch size")] = (1, 64)
    """Those of them that are also run."""
    num_seeds: Annotated[int, Whole(4)] = 8
    """Runs of each setting, a count."""
    target: Annotated[float, Between("[1e-12, 0.5]")] = 1e-5
    """The excess risk to reach, as a fraction of its start."""
    grid: Annotated[int, Whole(4)] = 8
    """Learning rates from 0.05 of the edge to the edge between which the best is looked for, a count."""

    def __post_init__(self) -> None:
        if not set(self.simulated) <= set(self.batch_sizes):
            raise fail("batch_size_map", f"simulated must be among batch_sizes, got {self.simulated}")

    @property
    def spectrum(self) -> np.ndarray:
        """Eigenvalues of the inputs' covariance, [d]."""
        return np.geomspace(1 / self.kappa, 1, self.dim)


SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16_384)
PRESETS = {
    "quick": Config(),
    "full": Config(dim=64, batch_sizes=SIZES, simulated=(1, 4, 16, 64, 256), num_seeds=16, grid=16),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a batch size and rho: the best learning rate, exact steps and, where simulated, steps of real runs."""
    rows = []
    for batch_size in config.batch_sizes:
        cells = [_tuned(config, batch_size, rho) for rho in config.rhos]
        if batch_size in config.simulated:
            _simulate(config, batch_size, cells)
        rows += cells
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Simulation against the exact curves; the gain at both ends; the edge and its limits."""
    small, large, rho = config.batch_sizes[0], config.batch_sizes[-1], config.rhos[1]
    told = "SGD's steps over momentum's, batch size"
    return [
        # The expected risk is carried by rare slow runs, more so near the edge, where the best rate lies: a mean over
        # few runs lies low. At batch size 1 and d = 32 it needed 8 % fewer steps over 8 runs and 3 % fewer over 64.
        *(relative(f"Real runs need the exact number of steps at batch size {row['batch_size']}, rho = {row['rho']:g}",
                   f"steps to {config.target:g} of the start", row["steps"], row["measured_steps"], 0.1, unit="steps",
                   reference=REFERENCE) for row in rows if row["measured_steps"] is not None),
        # A batch of 1 is not yet the limit of no signal: the gain exceeds 1 by a few times batch size / dimension.
        relative(f"In the smallest batch momentum (rho = {rho:g}) gains next to nothing", f"{told} {small}", 1.0,
                 _gain(rows, small, rho), 0.1, reference="Kidambi et al. 2018; exact recursion"),
        at_least(f"In a large batch momentum (rho = {rho:g}) is many times faster", f"{told} {large}", 5.0,
                 _gain(rows, large, rho), reference=REFERENCE),
        # 2 % of the steps are noise at batch sizes of 100 dimensions, by B_noise / B.
        relative("A full batch leaves conditioning as it is: SGD's steps stop falling",
                 f"SGD's steps, batch size {large}",
                 _tuned(config, 2**50, 0.0)["steps"], rows.only(batch_size=large, rho=0.0)["steps"], 0.02, unit="steps",
                 reference="exact recursion without noise"),
        *(verdict for rho in config.rhos[1:] for verdict in _edges(config, rows.where(rho=rho), rho)),
    ]  # fmt: skip


def _edges(config: Config, rows: Rows, rho: float) -> list[Verdict]:
    right = 0
    for row, factor in ((row, factor) for row in rows for factor in (0.99, 1.01)):
        matrix = theory.second_moments.second_moment_matrix(
            config.spectrum, factor * row["edge"], float(row["batch_size"]), rho
        )
        right += (np.abs(np.linalg.eigvals(matrix)).max() < 1) == (factor < 1)
    edge, tiny, huge = partial(theory.minibatch.mean_square_edge, np.ones(config.dim)), 1e-4, 1e9
    crossover = float(theory.minibatch.crossover_batch(config.dim, rho))
    return [
        absolute(f"The feedback formula F = 1 is the edge of the exact second moments at rho = {rho:g}",
                 "brackets at 0.99 and 1.01 of the edge that hold", 2 * len(config.batch_sizes), right,
                 reference="theory.minibatch.mean_square_edge"),
        # The first correction to either limit is the batch size over the crossover, or its inverse: below 1e-5.
        relative(f"In a tiny batch the edge of the effective rate is SGD's, at rho = {rho:g}",
                 "edge over SGD's edge, over (1 - rho)", 1.0, edge(tiny, rho) / edge(tiny, 0.0) / (1 - rho), 1e-5,
                 reference="Andreyev et al. 2026, arXiv 2604.14108"),
        relative(f"In a huge batch the edge is heavy ball's 2 (1 + rho), at rho = {rho:g}",
                 "learning rate at the edge", float(theory.stability.large_batch_edge(rho)), edge(huge, rho), 1e-5,
                 unit="1 / eigenvalue", reference="Polyak 1964"),
        relative(f"Half of that is reached at batch size (d + 1)(1 + rho) / (1 - rho) = {crossover:.0f}",
                 "learning rate at the edge", 1 + rho, edge(crossover, rho), 1e-9, unit="1 / eigenvalue",
                 reference="isotropic edge"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Steps to the target (above) and the edge of the effective rate (below) against batch size, a colour each rho."""
    figure, (steps, edges) = maker.axes(2, 1, sharex=True, height=7.2)
    dense = np.geomspace(config.batch_sizes[0], config.batch_sizes[-1], 25)
    for color, (rho, cells) in enumerate(rows.by("rho").items()):
        name, ran = "SGD" if rho == 0 else f"rho = {rho:g}", cells.where(measured_steps=lambda steps: steps is not None)
        maker.predicted(steps, cells["batch_size"], cells["steps"], color=color, label=name)
        maker.measured(steps, ran["batch_size"], ran["measured_steps"], color=color)
        edge = [theory.minibatch.mean_square_edge(config.spectrum, float(size), rho) / (1 - rho) for size in dense]
        maker.predicted(edges, dense, edge, color=color, label=name)
        edges.plot(cells["batch_size"], cells["effective_rate"], color=maker.color(color), linestyle=":")
    steps.set(xscale="log", yscale="log", ylabel="steps to the target",
              title="Steps at the best learning rate: line exact, dots real runs")  # fmt: skip
    edges.set(xscale="log", yscale="log", ylabel="learning rate / (1 - rho)", xlabel="batch size, examples",
              title="Edge of stability of the effective rate; dotted: the best rate")  # fmt: skip
    return figure


def slider(config: Config, rows: Rows) -> dict[str, Any]:
    """The edge of the effective rate against the batch size, at one rho; the rates of the fewest steps lie below it."""
    last = config.batch_sizes[-1]
    return sliders.slider(
        "mean_square_edge", eigenvalues=config.spectrum.tolist(),
        x=sliders.axis("batch size, examples", config.batch_sizes[0], last, log=True),
        y=sliders.axis("learning rate / (1 - rho)", min(rows["effective_rate"]) / 2, 1e4, log=True),
        dots=[sliders.dots("best learning rate", cells["batch_size"], cells["effective_rate"], color=2, rho=float(rho))
              for rho, cells in rows.by("rho").items()],
    )  # fmt: skip


def caption(config: Config, rows: Rows) -> str:
    rho, small, large = config.rhos[1], config.batch_sizes[0], config.batch_sizes[-1]
    return (
        f"At batch size {small} momentum (rho = {rho:g}) saves next to nothing, each at its best"
        f" learning rate (SGD takes {_gain(rows, small, rho):.2f} times its steps); at {large} SGD takes"
        f" {_gain(rows, large, rho):.1f} times its steps: momentum cures conditioning, not noise."
    )


def _gain(rows: Rows, size: int, rho: float) -> float:
    return rows.only(batch_size=size, rho=0.0)["steps"] / rows.only(batch_size=size, rho=rho)["steps"]


def _tuned(config: Config, batch_size: int, rho: float) -> Row:
    """The learning rate with the fewest exact steps: the best of a grid, refined between its neighbours."""
    edge = theory.minibatch.mean_square_edge(config.spectrum, float(batch_size), rho)

    def cost(log_rate: float) -> float:
        return _exact_steps(config.spectrum, float(np.exp(log_rate)), batch_size, rho, config.target)

    grid = np.log(edge * np.geomspace(0.05, 0.995, config.grid))
    costs = [cost(place) for place in grid]
    k = int(np.argmin(costs))
    between = (grid[max(k - 1, 0)], grid[min(k + 1, config.grid - 1)])
    found = minimize_scalar(cost, bounds=between, method="bounded", options={"xatol": 0.01})
    log_rate, steps = (found.x, found.fun) if found.fun < costs[k] else (grid[k], costs[k])
    return {"batch_size": batch_size, "rho": rho, "learning_rate": float(np.exp(log_rate)), "edge": edge,
            "effective_rate": float(np.exp(log_rate)) / (1 - rho), "steps": float(steps),
            "measured_steps": None}  # fmt: skip


def _exact_steps(spectrum: np.ndarray, rate: float, batch_size: int, rho: float, target: float) -> float:
    """Steps until the expected risk first is `target` of its start, interpolated in its logarithm; inf past LONGEST."""
    matrix = theory.second_moments.second_moment_matrix(spectrum, rate, float(batch_size), rho)
    none = np.zeros(2 * len(spectrum))
    weights = np.concatenate([spectrum / spectrum.sum(), none])
    done, risks = _first_block_below(matrix, weights, np.concatenate([np.ones_like(spectrum), none]), target)
    return float(done) + measures.crossing(np.arange(-1, BLOCK), np.asarray(risks), target, log=True)


@jax.jit
def _first_block_below(matrix: jax.Array, weights: jax.Array, moments: jax.Array, target: float) -> Any:
    """The first BLOCK steps that hold the crossing: how many came before, and their risks, with the last one before."""
    rows = weights[None]
    while len(rows) < BLOCK:  # row k becomes the risk after k steps, by doubling; matrix becomes that of BLOCK steps
        rows, matrix = jnp.concatenate([rows, rows @ matrix]), matrix @ matrix

    def advance(carry: Any) -> Any:
        done, risks, moments = carry
        moments = matrix @ moments
        return done + BLOCK, jnp.concatenate([risks[-1:], rows @ moments]), moments

    def above(carry: Any) -> jax.Array:
        return (carry[0] < LONGEST) & ~jnp.any(carry[1] <= target)

    first = (0, jnp.concatenate([jnp.ones(1), rows @ moments]), moments)
    return jax.lax.while_loop(above, advance, first)[:2]


def _simulate(config: Config, batch_size: int, cells: list[Row]) -> None:
    """Adds the steps of real runs at the best learning rates: all rhos and seeds side by side in one program."""
    problem = objectives.streaming_regression(config.spectrum, batch_size=batch_size, start=1.0)
    hyper = {name: np.repeat([cell[name] for cell in cells], config.num_seeds) for name in ("learning_rate", "rho")}
    steps = int(1.3 * max(cell["steps"] for cell in cells))
    trace = training.run(problem, rules.heavy_ball, hyper, steps=steps, every=max(steps // 2000, 1),
                         seeds=np.tile(np.arange(config.num_seeds), len(cells)),
                         params=jnp.ones(config.dim))  # fmt: skip
    risks = trace["loss"].reshape(len(cells), config.num_seeds, -1) * 2 / config.spectrum.sum()
    for cell, curves in zip(cells, risks, strict=True):
        cell["measured_steps"] = measures.crossing(trace.steps, curves.mean(0), config.target, log=True)


if __name__ == "__main__":
    raise SystemExit(main())
