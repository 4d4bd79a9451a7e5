"""Is random search better than a grid?

What the lecture says: random search "is maybe a little bit nicer in theory", because a model may be "more sensitive
with respect to one hyperparameter than another", and of a grid's combinations "the number of possibilities is
exponential".

What is true: it depends on how many of the D hyperparameters matter. Take N = n^D trials, and k that matter, with a
good region of volume 1 / N along these. Random trials hit it with chance 1 - (1 - 1 / N)^N, 63 %, whatever k is. A
grid has only n values along each axis: for k = 1 it hits with chance n / N, and it is N^(1 - 1 / D) / 2 times as far
from the optimum. Yet where all matter, k = D, the grid never misses, and random search misses one time in three.
Scrambled Sobol points have N values along each axis and few large holes. They are ahead of random ones at both ends;
but where all of many matter only by a little, and nowhere do they reach the grid there.

Source: Bergstra and Bengio, Random search for hyper-parameter optimization, JMLR 13, 2012; the counter-case and the
distances are derived in `theory.search`.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import search, theory
from jaxopt_lab.core import Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Count, Must, NotEmpty, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, within

REFERENCE = "Bergstra and Bengio 2012, JMLR 13"
COUNTER = "derived in theory.search"
SAMPLERS = ("grid", "random", "sobol")
OF_BEST = 60
ONE_A_CELL = 5 / 6  # a region as wide as a cell covers u of one and 1 - u of the next, and misses both in u (1 - u)


def _cells(trials: int, dim: int) -> int:
    """The grid's values along each axis."""
    return round(trials ** (1 / dim))


def _fits(trials: int, dim: int) -> bool:
    """Whether a grid and Sobol's points can both have so many trials."""
    return _cells(trials, dim) ** dim == trials and trials & (trials - 1) == 0


FOURS = Must("be powers of 4", lambda numbers: all(trials >= 4 and _fits(trials, 2) for trials in numbers))
FEW = Must("hold one to six numbers", lambda dims: 1 <= len(dims) <= 6)


@configclass
class Config:
    """All that can change a number. Every hyperparameter is searched in [0, 1]."""

    dims: Annotated[tuple[int, ...], FEW, Whole(2)] = (2, 3, 6)
    """Numbers D of hyperparameters, increasing."""
    num_trials: int = 64
    """Trials N of a search, a power of two that is a whole number to the power of each of dims."""
    distance_trials: Annotated[tuple[int, ...], NotEmpty("number"), FOURS] = (4, 16, 64, 256)
    """Trials of the searches in two dimensions whose distance to the optimum is taken, powers of 4, increasing."""
    num_searches: Annotated[int, Whole(20)] = 400
    """Searches for each number, each with a seed of its own."""
    num_targets: Count = 100
    """Places of the optimum for each search, drawn uniformly."""
    seed: Seed = 0
    """Seeds the searches and the optima."""

    def __post_init__(self) -> None:
        for dim in self.dims:
            if not _fits(self.num_trials, dim):
                whole = f"num_trials must be a power of two and a whole number to the power of {dim}"
                raise fail("random_against_grid", f"{whole}, got {self.num_trials}", "64 serves dims 2, 3 and 6.")


PRESETS = {
    "quick": Config(),
    "full": Config(num_searches=4000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a sampler, number of dimensions and of those that matter; one a sampler and distance; one of the rank."""
    rows = [row for dim in config.dims for sampler in SAMPLERS for row in _hits(config, sampler, dim)]
    rows += [_distance(config, sampler, trials) for sampler in SAMPLERS for trials in config.distance_trials]
    return [*rows, _best(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Chances to hit, one and all that matter; distances; Sobol at both ends; sixty trials."""
    hits, distances, best, last = *(rows.where(kind=k) for k in ("hits", "distance", "best")), config.dims[-1]
    alone, everything = (hits.where(dim=last, effective_dim=k) for k in (1, last))
    grid, random, sobol = alone
    chance = float(theory.search.random_hit_probability(config.num_trials, 1 / config.num_trials))
    lead = [row["measured"] - chance for row in hits.where(sampler="sobol") if row["effective_dim"] == row["dim"]]
    # All tolerances: four standard errors, from independent searches.
    return [
        *(_furthest(f"{name} trials hit as often as the law says", hits.where(sampler=sampler), REFERENCE,
                    "chance where it is furthest off, {effective_dim} of {dim} matter")
          for name, sampler in (("Random", "random"), ("A grid's", "grid"))),
        *(_furthest(f"Distance from the optimum along one axis, {sampler}", runs, COUNTER,
                    "mean distance where it is furthest off, {trials} trials")
          for sampler, runs in distances.by("sampler").items()),
        at_most(f"Where one of {last} matters, a grid hits less often than random trials",
                "the grid's chance minus random's", 0.0, grid["measured"] - random["measured"], reference=REFERENCE),
        at_least(f"Where all {last} matter, a grid always hits", "share of the searches", 1.0,
                 everything.only(sampler="grid")["measured"], reference=COUNTER),
        _within(f"Where all {last} matter, random trials miss more than a third", "share of the searches that hit",
                chance, everything.only(sampler="random")),
        _within(f"Where one of {last} matters, Sobol points hit in 5 of 6 searches", "share of the searches",
                ONE_A_CELL, sobol),
        at_least("Where all matter, Sobol points hit more often than random ones, less often than a grid",
                 f"least lead over random's chance, of {', '.join(map(str, config.dims))} dimensions", 0.0, min(lead),
                 reference=COUNTER),
        _within(f"One of {OF_BEST} random trials is among the best 5 %", "share of the searches", best[0]["predicted"],
                best[0], REFERENCE),
        within(f"The best of {OF_BEST} beats N / (N + 1) of all settings", "mean share that it beats",
               best[0]["predicted_rank"], best[0]["rank"], best[0]["rank_error"],
               reference="the largest of N uniform numbers"),
    ]  # fmt: skip


def _within(claim: str, quantity: str, predicted: float, row: Row, reference: str = COUNTER) -> Verdict:
    # A grid at 100 % has no standard error.
    return within(claim, quantity.format(**row), predicted, row["measured"], max(row["error"], 2.5e-13),
                  reference=reference)  # fmt: skip


def _furthest(claim: str, rows: Rows, reference: str, quantity: str) -> Verdict:
    """The verdict on the row that is furthest off, in its own standard errors."""
    row = max(rows, key=lambda row: abs(row["measured"] - row["predicted"]) / max(row["error"], 1e-12))
    return _within(claim, quantity, row["predicted"], row, reference)


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: the chance to hit against the number of hyperparameters that matter. Below: distance against trials."""
    figure, (above, below) = maker.axes(2, height=7.0)
    last, dense = config.dims[-1], np.geomspace(config.distance_trials[0], config.distance_trials[-1], 50)
    for color, sampler in enumerate(SAMPLERS):
        hits, distances = (
            rows.where(sampler=sampler, kind="hits", dim=last),
            rows.where(sampler=sampler, kind="distance"),
        )
        matter, measured = hits["effective_dim"], hits["measured"]
        if sampler == "sobol":
            above.plot(matter, measured, color=maker.color(color), linewidth=1, alpha=0.5)
        else:
            maker.predicted(above, matter, hits["predicted"], color=color)
        maker.measured(above, matter, measured, color=color, label=sampler.capitalize(), markersize=7)
        maker.predicted(below, dense, _distance_law(sampler, dense), color=color)
        maker.measured(below, distances["trials"], distances["measured"], color=color, label=sampler.capitalize(),
                       markersize=7)  # fmt: skip
    above.set(ylim=(0, 1.05), xlabel=f"hyperparameters that matter, of {last}", ylabel="searches that hit",
              xticks=range(1, last + 1), title="One matters: random wins. All matter: the grid")  # fmt: skip
    below.set(xscale="log", yscale="log", xlabel="trials, two hyperparameters", ylabel="distance to the best value",
              title="Where one matters a grid wastes its trials")  # fmt: skip
    below.set_xticks(config.distance_trials, [f"{trials}" for trials in config.distance_trials])
    below.minorticks_off()
    return figure


def caption(config: Config, rows: Rows) -> str:
    last = config.dims[-1]
    share = {(r["sampler"], r["effective_dim"]): r["measured"] for r in rows.where(kind="hits", dim=last)}
    return (
        f"Of {last} hyperparameters one matters: {config.num_trials} random trials hit {share['random', 1]:.0%} of"
        f" regions of volume 1/{config.num_trials}, a grid {share['grid', 1]:.0%}, Sobol points"
        f" {share['sobol', 1]:.0%}; if all matter, {share['random', last]:.0%}, grid {share['grid', last]:.0%}, Sobol"
        f" {share['sobol', last]:.0%}."
    )


def _hits(config: Config, sampler: str, dim: int) -> list[Row]:
    """How often a search hits a cube of volume 1 / N along the hyperparameters that matter, anywhere in the range."""
    matter, trials = range(1, dim + 1), config.num_trials
    rngs = [np.random.default_rng([config.seed, dim, effective]) for effective in matter]
    shares = np.empty((config.num_searches, dim))
    for number in range(config.num_searches):
        points = search.sample(sampler, _space(dim), trials, config.seed + number)
        for effective, rng in zip(matter, rngs, strict=True):
            side = trials ** (-1 / effective)
            low = rng.random((config.num_targets, effective)) * (1 - side)
            away = points[:, :effective] - low[:, None]
            hit = (away >= 0) & (away <= side * (1 + 1e-12))  # a side of exactly one cell always holds a midpoint
            shares[number, effective - 1] = hit.all(2).any(1).mean()
    rows = []
    for effective, column in zip(matter, shares.T, strict=True):
        mean, laws = mean_of_samples(column), {
            "grid": theory.search.grid_hit_probability(_cells(trials, dim), trials ** (-1 / effective), effective),
            "random": theory.search.random_hit_probability(trials, 1 / trials),
        } | ({"sobol": ONE_A_CELL} if effective == 1 else {})  # fmt: skip
        rows.append({"kind": "hits", "sampler": sampler, "dim": dim, "effective_dim": effective, "measured": mean.value,
                     "error": mean.standard_error,
                     "predicted": float(laws[sampler]) if sampler in laws else None})  # fmt: skip
    return rows


def _distance(config: Config, sampler: str, trials: int) -> Row:
    """Mean distance along the one axis of two that matters, from the optimum to the nearest trial."""
    rng, means = np.random.default_rng([config.seed, trials]), []
    for number in range(config.num_searches):
        values = np.sort(search.sample(sampler, _space(2), trials, config.seed + number)[:, 0])
        optimum = rng.random(config.num_targets)
        place = np.clip(np.searchsorted(values, optimum), 1, trials - 1)
        means.append(np.minimum(abs(values[place] - optimum), abs(values[place - 1] - optimum)).mean())
    mean = mean_of_samples(np.array(means))
    return {"kind": "distance", "sampler": sampler, "dim": 2, "trials": trials, "measured": mean.value,
            "error": mean.standard_error, "predicted": float(_distance_law(sampler, trials))}  # fmt: skip


def _best(config: Config) -> Row:
    """The rank of the best of sixty random trials on a response whose ranks are known: the largest of D coordinates."""
    dim, count = config.dims[-1], 10 * config.num_searches
    points = search.random_points(_space(dim), OF_BEST * count, config.seed).reshape(count, OF_BEST, dim)
    worse = 1 - points.max(-1).min(-1) ** dim  # the share of all settings whose largest coordinate is larger
    mean, hit = mean_of_samples(worse), mean_of_samples((worse >= 0.95).astype(float))
    return {
        "kind": "best", "measured": hit.value, "error": hit.standard_error, "rank": mean.value,
        "predicted": float(theory.search.random_hit_probability(OF_BEST, 0.05)), "rank_error": mean.standard_error,
        "predicted_rank": float(theory.search.expected_best_rank(OF_BEST)),
    }  # fmt: skip


def _distance_law(sampler: str, trials: Any) -> Any:
    if sampler == "grid":
        return theory.search.grid_search_distance(np.sqrt(trials))
    random = sampler == "random"
    return (theory.search.random_search_distance if random else theory.search.stratified_search_distance)(trials)


def _space(dim: int) -> search.Space:
    return search.Space(**{f"x{place}": search.uniform(0.0, 1.0) for place in range(dim)})


if __name__ == "__main__":
    raise SystemExit(main())
