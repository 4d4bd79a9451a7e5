"""How many hyperparameters can be searched at once?

What the lecture says: "the number of possibilities is exponential" in the number of hyperparameters, so that one
searches two or three or four at most.

What is true: right, for the accuracy, and not for the rank. 59 random trials find one of the best twentieth with a
chance of 95 %, whatever the number D of hyperparameters is. But the best twentieth gets worse: that every
hyperparameter is right to a tenth of its range (root mean square) holds for a share of the settings that is the volume
of a ball, and falls 2 to 3 times with every further one. With 60 trials the chance is 98 % for two, 73 % for three,
38 % for four, 6 % for six. A grid needs n^D. One hyperparameter after the other needs n D, where they do not interact.

Source: the volume of a ball, `theory.search.accurate_share`; Bergstra and Bengio 2012.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import theory
from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Between, Count, Increasing, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, everywhere

REFERENCE = "theory.search.accurate_share"
BERGSTRA = "Bergstra and Bengio 2012"


@configclass
class Config:
    """All that can change a number. The loss is the squared distance to an optimum somewhere in the middle half."""

    dims: Annotated[tuple[int, ...], Increasing("start with 1 and increase", first=1)] = (1, 2, 3, 4, 5, 6)
    """Numbers of hyperparameters D, counts; each has the range [0, 1]."""
    tolerance: Annotated[float, Between("(0, 0.25)")] = 0.1
    """Root-mean-square error of a hyperparameter that counts as found, in units of its range."""
    budget: Count = 60
    """Trials of a search."""
    num_searches: Annotated[int, Whole(50)] = 4000
    """Searches of each kind and dimension."""
    share: Annotated[float, Between("[0.01, 0.5]")] = 0.05
    """What counts as good by rank, a share of all settings."""
    seed: Seed = 0
    """Seeds optima and trials."""

    def __post_init__(self) -> None:
        radius = self.tolerance * self.dims[-1] ** 0.5
        if radius > 0.25:
            told = f"tolerance sqrt(dim) must be at most 0.25, got {radius:.3g}"
            raise fail("how_many_at_once", told, "The optimum lies in the middle half of each range.")


PRESETS = {"quick": Config(), "full": Config(num_searches=100_000, budget=240)}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a number of hyperparameters."""
    return [_searches(np.random.default_rng([config.seed, dim]), config, dim) for dim in config.dims]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The rank, the accuracy, and one hyperparameter after the other."""
    return [
        everywhere("A good rank costs as many trials whatever the number of hyperparameters",
                   f"chance of one of the best {config.share:g} in {{rank_trials}} trials, D = {{dim}}", rows,
                   "rank_hits", "rank_law", errors="rank_error", reference=BERGSTRA),
        everywhere("That every hyperparameter is right to a tolerance is a matter of a ball's volume",
                   f"chance of it in {config.budget} trials, D = {{dim}}", rows, "hits", "law", errors="error",
                   reference=REFERENCE),
        everywhere("The trials that it takes grow exponentially", "ln of the median number of trials, D = {dim}", rows,
                   "log_trials", "log_law", errors="log_error", reference=REFERENCE),
        absolute("One hyperparameter after the other finds them all, where they do not interact",
                 "least share of searches that do, with D n trials", 1.0, min(rows["one_by_one"]),
                 reference="a grid along each axis whose spacing is twice the tolerance"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Chances of a search of the budget; below, trials to an even chance."""
    figure, (top, bottom) = maker.axes(2, height=6.6, sharex=True)
    dims = rows["dim"]
    maker.predicted(top, dims, rows["law"], label="every one\nright")
    maker.measured(top, dims, rows["hits"])
    maker.predicted(top, dims, rows["rank_law"], color=1, label="good rank")
    maker.measured(top, dims, rows["rank_hits"], color=1)
    top.set(ylim=(0, 1.05), ylabel=f"chance in {config.budget} trials", xlim=(0.8, dims[-1] + 2),
            title=f"With {config.budget} trials, three or four at most")  # fmt: skip
    maker.predicted(bottom, dims, np.exp(rows["log_law"]), label="random")
    maker.measured(bottom, dims, np.exp(rows["log_trials"]))
    maker.predicted(bottom, dims, rows["grid"], color=2, label="grid")
    maker.predicted(bottom, dims, rows["one_by_one_trials"], color=3, label="one by one")
    bottom.set(yscale="log", xlabel="hyperparameters searched at once", ylabel="trials")
    return figure


def caption(config: Config, rows: Rows) -> str:
    chances = ", ".join(f"{row['hits']:.0%} for {row['dim']}" for row in rows[1:])
    return (
        f"The chance that {config.budget} random trials bring every hyperparameter within {config.tolerance:g} of its"
        f" range is {chances}; a good rank costs {rows[0]['rank_trials']} trials, whatever their number."
    )


def _searches(rng: np.random.Generator, config: Config, dim: int) -> dict[str, Any]:
    """Searches, each with an optimum of its own, and what the closed forms say."""
    num, budget, bound = config.num_searches, config.budget, config.tolerance**2
    optima = rng.uniform(0.25, 0.75, size=(num, 1, dim))
    # a search at a time keeps the memory small
    found = np.array([(_loss(rng.random((budget, dim)), optimum) <= bound).sum() for optimum in optima])
    share = float(theory.search.accurate_share(dim, config.tolerance))
    law = float(theory.search.random_hit_probability(budget, share))
    values = (np.arange(_cells(config)) + 0.5) / _cells(config)
    row = {
        "dim": dim, "hits": float(np.mean(found > 0)), "law": law, "error": np.sqrt(law * (1 - law) / num),
        "log_trials": float(np.log(np.log(2) / max(found.sum(), 0.5) * num * budget)),
        "log_law": float(np.log(np.log(2) / share)), "log_error": 1 / np.sqrt(share * num * budget),
        "grid": len(values) ** dim, "one_by_one_trials": len(values) * dim,
        "one_by_one": float(np.mean([_loss(_one_by_one(rng, each, values), each) <= bound for each in optima])),
    }  # fmt: skip
    return row | _ranks(rng, config, dim)


def _ranks(rng: np.random.Generator, config: Config, dim: int) -> dict[str, Any]:
    """How often one of N trials is among the best share, by the loss of many other settings."""
    trials = int(np.ceil(theory.search.trials_to_hit(0.95, config.share)))
    others = 100 * config.num_searches
    good = np.quantile(_loss(rng.random((others, dim)), 0.5), config.share)
    hits = _loss(rng.random((config.num_searches, trials, dim)), 0.5).min(1) <= good
    law = float(theory.search.random_hit_probability(trials, config.share))
    # of the hits, and of the quantile: its own share errs, and the law's slope by the share is below trials
    quantile = trials * (1 - law) * np.sqrt(config.share / others)
    return {"rank_trials": trials, "rank_hits": float(hits.mean()), "rank_law": law,
            "rank_error": float(np.hypot(np.sqrt(law * (1 - law) / config.num_searches), quantile))}  # fmt: skip


def _one_by_one(rng: np.random.Generator, optimum: np.ndarray, values: np.ndarray) -> np.ndarray:
    """From a random start, each hyperparameter in turn at the best of the values, [1, D]."""
    place = rng.random(optimum.shape)
    for axis in range(optimum.shape[-1]):
        candidates = np.repeat(place, len(values), axis=0)
        candidates[:, axis] = values
        place = candidates[[_loss(candidates, optimum).argmin()]]
    return place


def _loss(settings: np.ndarray, optimum: Any) -> np.ndarray:
    return np.square(settings - optimum).mean(-1)


def _cells(config: Config) -> int:
    return int(np.ceil(0.5 / config.tolerance))


if __name__ == "__main__":
    raise SystemExit(main())
