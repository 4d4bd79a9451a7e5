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

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import objectives, problems, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, fail, mean_of_samples
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main, measures
from jaxopt_lab.studies.fields import AboveZero, Between, Count, Increasing, OpenUnit, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_most, everywhere, relative

NESTEROV = "Nesterov 2004, theorem 2.1.15"
LECTURE = "CS231n 2017, lecture 7"
RECORDS = 60


@configclass
class Config:
    """All that can change a number."""

    kappa: Annotated[float, Between("(1, inf)")] = 100.0
    """Condition number of the quadratic."""
    accuracy: OpenUnit = 1e-6
    """Distance to the minimizer over that of the start, at which a run on the quadratic has arrived."""
    factors: Annotated[tuple[float, ...], Increasing("be two or more that increase from 1", first=1)] = (
        1.0, 10.0, 100.0,
    )  # fmt: skip
    """Factors below the best rate 2 / (L + mu) on the quadratic, increasing from 1."""
    width: Count = 16
    """Units in each of the two hidden layers of the network (ReLU; digits, pixels in [0, 1])."""
    num_examples: Count = 512
    """Images of digits that it is trained on."""
    batch_size: Count = 32
    """Examples a step."""
    rates: Annotated[
        tuple[float, ...], Increasing("be three or more, positive and decreasing", least=3, falling=True), AboveZero()
    ] = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
    """Learning rates of the network, decreasing; one is ten times the last."""
    target: Annotated[float, Between("(0, 2.302585)", why="It starts near ln(10).")] = 0.5
    """Loss over all examples at which a run of the network has arrived."""
    longest: Annotated[float, Between("(0, inf)")] = 30.0
    """Length of a run of the network: steps times the learning rate."""
    num_seeds: Annotated[int, Whole(2)] = 6
    """Initializations of the network, the same for each rate."""
    seed: Seed = 0
    """The first of the seeds."""

    def __post_init__(self) -> None:
        if not np.isclose(self.tenfold, self.rates[-1] * 10):
            told = f"rates must hold ten times the last one, {self.rates[-1] * 10:g}, got {self.rates}"
            raise fail("small_rate_cost", told)

    @property
    def tenfold(self) -> float:
        """The rate nearest to ten times the last one."""
        return min(self.rates, key=lambda rate: abs(np.log(rate / self.rates[-1] / 10)))


PRESETS = {
    "quick": Config(),
    "full": Config(kappa=1000.0, rates=(0.5, 0.3, 0.2, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003), num_seeds=12),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a factor on the quadratic, then one a rate of the network."""
    problem = problems.load_problem(
        "digits-mlp", width=config.width, activation="relu", scaling="raw", fraction=1.0,
        num_examples=config.num_examples,
    )  # fmt: skip
    return [*_quadratic(config), *(_network(config, problem, rate) for rate in config.rates)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Exact steps and ratios on the quadratic; the network's tenfold cost below its best rate, less from there."""
    quadratic, network = rows.where(kind="quadratic"), rows.where(kind="network")
    first, last, slower = quadratic[0], quadratic[-1], network[-1]
    slow, best = network.only(learning_rate=config.tenfold), min(network, key=lambda row: row["mean"])
    whole = mean_of_samples(slower["steps"] / best["steps"])
    return [
        # A run arrives at a whole step.
        everywhere("On a quadratic the steps are ln(1 / accuracy) / -ln(1 - lr mu)", "steps at factor {factor:g}",
                   quadratic, "steps", "predicted", absolutely=1.001, unit="steps", reference=NESTEROV),
        relative(f"A rate {last['factor']:g} times lower takes so many times the steps", "ratio of steps",
                 last["predicted"] / first["predicted"], last["steps"] / first["steps"], 1.001 / first["steps"],
                 reference=NESTEROV),
        # 5 %: a step follows the gradient flow up to terms of the size lr L / 2, in sharp directions alone.
        relative("On a network far below its best rate a tenth of the rate takes ten times the steps",
                 f"ratio of steps, {slower['learning_rate']:g} against {slow['learning_rate']:g}", 10.0,
                 mean_of_samples(slower["steps"] / slow["steps"]).value, 0.05, reference=LECTURE),
        at_most("From its best rate down the cost is less than the factor",
                f"ratio of steps, {slower['learning_rate']:g} against {best['learning_rate']:g}",
                best["learning_rate"] / slower["learning_rate"], whole.value + 4 * (whole.standard_error or 0.0),
                reference=LECTURE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Steps against the rate, for the quadratic and the network."""
    figure, (above, below) = maker.axes(2, height=6.8)
    quadratic, network = rows.where(kind="quadratic"), rows.where(kind="network")
    rates, steps = quadratic["learning_rate"], quadratic["steps"]
    dense = np.geomspace(rates[-1], rates[0], 100)
    maker.predicted(above, dense, theory.rates.steps_to_accuracy(1 - dense / config.kappa, config.accuracy))
    maker.measured(above, rates, steps, markersize=7)
    told = f"{config.factors[-1]:g} times lower, {steps[-1] / steps[0]:.0f} times longer"
    above.set_title(f"Quadratic, kappa {config.kappa:g}: {told}")
    rates, means = network["learning_rate"], network["mean"]
    maker.predicted(below, rates, means[-1] * rates[-1] / rates, color=1)
    for row in network:
        here = np.full(len(row["steps"]), row["learning_rate"])
        maker.measured(below, here, row["steps"], color=1, markersize=4, alpha=0.5)
    maker.measured(below, rates, means, color=1, markersize=8)
    below.set_title(f"Digits: constant steps x rate (line), up to the best rate {rates[np.argmin(means)]:g}")
    for axes, ends in ((above, "distance"), (below, "loss")):
        axes.set(xscale="log", yscale="log", xlabel="learning rate", ylabel=f"steps to a given {ends}")
    return figure


def caption(config: Config, rows: Rows) -> str:
    quadratic, network = rows.where(kind="quadratic"), rows.where(kind="network")
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
        {"kind": "quadratic", "factor": factor, "learning_rate": rate, "predicted": law,
         "steps": int(np.argmax(curve <= config.accuracy))}
        for factor, rate, curve, law in zip(config.factors, rates, trace["distance"], predicted, strict=True)
    ]  # fmt: skip


def _network(config: Config, problem: Problem, rate: float) -> dict[str, Any]:
    """Steps of each seed until the loss over all examples reaches the target, read off between records."""
    steps = int(np.ceil(config.longest / rate))
    trace = training.run(
        problem, rules.sgd, {"learning_rate": np.full(config.num_seeds, rate)}, steps=steps,
        every=max(1, round(steps / RECORDS)), batch_size=config.batch_size,
        seeds=config.seed + np.arange(config.num_seeds),
    )  # fmt: skip
    arrivals = np.array([measures.crossing(trace.steps, curve, config.target, log=True) for curve in trace["loss"]])
    mean = float(np.mean(arrivals))
    return {"kind": "network", "learning_rate": rate, "steps": arrivals, "mean": mean,
            "flow_time": float(np.mean(arrivals) * rate)}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
