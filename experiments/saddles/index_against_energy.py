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
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import curvature, objectives, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, require_count, vectors
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Increasing, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most

FRYE = "Frye et al. 2021, Neural Computation 33"
LANDSCAPES = {  # the law of the index, the energy below which there are only minima, title, source
    "spin glass": (theory.landscapes.spherical_index, theory.landscapes.spherical_threshold(3), "Spherical 3-spin",
                   "Auffinger, Ben Arous and Cerny 2013, Comm. Pure Appl. Math. 66"),
    "Gaussian field": (theory.landscapes.gaussian_field_index, -2.0, "Gaussian field",
                       "Bray and Dean 2007, PRL 98, 150201"),
}  # fmt: skip


@configclass
class Config:
    """All that can change a number. Energies are per dimension."""

    dim: Annotated[int, Whole(4)] = 100
    """Spins N of the spherical 3-spin model, a count."""
    num_runs: Count = 12
    """Runs of descent over it, a count; a search starts from each of their kept points."""
    field_dim: Annotated[int, Whole(4)] = 40
    """Dimensions N of the Gaussian field, a count."""
    num_features: int = 6_000
    """Random features M of the field, a count, far above N."""
    num_field_runs: Count = 6
    """Runs of descent over the field, a count."""
    kept_steps: Annotated[tuple[Seed, ...], Increasing("hold two numbers that increase")] = (
        0, 2, 5, 10, 20, 40, 80, 200,
    )  # fmt: skip
    """Steps of descent after which a search starts, increasing."""
    learning_rate: Positive = 0.05
    """Of descent, in units of 1 / curvature; curvatures are at most about 10."""
    iterations: Count = 60
    """Newton steps of a search at most, a count."""
    least_points: Annotated[int, Whole(2)] = 40
    """Distinct accepted critical points of the spin glass that the claim asks for, a count."""
    seed: int = 0
    """Seeds the landscapes and the starts."""

    def __post_init__(self) -> None:
        least = 10 * self.field_dim
        require_count("index_against_energy", "num_features", self.num_features, least, "It is not Gaussian.")


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
    rows = _search(config, "spin glass", _lifted(glass), starts, config.dim - 1)
    starts = _descend(config, field, config.num_field_runs)
    return rows + _search(config, "Gaussian field", field, starts, config.field_dim)


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The number of critical points, their index against the law, and what the rejected ends are."""
    points = {name: _points(ends) for name, ends in rows.by("landscape").items()}
    lost = rows.where(outcome=_is_rejected)
    return [
        at_least("The searches find enough critical points of the spin glass", "distinct accepted critical points",
                 config.least_points, len(points["spin glass"]), reference=LANDSCAPES["spin glass"][3]),
        *(verdict for name, dim in (("spin glass", config.dim), ("Gaussian field", config.field_dim)) for verdict in (
            at_most(f"The height says the index of a critical point of the {name}, to one direction in {dim}",
                    f"rms deviation of the index fraction over {len(points[name])} points", 1 / dim,
                    _deviation(points[name]), reference=LANDSCAPES[name][3]),
            at_least(f"The lower a critical point of the {name}, the fewer ways down",
                     "correlation of the index with its law", 0.97, _correlation(points[name]),
                     reference=LANDSCAPES[name][3]))),
        at_least("Most searches that miss end at gradient-flat points",
                 f"share of {len(lost)} rejected among {len(rows)} ends", 0.5,
                 float(np.mean(lost["outcome"] == "gradient-flat")) if lost else np.nan, reference=FRYE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Index against energy in both landscapes, with the law, the threshold and the rejected ends."""
    figure, panels = maker.axes(2, height=7.4)
    for axes, (name, ends) in zip(panels, rows.by("landscape").items(), strict=True):
        law, edge, title, _ = LANDSCAPES[name]
        points, lost = _points(ends), ends.where(outcome=_is_rejected)
        energies = np.linspace(1.12 * edge, max(0.1, *ends["energy"]), 200)
        maker.predicted(axes, energies, law(energies))
        axes.plot(lost["energy"], lost["index"], "o", markerfacecolor="none", color="#8a94a0",
                  label=f"{len(lost)} ends rejected")  # fmt: skip
        maker.measured(axes, points["energy"], points["index"], color=1, markersize=6)
        axes.plot([], [], "o", color=maker.color(1), label=f"{len(points)} critical points")
        axes.axvline(edge, color="#8a94a0", linestyle=":")
        axes.text(edge, 0.3, " below:\n only\n minima", va="center")
        axes.legend(loc="upper left", bbox_to_anchor=(0.2, 1.0))
        axes.set(ylim=(-0.02, None), ylabel="share of directions down",
                 title=f"{title}: the height says the index, to {_deviation(points):.4f}")  # fmt: skip
    panels[-1].set_xlabel("energy per dimension")
    return figure


def caption(config: Config, rows: Rows) -> str:
    parts = []
    for name, ends in rows.by("landscape").items():
        points, lost = _points(ends), ends.where(outcome=_is_rejected)
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


def _search(config: Config, name: str, problem: Problem, starts: np.ndarray, directions: int) -> list[Row]:
    """Searches from the starts, and what each end turned out to be."""
    rows = []
    for end in curvature.find_critical_points(problem, starts, iterations=config.iterations):
        point = curvature.examine_point(problem, end)
        energy = point.loss / len(end)
        rows.append({
            "landscape": name, "energy": energy, "index": float(np.sum(point.eigenvalues < 0)) / directions,
            "predicted": float(LANDSCAPES[name][0](energy)), "outcome": point.outcome, "directions": directions,
            "gradient_norm": point.gradient_norm, "newton_step": point.step_norm, "learning_rate": config.learning_rate,
        })  # fmt: skip
    return rows


def _points(ends: Rows) -> Rows:
    """The critical points among the ends of searches, by increasing energy."""
    return ends.where(outcome="accepted").distinct("energy", 1e-9)


def _is_rejected(outcome: str) -> bool:
    return outcome != "accepted"


def _deviation(points: Rows) -> float:
    """Root of the mean squared distance from the law; NaN without points."""
    return float(np.sqrt(np.mean((points["index"] - points["predicted"]) ** 2))) if points else np.nan


def _correlation(points: Rows) -> float:
    if len(points) < 3:
        return np.nan
    return float(np.corrcoef(np.stack([points["index"], points["predicted"]], axis=1).T)[0, 1])


if __name__ == "__main__":
    raise SystemExit(main())
