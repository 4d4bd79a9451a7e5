"""Can the plateaus of a loss curve be predicted, how high and how long, without a fitted constant?

What the lecture says: near a saddle there is "very, very slow progress", in high dimension almost everywhere; the
velocity will "carry us through the saddle".

What is true, where every saddle is known: a two-layer linear net from small weights stands on the saddles that fit the
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

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import (
    Verdict,
    available_memory,
    fail,
    require_between,
    require_count,
    require_memory,
)
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import (
    Between,
    Count,
    OpenUnit,
    Positive,
    Precision,
    Whole,
    configclass,
)
from jaxopt_lab.studies.verdicts import relative

SAXE = "Saxe et al. 2013, arXiv 1312.6120"
SADDLES = "Baldi and Hornik 1989; Saxe et al. 2013, arXiv 1312.6120"
ONEILL = "O'Neill and Wright 2018, arXiv 1706.07993"
METHODS = {"descent": 0.0, "heavy ball": 0.0, "Nesterov": 1.0}  # the lookahead, in units of rho


@configclass
class Config:
    """All that can change a number."""

    dim: Annotated[int, Whole(2)] = 100
    """Rows, columns and hidden width m; the net has 2 m^2 weights."""
    singular_values: tuple[float, ...] = (16.0, 8.0, 4.0, 2.0, 1.0)
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
    starts: tuple[float, ...] = (1e-3, 1e-4, 1e-5, 1e-6)
    """Strengths of the product at the start of the deep nets, decreasing."""
    deep_rate: Annotated[float, Between("(0, 0.5)")] = 0.02
    """Learning rate of the deep nets."""
    dtype: Precision = "float64"
    """Floating type, "float64" or "float32"."""

    def __post_init__(self) -> None:
        where, values = "predictable_plateaus", np.asarray(self.singular_values)
        if len(values) < 2 or not np.all(values > 0) or np.any(values[:-1] < 1.5 * values[1:]):
            raise fail(where, f"singular_values must decrease by a factor of 1.5 each, got {self.singular_values}",
                       "Plateaus of close values run into one another.")  # fmt: skip
        require_count(where, "dim", self.dim, max(len(values), 2), "It must hold the rank.")
        low = 1e-5 if self.dtype == "float32" else 1e-12
        require_between(where, "scale", self.scale, low, 0.01, why="Below, rounding seeds the modes and not the start.")
        require_between(where, "learning_rate times the largest value", self.learning_rate * values[0], 0, 0.5)
        if (
            list(self.starts) != sorted(set(self.starts), reverse=True)
            or not 0 < self.starts[-1] < self.starts[0] < 0.1
        ):
            raise fail(where, f"starts must decrease, between 0 and 0.1, at least two of them, got {self.starts}")
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
    plateaus, found = {row["method"]: row for row in rows if row["kind"] == "plateaus"}, []
    for method, row in plateaus.items():
        for law, how, allowed in (("predicted", "after ln(sqrt(s) / a) / ln r", 0.03), ("alone", "as if alone", 0.01)):
            worst = np.argmax(np.abs(np.log(row["times"] / row[law])))
            found.append(relative(f"{method.capitalize()} learns each of {len(row['times'])} values {how}",
                                  f"steps at s = {config.singular_values[worst]:g}, where it is furthest off",
                                  row[law][worst], row["times"][worst], allowed, unit="steps", reference=ONEILL))  # fmt: skip
        # Under momentum the mode learned last rings on, and its energy fades by rho a step: e^-8 = 3e-4 should be left.
        settled = np.diff(row["predicted"]) > (8 / -math.log(row["rho"]) if row["rho"] else 0)
        if settled.any():
            levels, measured = (
                theory.linear_networks.plateau_losses(config.singular_values)[1:-1][settled],
                row["levels"][settled],
            )
            worst = np.argmax(np.abs(measured / levels - 1))
            found.append(relative(f"Where its gradient is least, {method} stands at the loss of a saddle",
                                  "loss, where furthest off", levels[worst], measured[worst],
                                  5e-3 if row["rho"] else 1e-3, reference=SADDLES))  # fmt: skip
    plain, heavy = plateaus["descent"], plateaus["heavy ball"]
    for place, name in ((0, "first"), (-1, "last")):
        gain = plain["predicted"][place] / heavy["predicted"][place]
        found.append(relative(f"Momentum shortens the {name} plateau by {gain:.2g}, of at most {1 / (1 - config.rho):.2g}",
                              "steps of descent over steps of heavy ball", gain,
                              plain["times"][place] / heavy["times"][place], 0.04, reference=ONEILL))  # fmt: skip
    for depth in config.depths:
        ours = [row for row in rows if row["kind"] == "deep" and row["depth"] == depth]
        worst = max(ours, key=lambda row: abs(row["time"] / row["predicted"] - 1))
        power = f"a power {1 - 2 / depth:.2g} of" if depth > 2 else "the logarithm of"
        found.append(relative(f"With {depth} layers the time is {power} the inverse start, and what follows",
                              f"time from {worst['start']:g}, where it is furthest off", worst["predicted"],
                              worst["time"], 0.02, reference=SAXE))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Loss staircases with predicted levels and exits; below, the time of deep nets against their start."""
    figure, (top, bottom) = maker.axes(2, height=8.0)
    levels = theory.linear_networks.plateau_losses(config.singular_values)
    for level in levels[:-1]:
        top.axhline(level, color="#8a94a0", linewidth=0.8, linestyle=":")
    for index, row in enumerate(row for row in rows if row["kind"] == "plateaus"):
        middle = 0.5 * (levels[:-1] + levels[1:])
        top.plot(row["curve_steps"], row["curve"], color=maker.color(index), linewidth=1.2)
        maker.measured(top, row["predicted"], middle, color=index, marker="|", markersize=16, markeredgewidth=2.0,
                       markeredgecolor=maker.color(index))  # fmt: skip
        if row["method"] != "Nesterov":
            maker.label(top, row["predicted"][-1], middle[-1], row["method"], color=index)
        else:
            top.text(
                row["predicted"][0] * 0.95, middle[0], "Nesterov ", ha="right", va="center", color=maker.color(index)
            )
    top.set(xscale="log", yscale="log", xlim=(20, None), ylim=(0.1 * levels[-2], None), xlabel="step", ylabel="loss")
    top.set_title("Plateaus at saddles (dotted), left when predicted (bars)")
    for index, depth in enumerate(config.depths):
        starts = np.geomspace(config.starts[0], config.starts[-1], 100)
        maker.predicted(bottom, starts, theory.linear_networks.deep_learning_time(depth, starts, 1.0, 0.5), color=index)
        ours = [row for row in rows if row["kind"] == "deep" and row["depth"] == depth]
        maker.measured(bottom, [row["start"] for row in ours], [row["time"] for row in ours], color=index,
                       label=f"{depth} layers")  # fmt: skip
    bottom.set(xscale="log", yscale="log", xlabel="strength at the start", ylabel="time until half is learned")
    bottom.invert_xaxis()
    bottom.set_title("Depth turns the logarithm of the start into a power")
    return figure


def caption(config: Config, rows: Rows) -> str:
    ours = rows.where(kind="plateaus")
    worst = max(float(np.abs(row["times"] / row["predicted"] - 1).max()) for row in ours)
    gains = ours[0]["times"] / ours[1]["times"]
    return (
        f"All {sum(len(row['times']) for row in ours)} exit times lie within {worst:.1%} of their law; heavy ball"
        f" shortens the first plateau {gains[0]:.1f} times and the last {gains[-1]:.1f} times."
    )


def _plateaus(config: Config, problem: Any, method: str, checkpoints: training.Checkpoints) -> dict[str, Any]:
    """Exit times, levels and the curve of one method, from random starts."""
    values, rate = np.asarray(config.singular_values), config.learning_rate
    rho = 0.0 if method == "descent" else config.rho
    momentum = rho, METHODS[method] * rho
    rule = rules.nesterov if method == "Nesterov" else rules.heavy_ball  # with rho = 0 it is descent, in one program
    predicted = theory.linear_networks.plateau_exit_steps(values, config.scale, rate, *momentum)
    probes = [training.loss(), training.gradient_norm(), training.metric("components", on="training")]
    trace = training.run(
        problem, rule, {"learning_rate": rate, "rho": rho}, steps=int(1.15 * predicted[-1]) + 20,
        every=config.every, seeds=np.arange(config.num_seeds), probes=probes, folder=checkpoints.of(method),
    )  # fmt: skip
    levels = theory.linear_networks.plateau_losses(values)
    exits = np.array([[_crossing(trace.steps, loss, level) for level in 0.5 * (levels[:-1] + levels[1:])]
                      for loss in trace["loss"]])  # fmt: skip
    alone = _alone(config, trace["components"][:, 0], *momentum)
    shown = np.unique(np.searchsorted(trace.steps, np.geomspace(1, trace.steps[-1], 600)))
    return {
        "kind": "plateaus", "method": method, "learning_rate": rate, "rho": rho, "effective_rate": rate / (1 - rho),
        "times": exits.mean(0), "predicted": predicted, "alone": alone.mean(0),
        "levels": _levels(trace.steps, trace["loss"][0], trace["gradient_norm"][0], exits[0]),
        "curve_steps": trace.steps[shown], "curve": trace["loss"][0, shown],
    }  # fmt: skip


def _deep(config: Config, depth: int, start: float) -> dict[str, Any]:
    """Time of a deep net of one mode until half of it is learned, from an aligned and balanced start."""
    target = objectives.planted_matrix([1.0], 2)
    problem = objectives.linear_network(target, depth=depth, width=1, start="balanced", scale=start ** (1 / depth))
    predicted, rate = float(theory.linear_networks.deep_learning_time(depth, start)), config.deep_rate
    trace = training.run(problem, rules.sgd, {"learning_rate": rate}, steps=int(1.1 * predicted / rate) + 10,
                         probes=[training.metric("strengths", on="training")])  # fmt: skip
    return {
        "kind": "deep", "depth": depth, "start": start, "learning_rate": rate, "effective_rate": rate,
        "time": rate * _crossing(trace.steps, -trace["strengths"][0, :, 0], -0.5), "predicted": predicted,
    }  # fmt: skip


def _alone(config: Config, components: np.ndarray, rho: float, lookahead: float) -> np.ndarray:
    """Exit times [seeds, r] of each mode by itself: equal weights w in both layers, the target s, the same rule."""
    values = np.asarray(config.singular_values)
    weight, velocity = np.sqrt(0.5) * np.asarray(components, np.float64), np.zeros(components.shape)
    times, middle = np.zeros(components.shape), 0.25 * values**2
    after = np.broadcast_to(0.5 * values**2, times.shape)
    while (after > middle).any():
        push = -config.learning_rate * (weight**2 - values) * weight
        velocity = rho * velocity + push
        weight = weight + (lookahead * velocity + push if lookahead else velocity)
        before, after = after, np.where(after > middle, 0.5 * (values - weight**2) ** 2, after)
        share = (before - middle) / np.where(before > after, before - after, 1)
        times += np.where(before > middle, np.minimum(share, 1), 0)
    return times


def _crossing(steps: np.ndarray, curve: np.ndarray, level: float) -> float:
    """The real step at which a falling curve first crosses a level; NaN when it does not: the verdicts fail."""
    below = curve < level
    record = int(below.argmax())
    if record == 0:
        return math.nan
    share = (curve[record - 1] - level) / (curve[record - 1] - curve[record])
    return float(steps[record - 1] + share * (steps[record] - steps[record - 1]))


def _levels(steps: np.ndarray, loss: np.ndarray, gradient: np.ndarray, exits: np.ndarray) -> np.ndarray:
    """Losses where the gradient is least between two exits."""
    levels = []
    for first, last in itertools.pairwise(exits):
        between = np.flatnonzero((steps > first) & (steps < last))
        levels.append(loss[between[gradient[between].argmin()]] if len(between) else math.nan)
    return np.array(levels)


def _components(target: objectives.PlantedMatrix, params: tuple[jax.Array, jax.Array], batch: None) -> jax.Array:
    """Length of the growing part (W_1 v + W_2' u) / sqrt(2) of each triple, [r]."""
    del batch
    growing = params[0] @ target.right + params[1].T @ target.left
    return jnp.sqrt(0.5 * jnp.sum(jnp.square(growing), axis=0))


if __name__ == "__main__":
    raise SystemExit(main())
