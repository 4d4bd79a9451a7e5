"""Does the height of a critical point say how many directions lead down from it?

What the lecture says: in high dimension saddles are "going to happen almost everywhere", so that it is "more about
saddle points and less about local minima".

What is true: in random landscapes it depends on the height alone, and the law has no parameter to fit. The Hessian at a
critical point is a semicircle whose centre moves with the energy, so half of the directions lead down half way up,
fewer further down, and none below a threshold: there every critical point is a minimum. The lecture holds high up and
fails near the bottom, which is where descent ends.

Critical points are the ends of damped Newton searches from points of runs of descent, in float64. An end counts only if
|g| < 1e-8 and a full Newton step stays where it is; the others, gradient-flat ones above all, are counted and drawn. On
the sphere the direction along x, in which the energy is constant, is lifted by (|x|^2 - N)^2 / (8 N): this moves no
critical point, gives that direction the eigenvalue 1, and the index is counted over the other N - 1.

Rejected ends lie on the curve as well: at a given height the Hessian does not depend on the gradient. So a plot of
index against loss does not tell whether its points are critical.

The index of one random matrix varies by about sqrt(ln N / pi^2 + .2455), one direction or less, so 1 / N is as close as
single points can come.

Source: Auffinger, Ben Arous and Cerny 2013 for the spherical spin glass; Bray and Dean 2007, PRL 98, 150201, for the
field; Frye et al. 2021, Neural Computation 33, for gradient-flat points.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import curvature, objectives, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, fail, require_count, vectors
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import (
    Positive,
    configclass,
)
from jaxopt_lab.studies.verdicts import at_least, at_most

AUFFINGER = "Auffinger, Ben Arous and Cerny 2013, Comm. Pure Appl. Math. 66"
BRAY = "Bray and Dean 2007, PRL 98, 150201"
FRYE = "Frye et al. 2021, Neural Computation 33"
SPIN_GLASS, FIELD = "spin glass", "Gaussian field"


@configclass
class Config:
    """All that can change a number. Energies are per dimension."""

    dim: int = 100
    """Spins N of the spherical 3-spin model, a count."""
    num_runs: int = 12
    """Runs of descent over it, a count; a search starts from each of their kept points."""
    field_dim: int = 40
    """Dimensions N of the Gaussian field, a count."""
    num_features: int = 6_000
    """Random features M of the field, a count, far above N."""
    num_field_runs: int = 6
    """Runs of descent over the field, a count."""
    kept_steps: tuple[int, ...] = (0, 2, 5, 10, 20, 40, 80, 200)
    """Steps of descent after which a search starts, increasing."""
    learning_rate: Positive = 0.05
    """Of descent, in units of 1 / curvature; curvatures are at most about 10."""
    iterations: int = 60
    """Newton steps of a search at most, a count."""
    least_points: int = 40
    """Distinct accepted critical points of the spin glass that the claim asks for, a count."""
    seed: int = 0
    """Seeds the landscapes and the starts."""

    def __post_init__(self) -> None:
        counts = {"dim": 4, "field_dim": 4, "num_runs": 1, "num_field_runs": 1, "iterations": 1, "least_points": 2}
        for name, minimum in counts.items():
            require_count("index_against_energy", name, getattr(self, name), minimum)
        require_count(
            "index_against_energy", "num_features", self.num_features, 10 * self.field_dim, "It is not Gaussian."
        )
        if len(self.kept_steps) < 2 or list(self.kept_steps) != sorted(set(self.kept_steps)) or self.kept_steps[0] < 0:
            raise fail("index_against_energy", f"kept_steps must hold two numbers that increase, got {self.kept_steps}")


PRESETS = {
    "quick": Config(),
    "full": Config(dim=160, num_runs=12, num_features=12_000),
    "huge": Config(dim=1_000, num_runs=16, field_dim=200, num_features=100_000, num_field_runs=16, iterations=200),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row an end of a search, in either landscape."""
    spin_key, field_key = jax.random.split(jax.random.key(config.seed))
    glass = objectives.spherical_spin_glass(spin_key, config.dim)
    field = objectives.gaussian_field(field_key, config.field_dim, config.num_features)
    starts = _descend(config, glass, config.num_runs)
    starts *= np.sqrt(config.dim) / np.linalg.norm(starts, axis=1, keepdims=True)
    rows = _search(config, SPIN_GLASS, _lifted(glass), starts, config.dim - 1)
    return rows + _search(config, FIELD, field, _descend(config, field, config.num_field_runs), config.field_dim)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The number of critical points, their index against the law, and what the rejected ends are."""
    found: list[Verdict] = []
    for name, source in ((SPIN_GLASS, AUFFINGER), (FIELD, BRAY)):
        points = _distinct(rows, name)
        if name == SPIN_GLASS:
            found.append(
                at_least("The searches find enough critical points of the spin glass",
                         "distinct accepted critical points", config.least_points, len(points), reference=source),
            )  # fmt: skip
        dim = config.dim if name == SPIN_GLASS else config.field_dim
        found += [
            at_most(f"The height says the index of a critical point of the {name}, to one direction in {dim}",
                    f"rms deviation of the index fraction over {len(points)} points", 1 / dim, _deviation(points),
                    reference=source),
            at_least(f"The lower a critical point of the {name}, the fewer ways down",
                     "correlation of the index with its law", 0.97, _correlation(points), reference=source),
        ]  # fmt: skip
    lost = [row for row in rows if row["outcome"] != "accepted"]
    flat = float(np.mean([row["outcome"] == "gradient-flat" for row in lost])) if lost else np.nan
    return [
        *found,
        at_least("Most searches that miss end at gradient-flat points",
                 f"share of {len(lost)} rejected among {len(rows)} ends", 0.5, flat, reference=FRYE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Index against energy in both landscapes, with the law, the threshold and the rejected ends."""
    figure, panels = maker.axes(2, height=7.4)
    edges = {SPIN_GLASS: theory.landscapes.spherical_threshold(3), FIELD: -2.0}
    for axes, name in zip(panels, (SPIN_GLASS, FIELD), strict=True):
        points, lost = _distinct(rows, name), [row for row in _of(rows, name) if row["outcome"] != "accepted"]
        highest = max(0.1, *(row["energy"] for row in _of(rows, name)))
        energies = np.linspace(1.12 * edges[name], highest, 200)
        maker.predicted(axes, energies, _law(name)(energies))
        axes.plot(*_columns(lost), "o", markerfacecolor="none", color="#8a94a0", label=f"{len(lost)} ends rejected")
        maker.measured(axes, *_columns(points), color=1, markersize=6, label="")
        axes.plot([], [], "o", color=maker.color(1), label=f"{len(points)} critical points")
        axes.axvline(edges[name], color="#8a94a0", linestyle=":")
        axes.text(edges[name], 0.3, " below:\n only\n minima", va="center")
        axes.legend(loc="upper left", bbox_to_anchor=(0.2, 1.0))
        axes.set(ylim=(-0.02, None), ylabel="share of directions down")
        title = "Spherical 3-spin" if name == SPIN_GLASS else "Gaussian field"
        axes.set_title(f"{title}: the height says the index, to {_deviation(points):.4f}")
    panels[-1].set_xlabel("energy per dimension")
    return figure


def caption(config: Config, rows: Rows) -> str:
    parts = []
    for name in (SPIN_GLASS, FIELD):
        points, ends = _distinct(rows, name), _of(rows, name)
        lost = [row for row in ends if row["outcome"] != "accepted"]
        parts.append(
            f"{len(points)} critical points of the {name} between energies {points[0]['energy']:.2f} and"
            f" {points[-1]['energy']:.2f} lie on the law to {_deviation(points):.4f} rms (correlation"
            f" {_correlation(points):.3f}); of {len(ends)} searches {len(lost)} ended at no critical point"
        )
    return "The index falls with the energy as the semicircle says, nothing fitted: " + ", and ".join(parts) + "."


def _descend(config: Config, problem: Problem, num_runs: int) -> np.ndarray:
    """Points along runs of descent [runs x steps, d], from high to low."""
    trace = training.run(
        problem, rules.sgd, {"learning_rate": config.learning_rate}, steps=config.kept_steps[-1],
        seeds=config.seed + np.arange(num_runs), probes=[training.Probe("params", lambda seen: seen.params)],
    )  # fmt: skip
    points = trace["params"][:, list(config.kept_steps)]
    return points.reshape(-1, points.shape[-1])


def _lifted(glass: Problem) -> Problem:
    """The spin glass with its flat direction, along x, lifted to the eigenvalue 1 on the sphere |x|^2 = N."""

    def loss(glass_loss: Any, params: jax.Array, batch: Any, key: Any) -> jax.Array:
        excess = vectors.sum_of_squares(params) - params.shape[0]
        return glass_loss(params, batch, key) + jnp.square(excess) / (8 * params.shape[0])

    return dataclasses.replace(glass, loss=jax.tree_util.Partial(loss, glass.loss))


def _search(config: Config, name: str, problem: Problem, starts: np.ndarray, directions: int) -> list[dict[str, Any]]:
    """Searches from the starts, and what each end turned out to be."""
    ends = curvature.find_critical_points(problem, starts, iterations=config.iterations)
    known = {"learning_rate": config.learning_rate, "effective_rate": config.learning_rate, "directions": directions}
    rows = []
    for end in ends:
        point = curvature.examine_point(problem, end)
        energy = point.loss / len(end)
        rows.append({
            "landscape": name, "energy": energy, "index": float(np.sum(point.eigenvalues < 0)) / directions,
            "predicted": float(_law(name)(energy)), "outcome": point.outcome, "gradient_norm": point.gradient_norm,
            "newton_step": point.step_norm, **known,
        })  # fmt: skip
    return rows


def _law(name: str) -> Any:
    return theory.landscapes.spherical_index if name == SPIN_GLASS else theory.landscapes.gaussian_field_index


def _distinct(rows: Rows, name: str) -> list[Any]:
    """The accepted critical points by increasing energy, each once."""
    accepted = sorted((row for row in _of(rows, name) if row["outcome"] == "accepted"), key=lambda row: row["energy"])
    gaps = np.diff([-np.inf, *(row["energy"] for row in accepted)])
    return [row for row, gap in zip(accepted, gaps, strict=True) if gap > 1e-9]


def _of(rows: Rows, name: str) -> list[Any]:
    return rows.where(landscape=name)


def _columns(points: list[Any]) -> tuple[list[float], list[float]]:
    return [row["energy"] for row in points], [row["index"] for row in points]


def _deviation(points: list[Any]) -> float:
    """Root of the mean squared distance from the law; NaN without points."""
    return float(np.sqrt(np.mean([(row["index"] - row["predicted"]) ** 2 for row in points]))) if points else np.nan


def _correlation(points: list[Any]) -> float:
    pairs = np.array([(row["index"], row["predicted"]) for row in points])
    return float(np.corrcoef(pairs.T)[0, 1]) if len(points) > 2 else np.nan


if __name__ == "__main__":
    raise SystemExit(main())
