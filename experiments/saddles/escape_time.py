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

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail, judge, require_between, require_count, require_positive
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

JIN = "Jin et al. 2017, arXiv 1703.00887"
ONEILL = "O'Neill and Wright 2018, arXiv 1706.07993"
LECTURE = "CS231n 2017, lecture 7"


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. One eigenvalue is -1 and all others are 1; a run has left at |y| = 1."""

    dims: tuple[int, ...] = (100, 1_000, 10_000, 100_000)
    """Numbers of parameters d, increasing."""
    h: float = 0.01
    """Learning rate times |eigenvalue| of the random starts, below 1."""
    radius: float = 1e-3
    """Radius of the ball around the saddle from which perturbed descent starts."""
    num_seeds: int = 40
    """Random starts in each dimension."""
    rho: float = 0.9
    """Momentum of the runs from a planted start."""
    rates: tuple[float, ...] = (1e-3, 1e-2, 0.1, 1.0)
    """Learning rates times |eigenvalue| of the runs from a planted start."""
    offset: float = 1e-8
    """Where the planted start lies along the way out."""
    noise: float = 1e-6
    """Standard deviation of the gradient's noise, per coordinate, in the runs from the saddle itself."""
    num_noisy: int = 400
    """Runs from the saddle itself."""

    def __post_init__(self) -> None:
        if len(self.dims) < 2 or list(self.dims) != sorted(set(self.dims)):
            raise fail("escape_time", f"dims must hold at least two numbers that increase, got {self.dims}")
        for dim in self.dims:
            require_count("escape_time", "dims", dim, minimum=2)
        require_between("escape_time", "h", self.h, 0, 1, ends="()")
        require_between("escape_time", "rho", self.rho, 0, 1, ends="()")
        require_between("escape_time", "radius", self.radius, 0, 1, ends="()")
        require_between("escape_time", "offset", self.offset, 0, 1, ends="()", why="An exact saddle is never left.")
        require_positive("escape_time", "noise", self.noise)
        require_count("escape_time", "num_seeds", self.num_seeds, minimum=2)
        require_count("escape_time", "num_noisy", self.num_noisy, minimum=2)
        for rate in self.rates:
            require_between("escape_time", "rates", rate, 0, 1, ends="(]")


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a dimension, one a rate and method from a planted start, and one of runs that noise drives."""
    rows = [_random_starts(config, place, checkpoints) for place in range(len(config.dims))]
    methods = (("descent", rules.sgd, 0.0, 0.0), ("heavy ball", rules.heavy_ball, config.rho, 0.0),
               ("Nesterov", rules.nesterov, config.rho, config.rho))  # fmt: skip
    for name, rule, rho, lookahead in methods:
        rows += [_planted(config, name, rule, rate, rho, lookahead) for rate in config.rates]
    return [*rows, _noisy(config)]


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """Mean times in every dimension, what a decade costs, planted starts, momentum's gain, and noise."""
    random, planted, noisy = (_of(rows, kind) for kind in ("random", "planted", "noisy"))
    worst = max(random, key=lambda row: abs(row["mean"] - row["predicted"]) / row["error"])
    first, last = random[0], random[-1]
    cost = last["mean"] - first["mean"]
    expected = 0.5 * np.log(last["dim"] / first["dim"]) / np.log1p(config.h)
    found = [
        judge("From a random point of a ball a saddle is left after ln(sqrt(d) / radius) / ln(1 + h) steps",
              f"mean time where it is furthest off, d = {worst['dim']:,}", worst["predicted"], worst["mean"],
              4 * worst["error"], kind="within", unit="steps", reference=JIN),
        judge(f"{last['dim'] // first['dim']:,} times the dimension costs so many steps more, not a factor",
              "difference of the mean times", float(expected), float(cost),
              4 * float(np.hypot(first["error"], last["error"])), kind="within", unit="steps", reference=JIN),
        *(_planted_verdict(rows, name) for name in ("descent", "heavy ball", "Nesterov")),
    ]  # fmt: skip
    for rate in (config.rates[0], config.rates[-1]):
        slow, fast = (
            next(r for r in planted if r["method"] == name and r["h"] == rate) for name in ("descent", "heavy ball")
        )
        gain = float(np.log(theory.escapes.growth_factor(rate, config.rho)) / np.log1p(rate))
        # One step of each run, and the constant of the start, beside the ratio of the rates.
        claim = f"Momentum gains {gain:.3g} times at h = {rate:g}, at most {1 / (1 - config.rho):.3g} anywhere"
        found.append(judge(claim, "steps of descent over steps of heavy ball", slow["predicted"] / fast["predicted"],
                           slow["steps"] / fast["steps"], 2 / fast["steps"], reference=ONEILL))  # fmt: skip
    return [
        *found,
        judge("Noise leaves even the exact saddle", "mean time from the saddle itself", noisy[0]["predicted"],
              noisy[0]["mean"], 4 * noisy[0]["error"], kind="within", unit="steps", reference=LECTURE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Mean time against dimension with its law; below, momentum's gain against h."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    random = _of(rows, "random")
    dims = np.geomspace(random[0]["dim"], 1e8, 100)
    maker.predicted(top, dims, theory.escapes.perturbed_escape_time(config.h, dims, config.radius).mean)
    top.errorbar([r["dim"] for r in random], [r["mean"] for r in random], yerr=[4 * r["error"] for r in random],
                 fmt="o", color=maker.color(1), zorder=3)  # fmt: skip
    top.set(xscale="log", ylim=(0, None), xlabel="dimension", ylabel="steps to leave the saddle")
    more = theory.escapes.perturbed_escape_time(config.h, np.array([1e2, 1e8]), config.radius).mean
    top.set_title(f"A million times the dimension: {more[1] / more[0] - 1:.0%} more steps")
    rates = np.geomspace(config.rates[0] / 10, config.rates[-1], 200)
    for index, (name, lookahead) in enumerate((("heavy ball", 0.0), ("Nesterov", config.rho))):
        gain = np.log(theory.escapes.growth_factor(rates, config.rho, lookahead)) / np.log1p(rates)
        maker.predicted(bottom, rates, gain, color=index)
        ours = [r for r in _of(rows, "planted") if r["method"] == name]
        plain = {r["h"]: r["steps"] for r in _of(rows, "planted") if r["method"] == "descent"}
        maker.measured(bottom, [r["h"] for r in ours], [plain[r["h"]] / r["steps"] for r in ours], color=index)
        maker.label(bottom, rates[110], gain[110] * (1.3 if index else 0.55), name, color=index)
    bottom.set(xscale="log", ylim=(0, None), xlabel="learning rate times |eigenvalue|", ylabel="speed over descent")
    bottom.set_title(f"Momentum {config.rho:g} gains up to {1 / (1 - config.rho):.3g} times, at large steps little")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    random, planted = _of(rows, "random"), _of(rows, "planted")
    plain = [r["steps"] for r in planted if r["method"] == "descent"]
    heavy = [r["steps"] for r in planted if r["method"] == "heavy ball"]
    return (
        f"A saddle in {random[-1]['dim']:,} dimensions is left after {random[-1]['mean']:.0f} steps, one in"
        f" {random[0]['dim']:,} after {random[0]['mean']:.0f}; momentum makes that {plain[0] / heavy[0]:.1f} times"
        f" faster at h = {config.rates[0]:g} and {plain[-1] / heavy[-1]:.1f} times at h = {config.rates[-1]:g}."
    )


def _random_starts(config: Config, place: int, checkpoints: training.Checkpoints) -> dict[str, Any]:
    """Times of descent from random points of the ball, read off between records by the known growth."""
    dim, seeds = config.dims[place], place * config.num_seeds + np.arange(config.num_seeds)
    law = theory.escapes.perturbed_escape_time(config.h, dim, config.radius)
    spectrum = np.concatenate([[-1.0], np.ones(dim - 1)])
    problem = objectives.quadratic_saddle(spectrum, confinement=0.0, radius=config.radius)
    steps = int(law.mean + 8 * law.deviation)
    trace = training.run(
        problem, rules.sgd, {"learning_rate": config.h}, steps=steps, every=50,
        seeds=seeds, probes=[training.coordinates(0)], folder=checkpoints.of(f"{dim} dimensions"),
    )  # fmt: skip
    times = _exit_times(np.abs(trace["coordinates"][:, :, 0]), trace.steps, 1 + config.h)
    return {
        "kind": "random",
        "dim": dim,
        "learning_rate": config.h,
        "effective_rate": config.h,
        "mean": float(times.mean()),
        "error": float(times.std(ddof=1) / np.sqrt(len(times))),
        "predicted": float(law.mean),
    }


def _planted(config: Config, name: str, rule: Any, rate: float, rho: float, lookahead: float) -> dict[str, Any]:
    """Steps from a known offset until |y| reaches 1."""
    predicted = float(theory.escapes.escape_steps(rate, config.offset, 1.0, rho, lookahead))
    problem = objectives.quadratic_saddle([-1.0], confinement=0.0, start=config.offset)
    hyper = {"learning_rate": rate} | ({"rho": rho} if rho else {})
    trace = training.run(problem, rule, hyper, steps=int(predicted * 1.2) + 10, probes=[training.coordinates(0)])
    steps = int(np.argmax(np.abs(trace["coordinates"][0, :, 0]) >= 1))
    return {
        "kind": "planted",
        "method": name,
        "h": rate,
        "learning_rate": rate,
        "rho": rho,
        "effective_rate": rate / (1 - rho),
        "steps": steps,
        "predicted": predicted,
    }


def _noisy(config: Config) -> dict[str, Any]:
    """Times of descent from the saddle itself, under gradient noise."""
    law = theory.escapes.noisy_escape_time(config.h, config.h, config.noise)
    saddle = objectives.quadratic_saddle([-1.0], confinement=0.0, start=np.zeros(1))
    problem = objectives.with_noise(saddle, "gaussian", config.noise)
    trace = training.run(
        problem, rules.sgd, {"learning_rate": config.h}, steps=int(law.mean + 10 * law.deviation), every=50,
        seeds=np.arange(config.num_noisy), probes=[training.coordinates(0)],
    )  # fmt: skip
    times = _exit_times(np.abs(trace["coordinates"][:, :, 0]), trace.steps, 1 + config.h)
    return {
        "kind": "noisy",
        "learning_rate": config.h,
        "effective_rate": config.h,
        "mean": float(times.mean()),
        "error": float(times.std(ddof=1) / np.sqrt(len(times))),
        "predicted": float(law.mean),
    }


def _exit_times(distances: np.ndarray, steps: np.ndarray, growth: float) -> np.ndarray:
    """For curves [runs, records], the real step at which each reaches 1, by its growth a step."""
    record = np.argmax(distances >= 1, axis=1)
    if (record == 0).any():
        return np.full(len(distances), np.nan)  # a run that has not left: the verdicts fail
    inside = distances[np.arange(len(distances)), record]
    return steps[record] - np.log(inside) / np.log(growth)


def _planted_verdict(rows: Rows, name: str) -> Verdict:
    ours = [row for row in _of(rows, "planted") if row["method"] == name]
    worst = max(ours, key=lambda row: abs(row["steps"] - row["predicted"]))
    # A run leaves at a whole step.
    claim, quantity = f"From a known start {name} leaves when the law says", f"steps at h = {worst['h']:g}"
    return judge(
        claim, quantity, worst["predicted"], worst["steps"], 1.001, kind="absolute", unit="steps", reference=ONEILL
    )


def _of(rows: Rows, kind: str) -> list[Any]:
    return [row for row in rows if row["kind"] == kind]


STUDY = Study(
    name="escape_time",
    question="How long does a saddle hold a run, and does it get worse in high dimension?",
    lecture='The function "will get stuck at the saddle point"; velocity will "carry us through".',
    truth=(
        "The escape is exponential: the steps grow with the logarithm of the dimension, and momentum gains at most"
        " 1 / (1 - rho)."
    ),
    reference=f"{JIN}; {ONEILL}",
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(dims=(100, 1_000, 10_000, 100_000, 1_000_000), num_seeds=100, num_noisy=4000),
        "huge": Config(dims=(100, 10_000, 1_000_000, 100_000_000), num_seeds=4),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
