"""Are local minima rare enough in a network to be forgotten?

What the lecture says: in high dimension it is "more about saddle points and less about local minima", since at a
minimum "every one" of the directions has to lead up.

What is true: not always. A student of k ReLU neurons that learns k orthonormal ones has minima that are not global, and
descent from random weights ends in them in a third of all runs at k = 10, more often the larger k is. What makes them
rare is not the dimension but width to spare: one more neuron than needed, and hardly any run ends there. So advice that
"it must be a saddle" is wrong a third of the time for one of these networks, and right for the other.

A run counts as stuck when it has come to rest (|gradient| < 1e-4) with a loss above 0.003. Some runs pass saddles with
such losses, so that one cut short looks stuck; those still moving are counted apart. A sample of the stuck ends is
followed by Newton steps to the critical point and looked at there: gradient, and all eigenvalues of the Hessian. Shares
come with exact binomial intervals (Clopper and Pearson 1934); the error of the paper's own shares is left out.

Source: Safran and Shamir 2018, arXiv 1712.08968, for the minima and the shares.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import curvature, objectives, rules, training
from jaxopt_lab.core import Verdict, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, NotEmpty, OpenUnit, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_most, within

SAFRAN = "Safran and Shamir 2018, arXiv 1712.08968"
LECTURE = "CS231n 2017, lecture 7"
PUBLISHED = {(6, 6): 0.003, (8, 8): 0.126, (10, 10): 0.346, (11, 10): 0.001}  # (students, teachers) to share of runs
STUCK, REST = 3e-3, 1e-4  # loss above which, and gradient below which, a run counts as stuck; bad minima have .01
FLAT = 1e-9  # eigenvalues above -FLAT are not negative, in float64


@configclass
class Config:
    """All that can change a number. Heavy ball on the exact population loss from weights N(0, 1 / k)."""

    networks: Annotated[tuple[tuple[int, int], ...], Whole(2), NotEmpty("pair (students, teachers)")] = (
        (6, 6), (8, 8), (10, 10), (11, 10),
    )  # fmt: skip
    """Neurons of the student and of the teacher, the student's at least as many."""
    num_runs: Annotated[int, Whole(2)] = 100
    """Runs from different initial weights for each of them, a count."""
    learning_rate: Positive = 0.02
    """In units of 1 / curvature."""
    rho: Annotated[float, Between("[0, 1)")] = 0.9
    """Momentum, in [0, 1)."""
    steps: Count = 4_000
    """Of each run."""
    num_checked: Count = 6
    """Stuck ends of each network whose gradient and Hessian are looked at, a count."""
    level: OpenUnit = 0.99
    """Confidence level of the intervals."""
    seed: int = 0
    """Seeds the initial weights."""

    def __post_init__(self) -> None:
        narrow = "A narrower student cannot learn its teacher."
        for width, teachers in self.networks:
            require_count("bad_minima_exist", "networks", width, teachers, narrow)


LARGER = ((6, 6), (8, 8), (10, 10), (11, 10), (15, 15), (16, 15), (20, 20), (21, 20))
PRESETS = {
    "quick": Config(),
    "full": Config(num_runs=1_000, num_checked=20),
    "huge": Config(networks=LARGER, num_runs=10_000, num_checked=20),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a network, with the final losses of its runs, and one a stuck end that was looked at."""
    return [row for width, teachers in config.networks for row in _network(config, width, teachers)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Shares against the paper's, one more neuron, and whether stuck ends are minima."""
    shares, checks = rows.where(kind="network"), rows.where(kind="end")
    near = [(row["loss"] > STUCK / 3) & ((row["loss"] < 3 * STUCK) | (row["slope"] > REST)) for row in shares]
    minima = [row["outcome"] == "accepted" and row["smallest"] >= -FLAT and row["loss"] > STUCK for row in checks]
    pairs = [(wide, narrow) for wide in shares for narrow in shares
             if narrow["width"] == narrow["teachers"] == wide["teachers"] < wide["width"]]  # fmt: skip
    return [
        *(_as_published(config, row, published) for row in shares if (published := _published(row)) is not None),
        *(at_most(f"{wide['width'] - wide['teachers']} neuron more than the {wide['teachers']} needed makes bad minima"
                  " at least five times rarer", "share of runs", narrow["share"] / 5, wide["share"], reference=SAFRAN)
          for wide, narrow in pairs),
        at_most("A run either learns its teacher or is stuck",
                f"share of runs that are still moving, or end within a factor 3 of the loss {STUCK:g}", 0.01,
                float(np.mean(near)), reference=SAFRAN),
        absolute("Runs that are stuck are stuck in minima: no gradient, no direction down",
                 f"share of {len(minima)} stuck ends that were looked at", 1.0,
                 float(np.mean(minima)) if minima else np.nan, reference=LECTURE),
    ]  # fmt: skip


def _as_published(config: Config, row: Row, published: float) -> Verdict:
    room = row["high"] - row["share"] if published > row["share"] else row["share"] - row["low"]
    return within(f"{_name(row)}: as many runs end in a bad minimum as published",
                  f"share of {config.num_runs} runs, {config.level:.0%} interval {row['low']:.3f} to {row['high']:.3f}",
                  published, row["share"], None, beyond=room, reference=SAFRAN)  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The share of stuck runs with its interval beside the published one; below, all final losses."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    shares = rows.where(kind="network")
    for place, row in enumerate(shares):
        told = ("", "") if place else ("published", f"{config.num_runs} runs, {config.level:.0%} interval")
        if (published := _published(row)) is not None:
            top.plot([place - 0.3, place + 0.3], [published] * 2, color=maker.color(0), label=told[0])
        spread = [[row["share"] - row["low"]], [row["high"] - row["share"]]]
        top.errorbar([place], [row["share"]], yerr=spread, fmt="o", color=maker.color(1), label=told[1])
        ordered = np.sort(np.maximum(row["loss"], 1e-14))[::-1]
        bottom.plot(np.arange(1, len(ordered) + 1) / len(ordered), ordered, color=maker.color(place + 1),
                    label=_name(row))  # fmt: skip
    top.set_xticks(range(len(shares)), [f"{row['width']} for {row['teachers']}" for row in shares])
    worst = max(shares, key=lambda row: row["share"])
    top.set(xlim=(-0.5, len(shares) - 0.5), ylim=(-0.01, None), ylabel="share of runs that are stuck",
            xlabel="neurons of the student for those of the teacher",
            title=f"{_name(worst)}: {worst['share']:.0%} of all runs end in a bad minimum")  # fmt: skip
    top.legend(loc="upper left")
    bottom.axhline(STUCK, color="#8a94a0", linestyle=":")
    bottom.text(0.99, 1.4 * STUCK, "above: stuck", ha="right", va="bottom")
    bottom.set(yscale="log", ylim=(3e-15, 1.0), xlabel="share of runs", ylabel="at least this loss after the last step",
               title="A run either learns its teacher or stays far above")  # fmt: skip
    bottom.legend(loc="upper right", bbox_to_anchor=(1.0, 0.81))
    return figure


def caption(config: Config, rows: Rows) -> str:
    checks = rows.where(kind="end")
    lowest = min((row["smallest"] for row in checks), default=np.nan)
    parts = [f"{row['share']:.1%} ({row['low']:.1%} to {row['high']:.1%}) of runs of {_name(row)}"
             for row in rows.where(kind="network")]  # fmt: skip
    return (
        f"Stuck in a bad minimum end {', '.join(parts)}; at {len(checks)} of these ends the gradient vanishes and the"
        f" smallest eigenvalue of the Hessian is {lowest:.1e} or more."
    )


def _network(config: Config, width: int, teachers: int) -> list[Row]:
    """The runs of one network, and a look at some of its stuck ends."""
    problem, known = objectives.student_teacher(width, teachers), {"width": width, "teachers": teachers}
    trace = training.run(
        problem, rules.heavy_ball, {"learning_rate": config.learning_rate, "rho": config.rho}, steps=config.steps,
        every=config.steps, seeds=config.seed + np.arange(config.num_runs),
        probes=[training.loss(), training.gradient_norm()],
    )  # fmt: skip
    loss, slope = trace["loss"][:, -1], trace["gradient_norm"][:, -1]
    stuck = np.flatnonzero((loss > STUCK) & (slope < REST))
    low, high = measures.share_interval(len(stuck), config.num_runs, level=config.level, exact=True)
    rows: list[Row] = [{
        "kind": "network", **known, "learning_rate": config.learning_rate, "rho": config.rho, "loss": loss,
        "slope": slope, "share": len(stuck) / config.num_runs, "low": low, "high": high,
    }]  # fmt: skip
    if not len(stuck):
        return rows
    places = stuck[: config.num_checked]
    ends = curvature.find_critical_points(problem, np.asarray(trace.params)[places], iterations=30)
    for place, end in zip(places, ends, strict=True):
        point = curvature.examine_point(problem, end)
        rows.append({
            "kind": "end", **known, "run": int(place), "run_loss": float(loss[place]), "loss": point.loss,
            "gradient_norm": point.gradient_norm, "smallest": float(point.eigenvalues[0]), "outcome": point.outcome,
        })  # fmt: skip
    return rows


def _name(row: Row) -> str:
    return f"{row['width']} neurons for {row['teachers']}"


def _published(row: Row) -> float | None:
    return PUBLISHED.get((row["width"], row["teachers"]))


if __name__ == "__main__":
    raise SystemExit(main())
