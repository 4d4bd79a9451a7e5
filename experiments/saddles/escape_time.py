"""How long does a saddle hold a run, and does it get worse in high dimension?

What the lecture says: at a saddle "the function will get stuck"; it makes "very, very slow progress" near it, which
matters in 100 million dimensions; the velocity will "carry us through the saddle".

What is true: the way out is exponential. From a random point of a ball, gradient descent needs ln(sqrt(d) / radius) /
ln(1 + h) steps, h = learning rate |eigenvalue|: six decades of dimension cost a few hundred steps, not a factor.
Momentum multiplies the rate of escape by at most 1 / (1 - rho), and only where h is far below (1 - rho)^2; at h = 1 it
gains a third. Noise leaves even the exact saddle.

Source: Jin et al. 2017, arXiv 1703.00887, for perturbed descent; O'Neill and Wright 2018, arXiv 1706.07993, for
momentum.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Between, Increasing, OpenUnit, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import everywhere, relative, within

JIN = "Jin et al. 2017, arXiv 1703.00887"
ONEILL = "O'Neill and Wright 2018, arXiv 1706.07993"
LECTURE = "CS231n 2017, lecture 7"
METHODS = {"descent": (rules.sgd, 0, 0), "heavy ball": (rules.heavy_ball, 1, 0), "Nesterov": (rules.nesterov, 1, 1)}


@configclass
class Config:
    """All that can change a number. One eigenvalue is -1 and all others are 1; a run has left at |y| = 1."""

    dims: Annotated[tuple[int, ...], Whole(2), Increasing("hold at least two numbers that increase")] = (
        100, 1_000, 10_000, 100_000,
    )  # fmt: skip
    """Numbers of parameters d, increasing."""
    h: OpenUnit = 0.01
    """Learning rate times |eigenvalue| of the random starts, below 1."""
    radius: OpenUnit = 1e-3
    """Radius of the ball around the saddle from which perturbed descent starts."""
    num_seeds: Annotated[int, Whole(2)] = 40
    """Random starts in each dimension."""
    rho: OpenUnit = 0.9
    """Momentum of the runs from a planted start."""
    rates: Annotated[tuple[float, ...], Between("(0, 1]")] = (1e-3, 1e-2, 0.1, 1.0)
    """Learning rates times |eigenvalue| of the runs from a planted start."""
    offset: Annotated[float, Between("(0, 1)", why="An exact saddle is never left.")] = 1e-8
    """Where the planted start lies along the way out."""
    noise: Positive = 1e-6
    """Standard deviation of the gradient's noise, per coordinate, in the runs from the saddle itself."""
    num_noisy: Annotated[int, Whole(2)] = 400
    """Runs from the saddle itself."""


PRESETS = {
    "quick": Config(),
    "full": Config(dims=(100, 1_000, 10_000, 100_000, 1_000_000), num_seeds=100, num_noisy=4000),
    "huge": Config(dims=(100, 10_000, 1_000_000, 100_000_000), num_seeds=4),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a dimension, one a rate and method from a planted start, and one of runs that noise drives."""
    random = [_random_starts(config, place, checkpoints) for place in range(len(config.dims))]
    return [*random, *(_planted(config, name, rate) for name in METHODS for rate in config.rates), _noisy(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Mean times in every dimension, what a decade costs, planted starts, momentum's gain, and noise."""
    random, planted, noisy = rows.where(kind="random"), rows.where(kind="planted"), rows.only(kind="noisy")
    first, last = random[0], random[-1]
    expected = 0.5 * np.log(last["dim"] / first["dim"]) / np.log1p(config.h)
    return [
        everywhere("From a random point of a ball a saddle is left after ln(sqrt(d) / radius) / ln(1 + h) steps",
                   "mean time where it is furthest off, d = {dim:,}", random, "mean", "predicted", errors="error",
                   unit="steps", reference=JIN),
        within(f"{last['dim'] // first['dim']:,} times the dimension costs so many steps more, not a factor",
               "difference of the mean times", float(expected), float(last["mean"] - first["mean"]),
               float(np.hypot(first["error"], last["error"])), unit="steps", reference=JIN),
        # A run leaves at a whole step.
        *(everywhere(f"From a known start {name} leaves when the law says", "steps at h = {h:g}", runs, "steps",
                     "predicted", absolutely=1.001, unit="steps", reference=ONEILL)
          for name, runs in planted.by("method").items()),
        *(_gain(config, planted.where(h=rate)) for rate in (config.rates[0], config.rates[-1])),
        within("Noise leaves even the exact saddle", "mean time from the saddle itself", noisy["predicted"],
               noisy["mean"], noisy["error"], unit="steps", reference=LECTURE),
    ]  # fmt: skip


def _gain(config: Config, planted: Rows) -> Verdict:
    slow, fast = planted.only(method="descent"), planted.only(method="heavy ball")
    gain = float(np.log(theory.escapes.growth_factor(slow["h"], config.rho)) / np.log1p(slow["h"]))
    # One step of each run, and the constant of the start, beside the ratio of the rates.
    claim = f"Momentum gains {gain:.3g} times at h = {slow['h']:g}, at most {1 / (1 - config.rho):.3g} anywhere"
    return relative(claim, "steps of descent over steps of heavy ball", slow["predicted"] / fast["predicted"],
                    slow["steps"] / fast["steps"], 2 / fast["steps"], reference=ONEILL)  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Mean time against dimension with its law; below, momentum's gain against h."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    random, planted = rows.where(kind="random"), rows.where(kind="planted").by("method")
    dims = np.geomspace(random[0]["dim"], 1e8, 100)
    maker.predicted(top, dims, theory.escapes.perturbed_escape_time(config.h, dims, config.radius).mean)
    top.errorbar(random["dim"], random["mean"], yerr=4 * random["error"], fmt="o", color=maker.color(1), zorder=3)
    more = theory.escapes.perturbed_escape_time(config.h, np.array([1e2, 1e8]), config.radius).mean
    top.set(xscale="log", ylim=(0, None), xlabel="dimension", ylabel="steps to leave the saddle",
            title=f"A million times the dimension: {more[1] / more[0] - 1:.0%} more steps")  # fmt: skip
    rates, most = np.geomspace(config.rates[0] / 10, config.rates[-1], 200), 1 / (1 - config.rho)
    for index, (name, lookahead) in enumerate((("heavy ball", 0.0), ("Nesterov", config.rho))):
        gain = np.log(theory.escapes.growth_factor(rates, config.rho, lookahead)) / np.log1p(rates)
        maker.predicted(bottom, rates, gain, color=index)
        maker.measured(bottom, config.rates, planted["descent"]["steps"] / planted[name]["steps"], color=index)
        maker.label(bottom, rates[110], gain[110] * (1.3 if index else 0.55), name, color=index)
    bottom.set(xscale="log", ylim=(0, None), xlabel="learning rate times |eigenvalue|", ylabel="speed over descent",
               title=f"Momentum {config.rho:g} gains up to {most:.3g} times, at large steps little")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    random, planted = rows.where(kind="random"), rows.where(kind="planted").by("method")
    gain = planted["descent"]["steps"] / planted["heavy ball"]["steps"]
    return (
        f"A saddle in {random[-1]['dim']:,} dimensions is left after {random[-1]['mean']:.0f} steps, one in"
        f" {random[0]['dim']:,} after {random[0]['mean']:.0f}; momentum makes that {gain[0]:.1f} times"
        f" faster at h = {config.rates[0]:g} and {gain[-1]:.1f} times at h = {config.rates[-1]:g}."
    )


def _random_starts(config: Config, place: int, checkpoints: training.Checkpoints) -> dict[str, Any]:
    """Times of descent from random points of the ball, read off between records by the known growth."""
    dim, seeds = config.dims[place], place * config.num_seeds + np.arange(config.num_seeds)
    law = theory.escapes.perturbed_escape_time(config.h, dim, config.radius)
    spectrum = np.concatenate([[-1.0], np.ones(dim - 1)])
    problem = objectives.quadratic_saddle(spectrum, confinement=0.0, radius=config.radius)
    trace = training.run(problem, rules.sgd, {"learning_rate": config.h}, steps=int(law.mean + 8 * law.deviation),
                         every=50, seeds=seeds, probes=[training.coordinates(0)],
                         folder=checkpoints.of(f"{dim} dimensions"))  # fmt: skip
    return {"kind": "random", "dim": dim} | _exit_times(config, trace, law)


def _planted(config: Config, name: str, rate: float) -> dict[str, Any]:
    """Steps from a known offset until |y| reaches 1."""
    rule, rho, lookahead = METHODS[name][0], METHODS[name][1] * config.rho, METHODS[name][2] * config.rho
    predicted = float(theory.escapes.escape_steps(rate, config.offset, 1.0, rho, lookahead))
    problem = objectives.quadratic_saddle([-1.0], confinement=0.0, start=config.offset)
    hyper = {"learning_rate": rate} | ({"rho": rho} if rho else {})
    trace = training.run(problem, rule, hyper, steps=int(predicted * 1.2) + 10, probes=[training.coordinates(0)])
    steps = int(np.argmax(np.abs(trace["coordinates"][0, :, 0]) >= 1))
    return {"kind": "planted", "method": name, "h": rate, "learning_rate": rate, "rho": rho, "steps": steps,
            "predicted": predicted}  # fmt: skip


def _noisy(config: Config) -> dict[str, Any]:
    """Times of descent from the saddle itself, under gradient noise."""
    law = theory.escapes.noisy_escape_time(config.h, config.h, config.noise)
    saddle = objectives.quadratic_saddle([-1.0], confinement=0.0, start=np.zeros(1))
    trace = training.run(
        objectives.with_noise(saddle, "gaussian", config.noise), rules.sgd, {"learning_rate": config.h}, every=50,
        steps=int(law.mean + 10 * law.deviation), seeds=np.arange(config.num_noisy), probes=[training.coordinates(0)],
    )  # fmt: skip
    return {"kind": "noisy"} | _exit_times(config, trace, law)


def _exit_times(config: Config, trace: training.Trace, law: Any) -> dict[str, float]:
    """The mean of the real steps at which runs reach 1, by their growth a step; NaN where one has not left."""
    distances = np.abs(trace["coordinates"][:, :, 0])
    record = np.argmax(distances >= 1, axis=1)
    inside = distances[np.arange(len(distances)), record]
    times = (
        trace.steps[record] - np.log(inside) / np.log(1 + config.h) if record.all() else np.full(len(record), np.nan)
    )
    return {"learning_rate": config.h, "mean": float(times.mean()), "predicted": float(law.mean),
            "error": float(times.std(ddof=1) / np.sqrt(len(times)))}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
