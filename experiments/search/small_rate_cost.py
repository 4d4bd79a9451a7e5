"""What does a learning rate cost that is too small?

What the lecture says: set the rate "maybe even a little bit lower than optimal"; a small one "should, in theory, always
work", but "one-day training becomes 100 days of training".

What is true: it does work, and the cost is linear. On a quadratic, descent with the best rate over f needs
ln(1 / accuracy) / -ln(1 - lr mu) steps, f times as many to leading order: 10.09 times at f = 10, 101 at f = 100 for
kappa = 100. On a network, too, the steps to a given loss times the rate are constant, the time of the gradient flow,
once the rate is below the best one. The best one itself gains less: near the edge of stability steps overshoot and
noise costs, so that the first factor of ten is cheaper than ten, and 100 days are more like 60. (What a small rate
finds, rather than when, is the question of sharpness/`low_rate_and_catapult`.)

Source: Nesterov, Introductory lectures on convex optimization, 2004, theorem 2.1.15, for the rate on quadratics.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab import objectives, problems, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, fail, judge, mean_of_samples, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NESTEROV = "Nesterov 2004, theorem 2.1.15"
LECTURE = "CS231n 2017, lecture 7"
RECORDS = 60


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number."""

    kappa: float = 100.0
    """Condition number of the quadratic."""
    accuracy: float = 1e-6
    """Distance to the minimizer over that of the start, at which a run on the quadratic has arrived."""
    factors: tuple[float, ...] = (1.0, 10.0, 100.0)
    """Factors below the best rate 2 / (L + mu) on the quadratic, increasing from 1."""
    width: int = 16
    """Units in each of the two hidden layers of the network (ReLU; digits, pixels in [0, 1])."""
    num_examples: int = 512
    """Images of digits that it is trained on."""
    batch_size: int = 32
    """Examples a step."""
    rates: tuple[float, ...] = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    """Learning rates of the network, decreasing; one is ten times the last."""
    target: float = 0.5
    """Loss over all examples at which a run of the network has arrived."""
    longest: float = 30.0
    """Length of a run of the network: steps times the learning rate."""
    num_seeds: int = 6
    """Initializations of the network, the same for each rate."""
    seed: int = 0
    """The first of the seeds."""

    def __post_init__(self) -> None:
        where = "small_rate_cost"
        require_between(where, "kappa", self.kappa, 1, np.inf, ends="()")
        require_between(where, "accuracy", self.accuracy, 0, 1, ends="()")
        require_between(where, "longest", self.longest, 0, np.inf, ends="()")
        require_between(where, "target", self.target, 0, np.log(10), ends="()", why="It starts near ln(10).")
        for name in ("width", "num_examples", "batch_size"):
            require_count(where, name, getattr(self, name))
        require_count(where, "num_seeds", self.num_seeds, 2)
        require_count(where, "seed", self.seed, 0)
        if len(self.factors) < 2 or self.factors[0] != 1 or list(self.factors) != sorted(set(self.factors)):
            raise fail(where, f"factors must be two or more that increase from 1, got {self.factors}")
        if len(self.rates) < 3 or list(self.rates) != sorted(set(self.rates), reverse=True) or self.rates[-1] <= 0:
            raise fail(where, f"rates must be three or more, positive and decreasing, got {self.rates}")
        if not np.isclose(_tenfold(self.rates), self.rates[-1] * 10):
            raise fail(where, f"rates must hold ten times the last one, {self.rates[-1] * 10:g}, got {self.rates}")


def run(config: Config) -> list[dict[str, Any]]:
    """One row a factor on the quadratic, then one a rate of the network."""
    problem = problems.load_problem(
        "digits-mlp", width=config.width, activation="relu", scaling="raw", fraction=1.0,
        num_examples=config.num_examples,
    )  # fmt: skip
    return [*_quadratic(config), *(_network(config, problem, rate) for rate in config.rates)]


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """Exact steps and ratios on the quadratic; the network's tenfold cost below its best rate, less from there."""
    quadratic, network = (_of(rows, kind) for kind in ("quadratic", "network"))
    worst = max(quadratic, key=lambda row: abs(row["steps"] - row["predicted"]))
    last = quadratic[-1]
    by_rate = {row["learning_rate"]: row for row in network}
    slow, slower = by_rate[_tenfold(config.rates)], network[-1]
    tenfold = mean_of_samples(slower["steps"] / slow["steps"])
    best = min(network, key=lambda row: row["mean"])
    whole = mean_of_samples(slower["steps"] / best["steps"])
    factor = best["learning_rate"] / slower["learning_rate"]
    return [
        # A run arrives at a whole step.
        judge("On a quadratic the steps are ln(1 / accuracy) / -ln(1 - lr mu)", f"steps at factor {worst['factor']:g}",
              worst["predicted"], worst["steps"], 1.001, kind="absolute", unit="steps", reference=NESTEROV),
        judge(f"A rate {last['factor']:g} times lower takes so many times the steps", "ratio of steps",
              last["predicted"] / quadratic[0]["predicted"], last["steps"] / quadratic[0]["steps"],
              1.001 / quadratic[0]["steps"], reference=NESTEROV),
        # 5 %: a step follows the gradient flow up to terms of the size lr L / 2, in sharp directions alone.
        judge("On a network far below its best rate a tenth of the rate takes ten times the steps",
              f"ratio of steps, {slower['learning_rate']:g} against {slow['learning_rate']:g}", 10.0,
              tenfold.value, 0.05, reference=LECTURE),
        judge("From its best rate down the cost is less than the factor",
              f"ratio of steps, {slower['learning_rate']:g} against {best['learning_rate']:g}", factor,
              whole.value + 4 * (whole.standard_error or 0.0), 0.0, kind="at-most", reference=LECTURE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Steps against the rate, for the quadratic and the network."""
    figure, panels = maker.axes(2, height=6.8)
    quadratic, network = (_of(rows, kind) for kind in ("quadratic", "network"))
    rates = [row["learning_rate"] for row in quadratic]
    dense = np.geomspace(rates[-1], rates[0], 100)
    law = [theory.rates.steps_to_accuracy(1 - rate / config.kappa, config.accuracy) for rate in dense]
    maker.predicted(panels[0], dense, law)
    maker.measured(panels[0], rates, [row["steps"] for row in quadratic], markersize=7)
    ratio = quadratic[-1]["steps"] / quadratic[0]["steps"]
    panels[0].set_title(
        f"Quadratic, kappa {config.kappa:g}: {config.factors[-1]:g} times lower, {ratio:.0f} times longer"
    )
    rates, means = ([row[name] for row in network] for name in ("learning_rate", "mean"))
    maker.predicted(panels[1], rates, means[-1] * rates[-1] / np.array(rates), color=1)
    for row in network:
        here = np.full(len(row["steps"]), row["learning_rate"])
        maker.measured(panels[1], here, row["steps"], color=1, markersize=4, alpha=0.5)
    maker.measured(panels[1], rates, means, color=1, markersize=8)
    best = min(network, key=lambda row: row["mean"])
    panels[1].set_title(f"Digits: constant steps x rate (line), up to the best rate {best['learning_rate']:g}")
    for axes, ends in zip(panels, ("distance", "loss"), strict=True):
        axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel=f"steps to a given {ends}")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    quadratic, network = (_of(rows, kind) for kind in ("quadratic", "network"))
    best, last = min(network, key=lambda row: row["mean"]), network[-1]
    factor = best["learning_rate"] / last["learning_rate"]
    return (
        f"On a quadratic a rate {config.factors[-1]:g} times below the best takes"
        f" {quadratic[-1]['steps'] / quadratic[0]['steps']:.0f} times the steps; on digits one {factor:.0f} times below"
        f" takes {np.mean(last['steps'] / best['steps']):.0f} times, and each further tenth ten times."
    )


def _quadratic(config: Config) -> list[dict[str, Any]]:
    """Steps of descent along the flattest direction of a quadratic with largest eigenvalue 1."""
    smallest = 1 / config.kappa
    rates = 2 / (1 + smallest) / np.array(config.factors)
    predicted = [float(theory.rates.steps_to_accuracy(1 - rate * smallest, config.accuracy)) for rate in rates]
    problem = objectives.quadratic([1.0, smallest], start=np.array([0.0, 1.0]))
    trace = training.run(problem, rules.sgd, {"learning_rate": rates}, steps=int(max(predicted) * 1.01) + 10,
                         probes=[training.distance()])  # fmt: skip
    return [
        {
            "kind": "quadratic",
            "factor": factor,
            "learning_rate": rate,
            "effective_rate": rate,
            "steps": int(np.argmax(curve <= config.accuracy)),
            "predicted": law,
        }
        for factor, rate, curve, law in zip(config.factors, rates, trace["distance"], predicted, strict=True)
    ]


def _network(config: Config, problem: Problem, rate: float) -> dict[str, Any]:
    """Steps of each seed until the loss over all examples reaches the target, read off between records."""
    steps = int(np.ceil(config.longest / rate))
    trace = training.run(
        problem, rules.sgd, {"learning_rate": np.full(config.num_seeds, rate)}, steps=steps,
        every=max(1, round(steps / RECORDS)), batch_size=config.batch_size,
        seeds=config.seed + np.arange(config.num_seeds),
    )  # fmt: skip
    arrivals = np.array([_arrival(trace.steps, curve, config.target) for curve in trace["loss"]])
    return {
        "kind": "network",
        "learning_rate": rate,
        "effective_rate": rate,
        "steps": arrivals,
        "mean": float(np.mean(arrivals)),
        "flow_time": float(np.mean(arrivals) * rate),
    }


def _arrival(steps: np.ndarray, losses: np.ndarray, target: float) -> float:
    """The step at which a curve first falls to a target, its logarithm a straight line between records."""
    below = np.flatnonzero(losses <= target)
    if not below.size or below[0] == 0:
        return float("inf")
    at = below[0]
    share = np.log(losses[at - 1] / target) / np.log(losses[at - 1] / losses[at])
    return float(steps[at - 1] + share * (steps[at] - steps[at - 1]))


def _tenfold(rates: tuple[float, ...]) -> float:
    """The rate nearest to ten times the last one."""
    return min(rates, key=lambda rate: abs(np.log(rate / rates[-1] / 10)))


def _of(rows: Rows, kind: str) -> list[Any]:
    return [row for row in rows if row["kind"] == kind]


STUDY = Study(
    name="small_rate_cost",
    question="What does a learning rate cost that is too small?",
    lecture='A small rate "should, in theory, always work"; "one-day training becomes 100 days of training".',
    truth="A tenth of the rate takes ten times the steps; from the best rate itself the first tenth costs less.",
    reference=NESTEROV,
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(kappa=1000.0, rates=(0.5, 0.3, 0.2, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003), num_seeds=12),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
