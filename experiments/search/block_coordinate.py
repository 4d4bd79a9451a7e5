"""May hyperparameters be searched one at a time?

What the lecture says: you "might do kind of a block coordinate descent", hold all but one and search that one; "for
learning rates, that's typically less of a problem".

What is true: one at a time is as good as the hyperparameters are independent. Where two of them interact with
correlation r, a sweep over both leaves r^2 of the distance to the optimum, and r^4 of the excess loss: at r = .99 the
loss falls by 4 % a sweep. And the learning rate is the one that interacts most: with momentum (here), with the batch
size, with weight decay. On a noisy quadratic the best rate falls like 1 - rho, so that lr and rho have r = -.995: a
search along lr and along rho stands still on the slope of a narrow valley, and lines of 15 trials do not even see the
step that is left. Searched as lr / (1 - rho) and rho, r is .14, and two sweeps are enough. What it costs is little
where the valley is flat, as it is here: 1.6 % of the loss.

Runs of the engine show that the response is that of the exact recursion of second moments; the searches are then made
on the expected loss itself, without noise.

Source: Gauss-Seidel's rate on a 2 x 2 matrix; Shallue et al., Measuring the effects of data parallelism, 2019, section
4.7, for the effective rate.
"""

from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from scipy.optimize import minimize, minimize_scalar

from jaxopt_lab import objectives, rules, search, theory, training
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Increasing, NotEmpty, OpenUnit, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, everywhere, within

GAUSS_SEIDEL = "Gauss-Seidel's rate on a 2 x 2 matrix"
SHALLUE = "Shallue et al. 2019, section 4.7"
RECURSION = "exact recursion of second moments"
SPECTRUM, NOISE = (1.0, 1e-3), 1.0
START = (1.0, 1000**0.5)
LOWEST, HIGHEST, LARGEST_RHO = 3e-4, 3.0, 0.995
NEAR = 0.02
FROM_ZERO = Increasing("be three or more that increase from 0", least=3, first=0)
Response = Callable[[np.ndarray], float]


@configclass
class Config:
    """All that can change a number. The noisy quadratic has eigenvalues 1 and 1/1000 and starts with equal losses."""

    correlations: Annotated[tuple[OpenUnit, ...], NotEmpty("number")] = (0.5, 0.9, 0.99)
    """Correlations r of the quadratic responses, in (0, 1)."""
    rhos: Annotated[tuple[float, ...], FROM_ZERO, Between(f"[0, {LARGEST_RHO}]")] = (0.0, 0.5, 0.8, 0.9, 0.95, 0.99)
    """Momenta of the runs, increasing from 0."""
    horizon: Annotated[int, Whole(10)] = 1000
    """Length of a run, steps."""
    num_rates: Annotated[int, Whole(5)] = 12
    """Effective rates from 0.05 to 1.5 for each momentum, evenly spaced in logarithm."""
    num_seeds: Annotated[int, Whole(20)] = 200
    """Runs for each rate and momentum; the same noise for all."""
    num_sweeps: Annotated[int, Whole(2)] = 6
    """Sweeps of a search over both hyperparameters."""
    num_trials: Annotated[int, Whole(5)] = 15
    """Trials on each line of a search."""
    seed: Seed = 0
    """The first of the seeds."""


PRESETS = {
    "quick": Config(),
    "full": Config(num_rates=20, num_seeds=1000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a correlation; one a momentum, with the losses of runs; one a way to search rate and momentum."""
    quadratics = [_quadratic(config, correlation) for correlation in config.correlations]
    return [*quadratics, *_runs(config), *(_search(config, name) for name in ("lr", "effective rate"))]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Factors of a sweep; the runs against the recursion; how the best rate moves; the two searches."""
    quadratics, runs, (plain, effective) = (rows.where(kind=kind) for kind in ("quadratic", "runs", "search"))
    off = np.abs(np.log(runs["best_rate"] / runs["predicted_rate"])) / runs["log_error"]
    logs = np.log1p(-runs["rho"])
    weights = (logs - logs.mean()) / np.sum(np.square(logs - logs.mean()))  # of a slope, as if momenta were independent
    return [
        # Differences of losses of 1e-9 and of the curve's third order decide the digits.
        everywhere("A sweep leaves r^2 of the distance to the optimum of a quadratic response",
                   "factor a sweep at r = {correlation:g}", quadratics, "factor", "predicted_factor", relatively=1e-6,
                   reference=GAUSS_SEIDEL),
        at_most("The loss after runs is that of the recursion",
                f"largest difference in standard errors, {len(runs) * config.num_rates} losses", 4.0,
                max(float(np.max(np.abs(row["loss"] - row["predicted"]) / row["error"])) for row in runs),
                reference=RECURSION),
        at_most("So is the best rate for each momentum", "largest difference in standard errors", 4.0, max(off),
                reference=RECURSION),
        within("The best learning rate falls like 1 - rho", "slope of ln(best rate) by ln(1 - rho)",
               float(weights @ np.log(runs["predicted_rate"])), float(weights @ np.log(runs["best_rate"])),
               float(np.linalg.norm(weights * runs["log_error"])), reference=SHALLUE),
        # Third-order terms of the response at this small a distance.
        *(absolute(f"Near its optimum a sweep in {row['search']} and rho leaves r^4 of the excess loss",
                   f"factor at r = {row['correlation']:.3f}", row["correlation"] ** 4, row["factor"], 1e-3,
                   reference=GAUSS_SEIDEL) for row in (plain, effective)),
        at_least("Searched in lr / (1 - rho) and rho, as many trials leave less than a tenth of the excess loss",
                 f"excess of the search in lr over it, {effective['num_trials']} trials each", 10.0,
                 plain["excess"][-1] / effective["excess"][-1], reference=SHALLUE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: the best rate against 1 - rho, runs on the recursion's line. Below: excess loss by sweep, two searches."""
    figure, (above, below) = maker.axes(2, height=7.0)
    runs = rows.where(kind="runs")
    kept, spread = 1 - runs["rho"], np.exp(4 * runs["log_error"])
    for color, name, by in ((0, "lr", 1.0), (1, "lr / (1 - rho)", kept)):
        best = runs["best_rate"] / by
        maker.predicted(above, kept, runs["predicted_rate"] / by, color=color)
        above.errorbar(kept, best, yerr=[best - best / spread, best * spread - best], fmt="none",
                       ecolor=maker.color(color))  # fmt: skip
        maker.measured(above, kept, best, color=color, label=name, markersize=7)
    above.set(xscale="log", yscale="log", xlabel="1 - rho", ylabel="best value",
              title="The best lr falls with 1 - rho, lr / (1 - rho) stays")  # fmt: skip
    above.invert_xaxis()
    sweeps = np.arange(1, config.num_sweeps + 1)
    for color, (row, name, side) in enumerate(
        zip(rows.where(kind="search"), ("lr, rho", "lr / (1 - rho), rho"), (0.4, 2.5), strict=True)
    ):
        below.plot(sweeps, row["excess"], "o-", color=maker.color(color), markersize=7)
        maker.label(below, sweeps[1], row["excess"][1] * side, name, color=color)
    below.set(yscale="log", xlabel=f"sweeps, {2 * config.num_trials} trials each", ylabel="loss above the smallest",
              xticks=sweeps, title="One at a time, lr and rho hardly get on")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    plain, effective = rows.where(kind="search")
    return (
        f"The learning rate and rho interact with r = {plain['correlation']:.3f}, lr / (1 - rho) and rho with"
        f" {effective['correlation']:.2f}: after {plain['num_trials']} trials, one hyperparameter at a time, the first"
        f" search stands {plain['excess'][-1] / plain['smallest']:.1%} above the smallest loss, the second"
        f" {effective['excess'][-1] / plain['smallest']:.2g}."
    )


def _quadratic(config: Config, correlation: float) -> Row:
    """Sweeps of exact line searches on a quadratic response in two hyperparameters."""
    point, distances = np.array([1.0, 1.0]), []
    for _ in range(config.num_sweeps):
        point = _line_searches(lambda at: 0.5 * float(at @ at) + correlation * float(at[0] * at[1]), point)
        distances.append(float(np.linalg.norm(point)))
    return {"kind": "quadratic", "correlation": correlation, "distances": np.array(distances),
            "factor": distances[1] / distances[0],
            "predicted_factor": float(theory.search.block_coordinate_factor(correlation))}  # fmt: skip


def _runs(config: Config) -> list[Row]:
    """Mean losses of heavy ball after the horizon, and for each momentum the best rate with its bootstrap error."""
    problem = objectives.with_noise(objectives.quadratic(SPECTRUM, start=np.array(START)), "gaussian", NOISE)
    effective, rhos = np.geomspace(0.05, 1.5, config.num_rates), np.array(config.rhos)
    rates, rows = effective * (1 - rhos[:, None]), []
    trace = training.run(
        problem, rules.heavy_ball, {"learning_rate": np.repeat(rates.ravel(), config.num_seeds),
                                    "rho": np.repeat(rhos, config.num_rates * config.num_seeds)},
        steps=config.horizon, every=config.horizon, feasibility=training.Feasibility(blow_up=np.inf),
        seeds=np.tile(config.seed + np.arange(config.num_seeds), rates.size),
    )  # fmt: skip
    losses = trace["loss"][:, -1].reshape(*rates.shape, config.num_seeds)
    for rho, own, each in zip(config.rhos, rates, losses, strict=True):

        def lowest(chosen: Any, own: np.ndarray = own, each: np.ndarray = each) -> float:
            return measures.lowest_point(np.log(own), each[:, chosen].mean(1))

        best = theory.short_horizon.best_constant_learning_rate(SPECTRUM, config.horizon, NOISE, rho, START)
        rows.append({
            "kind": "runs", "rho": rho, "learning_rate": own, "effective_rate": effective, "loss": each.mean(1),
            "error": each.std(1, ddof=1) / np.sqrt(config.num_seeds), "predicted": _expected(config, own, rho),
            "best_rate": float(np.exp(lowest(slice(None)))), "predicted_rate": best,
            "log_error": measures.bootstrap_error(lowest, config.num_seeds, seed=config.seed),
        })  # fmt: skip
    return rows


def _search(config: Config, name: str) -> Row:
    """One at a time from the same start, in one of the two pairs; and the factor of a sweep near the optimum."""

    def response(point: np.ndarray) -> float:  # of (ln rate, ln(1 - rho))
        kept = np.exp(np.clip(point[1], np.log(1 - LARGEST_RHO), 0.0))
        return float(_expected(config, np.exp(point[0]) * (kept if name != "lr" else 1.0), 1 - kept))

    rate = search.log_uniform(LOWEST, HIGHEST) if name == "lr" else search.effective_rate(LOWEST, HIGHEST)
    space = search.Space(learning_rate=rate, rho=search.one_minus_log_uniform(0.0, LARGEST_RHO))
    found = search.block_coordinate(
        lambda columns, steps: _expected(config, columns["learning_rate"], columns["rho"]), space,
        num_sweeps=config.num_sweeps, num_trials=config.num_trials, steps=config.horizon,
        start={"learning_rate": 0.1, "rho": 0.0},
    )  # fmt: skip
    begin = np.log([0.035, 0.1]) if name == "lr" else np.log([0.35, 0.1])
    best = minimize(response, begin, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-15, "maxiter": 2000})
    lowest = np.minimum.accumulate([line.losses.min() for line in found.rounds])[1::2]
    hessian = _hessian(response, best.x)
    once = _line_searches(response, best.x + NEAR * np.linalg.eigh(hessian)[1][:, 0])
    twice = _line_searches(response, once)
    return {
        "kind": "search", "search": name, "smallest": float(best.fun), "num_trials": found.num_trials,
        "correlation": float(hessian[0, 1] / np.sqrt(hessian[0, 0] * hessian[1, 1])),
        "factor": (response(twice) - best.fun) / (response(once) - best.fun),
        "excess": np.maximum(lowest - best.fun, 1e-9),  # the smallest loss is known so far
        "learning_rate": found.values["learning_rate"], "rho": found.values["rho"],
    }  # fmt: skip


def _expected(config: Config, rates: Any, rhos: Any) -> Any:
    return theory.short_horizon.noisy_quadratic_loss(SPECTRUM, rates, config.horizon, NOISE, rhos, START)


def _line_searches(response: Response, point: np.ndarray) -> np.ndarray:
    """One sweep: along each coordinate to the lowest response, the other held."""
    for axis in np.eye(2):

        def along(step: float, origin: np.ndarray = point, axis: np.ndarray = axis) -> float:
            return response(origin + step * axis)

        point = point + minimize_scalar(along, bracket=(-0.01, 0.01), options={"xtol": 1e-12}).x * axis
    return point


def _hessian(response: Response, point: np.ndarray, step: float = 1e-2) -> np.ndarray:
    """Second differences of the response, [2, 2]."""
    axes = step * np.eye(2)
    return np.array([[sum(a * b * response(point + a * first + b * second) for a in (-1, 1) for b in (-1, 1))
                      for second in axes] for first in axes]) / (4 * step**2)  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
