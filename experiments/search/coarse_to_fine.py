"""Does it help to search coarse to fine, and may the coarse stage be short?

What the lecture says: first search a wide range where you "only train for a couple iterations", and look whether the
"network is kind of blowing up at either end of the range"; then search narrower and longer.

What is true: narrowing is right. S stages of N evenly spaced trials know the optimum up to (2 / (N + 1))^S of the
range: three stages of 8 are 6.75 times as precise as 24 trials at once, where the response has one minimum and no
noise. A box of that width is safe for evenly spaced trials only: of 8 random ones none is so near to the optimum in
one search of six, and then the box has lost it. But short is wrong for the learning rate. On a noisy quadratic with a
flat direction, 100 steps are best with a rate ten times below that of 1000 steps: noise is felt at once, progress along
the flat direction only later. A coarse stage of 100 steps draws its box around the wrong rate, and the long runs inside
of it end at its edge; the same number of steps, spent on fewer long runs, finds a better one.

Source: Wu, Ren, Liao, Grosse, Understanding short-horizon bias in stochastic meta-optimization, ICLR 2018,
arXiv 1803.02021.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import objectives, rules, search, theory, training
from jaxopt_lab.core import Problem, Verdict, require_between
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Increasing, Must, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, relative, within

REFERENCE = "Wu et al. 2018, arXiv 1803.02021"
LECTURE = "CS231n 2017, lecture 7"
OURS = "derived in the study's text"
SPECTRUM, NOISE = (1.0, 1e-3), 1.0
START = (1.0, 1000**0.5)
TENS = Must("be multiples of 10", lambda horizons: all(steps >= 10 and steps % 10 == 0 for steps in horizons))


@configclass
class Config:
    """All that can change a number. The noisy quadratic has eigenvalues 1 and 1/1000 and starts with equal losses."""

    num_trials: Annotated[int, Whole(2)] = 8
    """Trials of each stage of the search without noise."""
    num_stages: Annotated[int, Whole(2)] = 3
    """Stages of that search."""
    num_optima: Annotated[int, Whole(10)] = 1000
    """Places of the optimum, evenly spread over the range."""
    horizons: Annotated[tuple[int, ...], Increasing("be two or more that increase"), TENS] = (10, 100, 1000)
    """Lengths of runs on the noisy quadratic, steps: multiples of 10, increasing."""
    lowest_rate: float = 5e-3
    """Smallest learning rate."""
    highest_rate: Annotated[float, Between("(0, 2)", why="It diverges at 2.")] = 1.0
    """Largest learning rate; the edge is 2."""
    num_rates: Annotated[int, Whole(5)] = 24
    """Learning rates between the two, evenly spaced in logarithm."""
    num_seeds: Annotated[int, Whole(20)] = 100
    """Runs for each learning rate; the same noise for all rates."""
    search_trials: Annotated[int, Whole(4)] = 16
    """Trials of both stages of the search on the noisy quadratic."""
    seed: Seed = 0
    """The first of the seeds."""

    def __post_init__(self) -> None:
        require_between("coarse_to_fine", "lowest_rate", self.lowest_rate, 0, self.highest_rate, ends="()")


PRESETS = {
    "quick": Config(),
    "full": Config(horizons=(10, 100, 1000, 10_000), num_optima=5000, num_seeds=400),
}


def run(config: Config) -> list[dict[str, Any]]:
    """Searches without noise; losses of the noisy quadratic at each horizon; two searches of equal cost on it."""
    problem = objectives.with_noise(objectives.quadratic(SPECTRUM, start=np.array(START)), "gaussian", NOISE)
    stages = [_stages(config, sampler) for sampler in ("grid", "random")]
    return [*stages, *_horizons(config, problem), *_searches(config, problem)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Precision of the stages; boxes that lose the optimum; losses and best rates by horizon; the cost of the bias."""
    grid, random, horizons = rows.only(sampler="grid"), rows.only(sampler="random"), rows.where(kind="horizon")
    narrowed, direct, (short, long) = rows.only(search="narrowed"), rows.only(search="direct"), horizons[-2:]
    chance = random["predicted_lost"]
    logs = np.log([long["best_rate"], short["best_rate"]])
    return [
        at_most(f"After {config.num_stages} stages of {config.num_trials} evenly spaced trials the best is within the"
                " bound", "largest distance to the optimum", grid["bound"], grid["largest"], tolerance=1e-12,
                unit="of the range", reference=OURS),
        # 10 %: a box cuts cells of the next one.
        relative("They are more precise than as many trials at once", "mean distance at once over that in stages",
                 grid["predicted_gain"], grid["gain"], 0.1, reference=LECTURE),
        at_most("With evenly spaced trials no box loses the optimum", "share of the searches", 0.0, grid["lost"],
                reference=OURS),
        within("With random trials the first box, as wide, loses it", "share of the searches", chance,
               random["first_lost"], np.sqrt(chance * (1 - chance) / config.num_optima), reference=OURS),
        # Four standard errors, from independent seeds.
        at_most("The loss at every horizon and rate is that of the recursion",
                f"largest difference in standard errors, {len(horizons) * config.num_rates} losses", 4.0,
                max(float(np.max(np.abs(row["loss"] - row["predicted"]) / row["error"])) for row in horizons),
                reference=REFERENCE),
        within(f"{short['steps']} steps prefer a rate far below that of {long['steps']}",
               "logarithm of the ratio of the best rates",
               float(np.log(long["predicted_rate"] / short["predicted_rate"])), float(logs[0] - logs[1]),
               float(np.hypot(long["log_error"], short["log_error"])), reference=REFERENCE),
        at_most(f"A box drawn by {short['steps']} steps excludes the best rate of {long['steps']}",
                "upper end of the box over that rate", 1.0, narrowed["upper_end"] / long["predicted_rate"],
                reference=REFERENCE),
        at_least("The same number of steps in long runs alone finds a lower loss",
                 "excess loss of the narrowed search over that of the direct one", 1.0,
                 narrowed["excess"] / direct["excess"], reference=REFERENCE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Loss against the rate for the two longest horizons, their best rates, and the box that the shorter one draws."""
    narrowed, (figure, panels) = rows.only(search="narrowed"), maker.axes(2, height=6.4, sharex=True)
    dense = np.geomspace(config.lowest_rate, config.highest_rate, 200)
    for color, (axes, row) in enumerate(zip(panels, rows.where(kind="horizon")[-2:], strict=True)):
        maker.predicted(axes, dense, _law(dense, row["steps"]), color=color)
        maker.measured(axes, row["learning_rate"], row["loss"], color=color)
        axes.errorbar(row["learning_rate"], row["loss"], yerr=4 * row["error"], fmt="none", ecolor=maker.color(color))
        axes.axvline(row["predicted_rate"], color=maker.color(color), linewidth=1, linestyle="--")
        axes.axvspan(narrowed["lower_end"], narrowed["upper_end"], color=maker.color(0), alpha=0.15, linewidth=0)
        axes.set(xscale="log", ylabel=f"loss after {row['steps']:,} steps",
                 title=f"{row['steps']:,} steps: best rate {row['predicted_rate']:.2g}")  # fmt: skip
    panels[0].text(narrowed["upper_end"] * 1.1, 0.92, "box for the next stage", color=maker.color(0), va="top",
                   transform=panels[0].get_xaxis_transform())  # fmt: skip
    panels[-1].set_xlabel("learning rate")
    return figure


def caption(config: Config, rows: Rows) -> str:
    short, long = rows.where(kind="horizon")[-2:]
    narrowed, direct = rows.only(search="narrowed"), rows.only(search="direct")
    return (
        f"Runs of {short['steps']:,} steps are best at a rate of {short['best_rate']:.2g}, runs of {long['steps']:,} at"
        f" {long['best_rate']:.2g}: a box that the short ones draw excludes it, and the search ends"
        f" {narrowed['excess'] / long['floor']:.0%} above the smallest loss; as many steps in long runs alone"
        f" {direct['excess'] / long['floor']:.1%}."
    )


def _stages(config: Config, sampler: str) -> Row:
    """Searches for optima everywhere in [0, 1] on the response |x - optimum|, stage after stage."""
    space, gaps, outside = search.Space(x=search.uniform(0.0, 1.0)), [], []
    for number, optimum in enumerate((np.arange(config.num_optima) + 0.5) / config.num_optima):
        found = search.coarse_to_fine(
            lambda columns, steps, at=optimum: np.abs(columns["x"] - at), space, num_trials=config.num_trials,
            steps=(1,) * config.num_stages, sampler=sampler, seed=config.seed + 1000 * number, max_widenings=0,
        )  # fmt: skip
        gaps.append(found.loss)
        boxes = [box.space.dimensions["x"] for box in found.rounds]
        outside.append([not box.low <= optimum <= box.high for box in boxes])
    box = float(theory.search.coarse_to_fine_width(config.num_trials, config.num_stages - 1))
    at_once = float(theory.search.grid_search_distance(config.num_trials * config.num_stages))
    return {
        "kind": "stages", "sampler": sampler, "mean": float(np.mean(gaps)), "largest": float(np.max(gaps)),
        "gain": at_once / float(np.mean(gaps)), "bound": box / (2 * config.num_trials),
        "predicted_gain": at_once / (box * float(theory.search.grid_search_distance(config.num_trials))),
        "lost": float(np.mean(np.any(outside, axis=1))), "first_lost": float(np.mean(np.array(outside)[:, 1])),
        "predicted_lost": float(theory.search.first_box_misses(config.num_trials)),
    }  # fmt: skip


def _horizons(config: Config, problem: Problem) -> list[Row]:
    """The mean loss for each rate at each horizon, and the best rate with its bootstrap error."""
    rates, rows = np.geomspace(config.lowest_rate, config.highest_rate, config.num_rates), []
    for steps, each in zip(config.horizons, _losses(config, problem, rates, config.horizons), strict=True):

        def lowest(chosen: Any, each: np.ndarray = each) -> float:
            return measures.lowest_point(np.log(rates), each[:, chosen].mean(1))

        best = theory.short_horizon.best_constant_learning_rate(SPECTRUM, steps, NOISE, start=START)
        rows.append({
            "kind": "horizon", "steps": steps, "learning_rate": rates, "loss": each.mean(1),
            "error": each.std(1, ddof=1) / np.sqrt(config.num_seeds), "predicted": _law(rates, steps),
            "best_rate": float(np.exp(lowest(slice(None)))), "predicted_rate": best, "floor": float(_law(best, steps)),
            "log_error": measures.bootstrap_error(lowest, config.num_seeds, seed=config.seed),
        })  # fmt: skip
    return rows


def _searches(config: Config, problem: Problem) -> list[Row]:
    """Coarse to fine, short runs first; and a grid of long runs alone, of as many steps. Excess losses are exact."""
    short, long = config.horizons[-2:]
    space = search.Space(learning_rate=search.log_uniform(config.lowest_rate, config.highest_rate))

    def found(trials: int, horizons: tuple[int, ...]) -> search.SearchResult:
        return search.coarse_to_fine(
            lambda columns, steps: _losses(config, problem, columns["learning_rate"], (steps,))[0].mean(1), space,
            num_trials=trials, steps=horizons, seed=config.seed, max_widenings=0,
        )  # fmt: skip

    narrowed, rows = found(config.search_trials, (short, long)), []
    best = theory.short_horizon.best_constant_learning_rate(SPECTRUM, long, NOISE, start=START)
    for name, each in (("narrowed", narrowed), ("direct", found(narrowed.num_steps // long, (long,)))):
        rate, box = each.values["learning_rate"], each.rounds[-1].space.dimensions["learning_rate"]
        ours, floor = _law(np.array([rate, best]), long)
        rows.append({
            "kind": "search", "search": name, "learning_rate": rate, "lower_end": box.low, "upper_end": box.high,
            "excess": float(ours - floor), "num_steps": each.num_steps, "warnings": len(each.warnings),
        })  # fmt: skip
    return rows


def _losses(config: Config, problem: Problem, rates: np.ndarray, horizons: tuple[int, ...]) -> list[np.ndarray]:
    """Losses [rates, seeds] at each horizon; every rate meets the same noise."""
    padded = np.resize(rates, max(len(rates), config.num_rates))  # as many in each call: one program for all
    trace = training.run(
        problem, rules.sgd, {"learning_rate": np.repeat(padded, config.num_seeds)}, steps=horizons[-1], every=10,
        seeds=np.tile(config.seed + np.arange(config.num_seeds), len(padded)),
        feasibility=training.Feasibility(blow_up=np.inf),
    )  # fmt: skip
    return [trace["loss"][:, steps // 10].reshape(len(padded), -1)[: len(rates)] for steps in horizons]


def _law(rates: Any, steps: int) -> Any:
    return theory.short_horizon.noisy_quadratic_loss(SPECTRUM, rates, steps, NOISE, start=START)


if __name__ == "__main__":
    raise SystemExit(main())
