"""Can the plateaus of a loss curve be predicted, how high and how long, without a fitted constant?

What the lecture says: near a saddle there is "very, very slow progress", in high dimension almost everywhere; the
velocity will "carry us through the saddle".

What is true: where every saddle is known, a two-layer linear net from small weights stands on the saddles that fit the
largest singular values, at half the sum of the squares that are missing, and learns s after ln(sqrt(s) / a) /
ln r(lr s) steps; r is the growth factor of the rule at a saddle. So the saddles are there, and slow ones too, but the
delay is a logarithm of the start. Momentum divides the last plateau by about seven and the first by three, as lr s is
small there and large here: it does not coast through. With L > 2 layers the origin is not strict, and the delay is a
power of the start.

A value is learned when the loss crosses the middle between two plateaus. Then the constants of the law nearly cancel:
the middle lies at .29 s, which the flow reaches when linear growth would be at .91 sqrt(s); the growing share of a
start at rest is below 1 for heavy ball; inertia carries momentum over the last stretch, on which the flow slows down,
up to two steps earlier; and the random start's component is a chi variable around a. One mode alone, run from the
component that it really had, holds all of these ("alone" in the rows) and is right to less than a percent. Levels are
read where the gradient is least; under momentum only on long plateaus, as on short ones the last mode still rings.

Source: Baldi and Hornik 1989 for the saddles; Saxe et al. 2013, arXiv 1312.6120, for the modes; O'Neill and Wright
2018, arXiv 1706.07993, for the growth factors.
"""

import dataclasses
import itertools
import math
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import Verdict, available_memory, require_between, require_count, require_memory
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import (
    Between,
    Count,
    Increasing,
    Must,
    OpenUnit,
    Positive,
    Precision,
    Whole,
    configclass,
)
from jaxopt_lab.studies.verdicts import everywhere, relative
from jaxopt_lab.theory import linear_networks as law

SAXE = "Saxe et al. 2013, arXiv 1312.6120"
SADDLES = "Baldi and Hornik 1989; Saxe et al. 2013, arXiv 1312.6120"
ONEILL = "O'Neill and Wright 2018, arXiv 1706.07993"
METHODS = {"descent": (0.0, 0.0), "heavy ball": (1.0, 0.0), "Nesterov": (1.0, 1.0)}  # (rho, lookahead) in units of rho
APART = Must(
    "decrease by a factor of 1.5 each",
    lambda values: len(values) > 1 and values[-1] > 0 and all(a >= 1.5 * b for a, b in itertools.pairwise(values)),
    why="Plateaus of close values run into one another.",
)
SMALL = "decrease, between 0 and 0.1, at least two of them"


@configclass
class Config:
    """All that can change a number."""

    dim: Count = 100
    """Rows, columns and hidden width m; the net has 2 m^2 weights."""
    singular_values: Annotated[tuple[float, ...], APART] = (16.0, 8.0, 4.0, 2.0, 1.0)
    """Of the target, decreasing by at least a factor of 1.5."""
    scale: float = 1e-6
    """Size a of the start: entries N(0, a^2 / m); at least 1e-5 in float32."""
    learning_rate: Positive = 0.005
    """Times the largest singular value at most 0.5."""
    rho: OpenUnit = 0.9
    """Momentum."""
    num_seeds: Count = 2
    """Random starts; times are means over them."""
    every: Count = 1
    """Steps between records of loss and gradient."""
    depths: Annotated[tuple[int, ...], Whole(2)] = (2, 3, 4)
    """Numbers of layers L of the deep nets, one mode with s = 1."""
    starts: Annotated[tuple[float, ...], Increasing(SMALL, falling=True), Between("(0, 0.1)")] = (
        1e-3,
        1e-4,
        1e-5,
        1e-6,
    )
    """Strengths of the product at the start of the deep nets, decreasing."""
    deep_rate: Annotated[float, Between("(0, 0.5)")] = 0.02
    """Learning rate of the deep nets."""
    dtype: Precision = "float64"
    """Floating type, "float64" or "float32"."""

    def __post_init__(self) -> None:
        where, low = "predictable_plateaus", 1e-5 if self.dtype == "float32" else 1e-12
        require_count(where, "dim", self.dim, len(self.singular_values), "It must hold the rank.")
        require_between(where, "scale", self.scale, low, 0.01, why="Below, rounding seeds the modes and not the start.")
        largest = self.learning_rate * self.singular_values[0]
        require_between(where, "learning_rate times the largest value", largest, 0, 0.5)
        needed = 6 * 2 * self.dim**2 * np.dtype(self.dtype).itemsize
        require_memory(where, needed, available_memory(), f"a net of {2 * self.dim**2:.3g} weights", "Lower dim.")


PRESETS = {
    "quick": Config(),
    "full": Config(dim=500, num_seeds=1),
    "huge": Config(dim=7071, num_seeds=1, scale=1e-5, every=2, dtype="float32"),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a method for the plateaus, and one a depth and start."""
    target = objectives.planted_matrix(config.singular_values, config.dim)
    problem = objectives.linear_network(target, scale=config.scale)
    problem = dataclasses.replace(problem, metrics={"components": jax.tree_util.Partial(_components, target)})
    rows = [_plateaus(config, problem, method, checkpoints) for method in METHODS]
    return rows + [_deep(config, depth, start) for depth in config.depths for start in config.starts]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Exit times by the plain and the sharp law, levels, momentum's gain, and the law of depth."""
    plateaus = rows.where(kind="plateaus")
    plain, heavy = plateaus[0], plateaus[1]
    gains = [(name, plain["predicted"][at] / heavy["predicted"][at], plain["times"][at] / heavy["times"][at])
             for at, name in ((0, "first"), (-1, "last"))]  # fmt: skip
    return [
        *(verdict for row in plateaus for verdict in _of_method(config, row)),
        *(relative(f"Momentum shortens the {name} plateau by {gain:.2g}, of at most {1 / (1 - config.rho):.2g}",
                   "steps of descent over steps of heavy ball", gain, measured, 0.04, reference=ONEILL)
          for name, gain, measured in gains),
        *(everywhere(f"With {depth} layers the time is"
                     f" {f'a power {1 - 2 / depth:.2g}' if depth > 2 else 'the logarithm'}"
                     " of the inverse start, and what follows", "time from {start:g}, where it is furthest off", runs,
                     "time", "predicted", relatively=0.02, reference=SAXE) for depth, runs in rows.by("depth").items()),
    ]  # fmt: skip


def _of_method(config: Config, row: Row) -> list[Verdict]:
    method, found = row["method"], []
    for known, how, allowed in (("predicted", "after ln(sqrt(s) / a) / ln r", 0.03), ("alone", "as if alone", 0.01)):
        worst = np.argmax(np.abs(np.log(row["times"] / row[known])))
        found.append(relative(f"{method.capitalize()} learns each of {len(row['times'])} values {how}",
                              f"steps at s = {config.singular_values[worst]:g}, where it is furthest off",
                              row[known][worst], row["times"][worst], allowed, unit="steps",
                              reference=ONEILL))  # fmt: skip
    # Under momentum the mode learned last rings on, and its energy fades by rho a step: e^-8 = 3e-4 should be left.
    settled = np.diff(row["predicted"]) > (8 / -math.log(row["rho"]) if row["rho"] else 0)
    if settled.any():
        levels, measured = law.plateau_losses(config.singular_values)[1:-1][settled], row["levels"][settled]
        worst = np.argmax(np.abs(measured / levels - 1))
        found.append(relative(f"Where its gradient is least, {method} stands at the loss of a saddle",
                              "loss, where furthest off", levels[worst], measured[worst],
                              5e-3 if row["rho"] else 1e-3, reference=SADDLES))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Loss staircases with predicted levels and exits; below, the time of deep nets against their start."""
    figure, (top, bottom) = maker.axes(2, height=8.0)
    levels = law.plateau_losses(config.singular_values)
    middle = 0.5 * (levels[:-1] + levels[1:])
    for level in levels[:-1]:
        top.axhline(level, color="#8a94a0", linewidth=0.8, linestyle=":")
    for index, row in enumerate(rows.where(kind="plateaus")):
        top.plot(row["curve_steps"], row["curve"], color=maker.color(index), linewidth=1.2)
        maker.measured(top, row["predicted"], middle, color=index, marker="|", markersize=16, markeredgewidth=2.0,
                       markeredgecolor=maker.color(index))  # fmt: skip
        if row["method"] != "Nesterov":
            maker.label(top, row["predicted"][-1], middle[-1], row["method"], color=index)
        else:
            top.text(row["predicted"][0] * 0.95, middle[0], "Nesterov ", ha="right", va="center",
                     color=maker.color(index))  # fmt: skip
    top.set(xscale="log", yscale="log", xlim=(20, None), ylim=(0.1 * levels[-2], None), xlabel="step", ylabel="loss",
            title="Plateaus at saddles (dotted), left when predicted (bars)")  # fmt: skip
    starts = np.geomspace(config.starts[0], config.starts[-1], 100)
    for index, (depth, runs) in enumerate(rows.by("depth").items()):
        maker.predicted(bottom, starts, law.deep_learning_time(depth, starts, 1.0, 0.5), color=index)
        maker.measured(bottom, runs["start"], runs["time"], color=index, label=f"{depth} layers")
    bottom.set(xscale="log", yscale="log", xlabel="strength at the start", ylabel="time until half is learned",
               title="Depth turns the logarithm of the start into a power")  # fmt: skip
    bottom.invert_xaxis()
    return figure


def caption(config: Config, rows: Rows) -> str:
    ours = rows.where(kind="plateaus")
    worst, gains = np.abs(ours["times"] / ours["predicted"] - 1).max(), ours[0]["times"] / ours[1]["times"]
    return (
        f"All {ours['times'].size} exit times lie within {worst:.1%} of their law; heavy ball"
        f" shortens the first plateau {gains[0]:.1f} times and the last {gains[-1]:.1f} times."
    )


def _plateaus(config: Config, problem: Any, method: str, checkpoints: training.Checkpoints) -> Row:
    """Exit times, levels and the curve of one method, from random starts."""
    values, rate = np.asarray(config.singular_values), config.learning_rate
    rho, lookahead = (config.rho * share for share in METHODS[method])
    rule = rules.nesterov if method == "Nesterov" else rules.heavy_ball  # with rho = 0 it is descent, in one program
    predicted = law.plateau_exit_steps(values, config.scale, rate, rho, lookahead)
    trace = training.run(
        problem, rule, {"learning_rate": rate, "rho": rho}, steps=int(1.15 * predicted[-1]) + 20, every=config.every,
        seeds=np.arange(config.num_seeds), folder=checkpoints.of(method),
        probes=[training.loss(), training.gradient_norm(), training.metric("components", on="training")],
    )  # fmt: skip
    levels, steps = law.plateau_losses(values), trace.steps
    exits = np.array([[measures.crossing(steps, loss, level) for level in 0.5 * (levels[:-1] + levels[1:])]
                      for loss in trace["loss"]])  # fmt: skip
    shown = np.unique(np.searchsorted(steps, np.geomspace(1, steps[-1], 600)))
    return {
        "kind": "plateaus", "method": method, "learning_rate": rate, "rho": rho, "times": exits.mean(0),
        "predicted": predicted,
        "alone": law.mode_exit_steps(values, trace["components"][:, 0], rate, rho, lookahead).mean(0),
        "levels": _levels(steps, trace["loss"][0], trace["gradient_norm"][0], exits[0]),
        "curve_steps": steps[shown], "curve": trace["loss"][0, shown],
    }  # fmt: skip


def _deep(config: Config, depth: int, start: float) -> Row:
    """Time of a deep net of one mode until half of it is learned, from an aligned and balanced start."""
    target = objectives.planted_matrix([1.0], 2)
    problem = objectives.linear_network(target, depth=depth, width=1, start="balanced", scale=start ** (1 / depth))
    predicted, rate = float(law.deep_learning_time(depth, start)), config.deep_rate
    trace = training.run(problem, rules.sgd, {"learning_rate": rate}, steps=int(1.1 * predicted / rate) + 10,
                         probes=[training.metric("strengths", on="training")])  # fmt: skip
    time = rate * measures.crossing(trace.steps, -trace["strengths"][0, :, 0], -0.5)
    return {"kind": "deep", "depth": depth, "start": start, "learning_rate": rate, "time": time, "predicted": predicted}


def _levels(steps: np.ndarray, loss: np.ndarray, gradient: np.ndarray, exits: np.ndarray) -> np.ndarray:
    """Losses where the gradient is least between two exits."""
    between = [np.flatnonzero((steps > first) & (steps < last)) for first, last in itertools.pairwise(exits)]
    return np.array([loss[at[gradient[at].argmin()]] if len(at) else math.nan for at in between])


def _components(target: objectives.PlantedMatrix, params: tuple[jax.Array, jax.Array], batch: None) -> jax.Array:
    """Length of the growing part (W_1 v + W_2' u) / sqrt(2) of each triple, [r]."""
    growing = params[0] @ target.right + params[1].T @ target.left
    return jnp.sqrt(0.5 * jnp.sum(jnp.square(growing), axis=0))


if __name__ == "__main__":
    raise SystemExit(main())
