"""Can saddles cost a time that is exponential in the dimension, and which rules are spared?

What the lecture says: in 100 million dimensions saddles are the trouble, "the function will get stuck at the saddle
point", and velocity carries a run through.

What is true: one strict saddle costs ln d (`escape_time`), and from almost every start descent leaves it. But a chain
of d saddles can cost exp(d): while descent leaves one, it shrinks the coordinate along which it is to leave the next,
so that exit times grow by 1 + (decay rate at 2 L) / ln(growth at -2 gamma). The same law holds with momentum. At usual
rates heavy ball shrinks no faster than sqrt(rho) a step and grows faster: 1.115 instead of 2.289 a saddle, still
exponential. At small rates, near critical damping, it is worse than descent. Kicks make the time linear, at a pace
without fitted constants. So does Adam, without being meant to: a waiting coordinate shrinks by sqrt(b1) a step, while
the memory of its gradients fades by sqrt(b2), so that its own effective rate rises; at the edge of stability
2 (1 + b1) / (1 - b1) = 38 it bursts, and is no longer small. In a basis without axes Adam is spared as well. And in
floating point "stuck" is literally true: where the next coordinate is below rounding, descent stands still for ever.

Exit times are the first steps at which all coordinates up to k lie beyond 2 tau. The ratio is that of sums over runs of
T_n - T_{m+1} and T_{n-1} - T_m, which drops the constant of the recursion T_{k+1} = ratio T_k + constant.

Source: Du et al. 2017, arXiv 1705.10412, who prove and measure descent and its kicked form; the law with momentum is
`theory.octopus_ratio`. Not in print as far as we know: heavy ball, Nesterov, Adam and rounding on this chain.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail, judge, require_between, require_count, require_positive
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DU = "Du et al. 2017, arXiv 1705.10412"
OURS = "this study; no published figure known"
TAU = math.e
B1, B2 = 0.9, 0.999
PASSED = training.metric("passed", on="training")
METHODS = ("descent", "heavy ball", "Nesterov", "kicked descent", "Adam", "Adam, turned")


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. L = 1, tau = e, starts uniform in [-1, 1]^d; a count is a number of saddles."""

    descent: tuple[tuple[float, int], ...] = ((1.0, 6), (1.5, 5), (2.0, 4))
    """Pairs of L / gamma and count for gradient descent; more saddles underflow before they are left."""
    rate: float = 1 / 8
    """Learning rate of all but Adam, times L."""
    slow_rate: float = 1 / 400
    """A second, small learning rate for heavy ball, times L."""
    slow: int = 5
    """Count of heavy ball at the small rate."""
    heavy_ball: int = 24
    """Count of heavy ball."""
    nesterov: int = 12
    """Count of Nesterov; 0 leaves it out."""
    long: int = 64
    """Count of the rules that take linear time, a power of two; 0 leaves out them and the turned chains."""
    adam_seeds: int = 20
    """Runs of Adam."""
    rho: float = 0.9
    """Momentum."""
    adam_rate: float = 0.1
    """Learning rate of Adam."""
    kick: float = 0.01
    """Radius of a kick, and the gradient's norm below which one comes, at most every 20 steps."""
    num_seeds: int = 100
    """Runs of each method."""

    def __post_init__(self) -> None:
        where = "exponential_octopus"
        counts = [self.slow, self.heavy_ball, self.nesterov or 4, self.long or 4]
        for ratio, count in self.descent:
            require_positive(where, "L / gamma", ratio)
            counts.append(count)
        if not self.descent or self.slow > self.heavy_ball:
            raise fail(where, "descent must hold a pair, and slow be at most heavy_ball")
        for count in counts:
            require_count(where, "a count", count, minimum=4, why="A ratio needs the exits of four saddles.")
        if self.long & (self.long - 1):
            raise fail(where, f"long must be a power of two, got {self.long}", "The turned chain needs it.")
        require_between(where, "rate", self.rate, 0, 0.5, ends="()", why="At 1 / 2 a coordinate is 0 after one step.")
        require_between(where, "slow_rate", self.slow_rate, 0, 0.5, ends="()")
        require_between(where, "rho", self.rho, 0, 1, ends="()")
        for name in ("adam_rate", "kick"):
            require_positive(where, name, getattr(self, name))
        require_count(where, "num_seeds", self.num_seeds, minimum=2)
        require_count(where, "adam_seeds", self.adam_seeds, minimum=2)


def run(config: Config) -> list[dict[str, Any]]:
    """One row a method, and one each for descent's values of L / gamma and heavy ball's rates."""
    rate, rho, dim = config.rate, config.rho, max(count for _, count in config.descent)
    rows = [
        _with_law(config, "descent", n, rules.sgd, rate, curvature=1 / ratio, dim=dim) for ratio, n in config.descent
    ]
    for small, n in ((rate, config.heavy_ball), (config.slow_rate, config.slow)):
        rows.append(_with_law(config, "heavy ball", n, rules.heavy_ball, small, rho, dim=config.heavy_ball))
    if config.nesterov:
        rows.append(_with_law(config, "Nesterov", config.nesterov, rules.nesterov, rate, rho, rho))
    if config.long:
        rows += [
            _kicked(config),
            _adam(config, "Adam", None),
            _adam(config, "Adam, turned", "hadamard"),
            _turned(config),
        ]
    return rows


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """Every ratio against the law, the linear pace of kicks and of Adam, how Adam comes by it, the end by rounding."""
    ratio, found = "ratio of successive exit times", []
    for row in rows:
        method = row["method"]
        if row["kind"] == "law":
            source = DU if method == "descent" else OURS
            found.append(judge(f"{_named(row)} multiplies its exit time at each saddle as the law says", ratio,
                               row["predicted"], row["ratio"], 0.01, reference=source))  # fmt: skip
        if row["kind"] == "linear":
            found.append(judge(f"{method.capitalize()} passes the chain in linear time: later saddles take no longer",
                               ratio, 1.0, row["ratio"], 0.01, kind="at-most", reference=OURS))  # fmt: skip
        if "pace" in row:
            found.append(judge("Kicked descent takes as long for a saddle as settling, one kick and the way out",
                               "steps a saddle", row["predicted"], row["pace"], 0.03, unit="steps",
                               reference=DU))  # fmt: skip
        if "decay" in row:
            edge = 2 * (1 + B1) / (1 - B1)
            found.append(judge("Under Adam a waiting coordinate shrinks by sqrt(b1) a step", "decay rate",
                               -0.5 * math.log(B1), row["decay"], 0.05, reference=OURS))  # fmt: skip
            found.append(judge("while Adam's own scaling raises its curvature to the edge of stability and not beyond",
                               "rate times scaled curvature, largest median", edge, row["edge"], 0, kind="at-most",
                               reference=OURS))  # fmt: skip
        if "passed" in row:
            found.append(judge("In floating point descent stands still where the next coordinate is below rounding",
                               "most saddles that any run passed", row["predicted"], row["passed"], 0, kind="at-most",
                               reference=OURS))  # fmt: skip
        if method == "heavy ball" and row["learning_rate"] == config.slow_rate:
            descent = float(theory.octopus_ratio(config.slow_rate, 1.0, 1.0))
            found.append(judge("At a small rate momentum is worse on the chain than descent is", "ratio of heavy ball",
                               descent, row["ratio"], 0, kind="at-least", reference=OURS))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Exit times by saddle; below, the ratio against the learning rate."""
    figure, (top, bottom) = maker.axes(2, height=8.0)
    for row in rows:
        if row["kind"] == "stopped" or row["curvature"] != 1 or row["learning_rate"] == config.slow_rate:
            continue
        color, times = METHODS.index(row["method"]), np.asarray(row["times"])
        later = np.arange(config.long - 1)
        if row["kind"] == "law":  # the law fixes the ratio, not the start: lines begin at the second saddle
            law = times[1] + (times[2] - times[1]) * (row["predicted"] ** later - 1) / (row["predicted"] - 1)
            shown = law < 2e5
            maker.predicted(top, 2 + later[shown], law[shown], color=color, label=row["method"])
        elif "pace" in row:
            maker.predicted(top, 4 + later[:-2], times[3] + row["predicted"] * later[:-2], color=color)
        label = "" if row["kind"] == "law" else row["method"]
        maker.measured(top, np.arange(1, len(times) + 1), times, color=color, label=label)
    top.set(yscale="log", xlim=(0, 1.05 * config.long), xlabel="saddle", ylabel="steps until it is left")
    top.set_title("A chain of saddles: exponential, or linear")
    rates = np.geomspace(5e-4, 0.49, 300)
    for name, rho, lookahead in (
        ("descent", 0, 0),
        ("heavy ball", config.rho, 0),
        ("Nesterov", config.rho, config.rho),
    ):
        color = METHODS.index(name)
        law = theory.octopus_ratio(rates, 1.0, 1.0, rho, lookahead)
        maker.predicted(bottom, rates, law, color=color)
        ours = [row for row in rows if row["method"] == name and row["curvature"] == 1]
        maker.measured(bottom, [row["learning_rate"] for row in ours], [row["ratio"] for row in ours], color=color)
        maker.label_end(bottom, rates[law < 4.3], law[law < 4.3], name, color=color)
    bottom.set(xscale="log", ylim=(1, 4.5), xlabel="learning rate times L", ylabel="ratio of exit times")
    bottom.set_title(f"Momentum {config.rho:g} helps at large steps, harms at small ones")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    ratios = {row["method"]: row["ratio"] for row in rows[::-1] if "ratio" in row}
    parts = [f"{name} {ratio:.3g}" for name, ratio in ratios.items()][::-1]
    return f"How much longer the next saddle takes than the one before it: {', '.join(parts)} times."


def _with_law(
    config: Config, method: str, count: int, rule: Any, rate: float, rho: float = 0.0, lookahead: float = 0.0,
    curvature: float = 1.0, dim: int | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Exit times from the first `count` saddles of a rule for which the law holds; equal dims share a program."""
    law = float(theory.octopus_ratio(rate, 1.0, curvature, rho, lookahead))
    steps = int(4 * _mean_times(count, rate, curvature, rho, lookahead)[-1])  # runs scatter, and all must arrive
    hyper = {"learning_rate": rate} | ({"rho": rho} if rho else {})
    times = _exit_times(config, objectives.octopus(dim or count, curvature=curvature), rule, hyper, steps)
    return _row("law", method, times[:, :count], rate, rho) | {"curvature": curvature, "predicted": law}


def _kicked(config: Config) -> dict[str, Any]:
    """Exit times of perturbed descent, and the steps of one saddle alone: settling, a kick, the walk out."""

    def rule(learning_rate, seed):
        return rules.perturbed(rules.sgd(learning_rate), config.kick, config.kick, 20, seed)

    hyper = {"learning_rate": config.rate, "seed": np.arange(config.num_seeds)}
    pace = float(theory.octopus_kicked_pace(config.rate, config.long, config.kick, config.kick))
    problem = objectives.octopus(config.long)
    times = _exit_times(config, problem, rule, hyper, int(2 * pace * config.long))
    row = _row("linear", "kicked descent", times, config.rate, 0.0)
    late = (times[:, -1] - times[:, 3]).mean() / (config.long - 4)
    return row | {"curvature": 1.0, "predicted": pace, "pace": float(late)}


def _adam(config: Config, method: str, rotation: str | None) -> dict[str, Any]:
    """Exit times of Adam, and the last coordinate while it waits: its decay, and its curvature as Adam scales it."""

    def rule(learning_rate):
        return optax.adam(learning_rate, b1=B1, b2=B2)

    def last(seen):
        tiny, second = jnp.finfo(seen.params.dtype).tiny, seen.state[0].nu[-1]
        mean = second / jnp.maximum(1 - B2 ** seen.state[0].count.astype(second.dtype), tiny)
        curvature = 2 * config.adam_rate / (jnp.sqrt(mean) + 1e-8)  # with the epsilon of `optax.adam`
        return jnp.stack([jnp.log(jnp.maximum(jnp.abs(seen.params[-1]), tiny)), curvature])

    problem = objectives.octopus(config.long, rotation=rotation)
    # Time for each saddle to be walked across, 4 tau / learning rate, is more than enough.
    trace = training.run(
        problem, rule, {"learning_rate": config.adam_rate}, steps=int(config.long * 4 * TAU / config.adam_rate),
        seeds=np.arange(config.adam_seeds), probes=[PASSED, training.Probe("last", last)],
    )  # fmt: skip
    times = _exits(trace, config.long)
    row = _row("linear", method, times, config.adam_rate, 0.0) | {"curvature": 1.0}
    if rotation is None:
        size, curvature = np.median(trace["last"], axis=0).T
        waiting = (trace.steps > 0) & (trace.steps < times[:, -2].min())
        row["decay"] = float((size[200] - size[1200]) / 1000)  # behind the start, and well before the edge
        row["edge"] = float(curvature[waiting].max())
    return row


def _turned(config: Config) -> dict[str, Any]:
    """Saddles that descent passes in another basis, in the time in which the law would let it pass seven of eight."""
    means, problem = _mean_times(8, config.rate), objectives.octopus(8, rotation="hadamard")
    times = _exit_times(config, problem, rules.sgd, {"learning_rate": config.rate}, int(means[6]))
    # A coordinate that shrinks for longer than this is below the last digit; one saddle more for quick runs.
    memory = math.log(np.finfo(times.dtype).eps) / math.log1p(-2 * config.rate)
    return {
        "kind": "stopped", "method": "descent, turned", "learning_rate": config.rate, "effective_rate": config.rate,
        "passed": int(np.isfinite(times).sum(1).max()), "predicted": 2 + int((means < memory).sum()),
    }  # fmt: skip


def _mean_times(
    count: int, rate: float, curvature: float = 1.0, rho: float = 0.0, lookahead: float = 0.0
) -> np.ndarray:
    """About when each saddle is left: the law, from the growth of |x_1| to 2 tau with E ln(1 / |x_1|) = 1."""
    law = theory.octopus_ratio(rate, 1.0, curvature, rho, lookahead)
    first = (math.log(2 * TAU) + 1) / np.log(theory.growth_factor(2 * rate * curvature, rho, lookahead))
    return first * (law ** np.arange(1, count + 1) - 1) / (law - 1)


def _exit_times(config: Config, problem: Any, rule: Any, hyper: dict[str, Any], steps: int) -> np.ndarray:
    trace = training.run(problem, rule, hyper, steps=steps, seeds=np.arange(config.num_seeds), probes=[PASSED])
    return _exits(trace, problem.truth.eigenvalues.shape[0])


def _exits(trace: training.Trace, dim: int) -> np.ndarray:
    """First steps [runs, d] at which so many saddles are passed; infinity where they are not."""
    most = np.maximum.accumulate(trace["passed"], axis=1)
    return np.stack([np.where(most[:, -1] >= k, (most >= k).argmax(1), np.inf) for k in range(1, dim + 1)], axis=1)


def _row(kind: str, method: str, times: np.ndarray, rate: float, rho: float) -> dict[str, Any]:
    """The ratio of sums of increments over runs, its standard error, and the mean exit times."""
    if not np.isfinite(times).all():  # a run that has not passed the chain: the verdicts fail
        times = np.full_like(times, np.nan)
    skip = (times.shape[1] - 2) // 2
    later, earlier = times[:, -1] - times[:, skip + 1], times[:, -2] - times[:, skip]
    ratio = later.mean() / earlier.mean()
    error = np.std(later - ratio * earlier, ddof=1) / math.sqrt(len(times)) / earlier.mean()
    return {
        "kind": kind, "method": method, "learning_rate": rate, "rho": rho, "effective_rate": rate / (1 - rho),
        "times": times.mean(0), "ratio": float(ratio), "ratio_error": float(error),
    }  # fmt: skip


def _named(row: Any) -> str:
    return f"{row['method'].capitalize()}, rate {row['learning_rate']:.3g}, L / gamma = {1 / row['curvature']:g},"


STUDY = Study(
    name="exponential_octopus",
    question="Can saddles cost a time that is exponential in the dimension, and which rules are spared?",
    lecture='Saddles are the trouble in high dimension: a run "will get stuck"; velocity carries it through.',
    truth=(
        "A chain of saddles multiplies descent's time at each by 1 + ln(1 / (1 - 2 lr L)) / ln(1 + 2 lr gamma);"
        " momentum lowers the factor or raises it; kicks and Adam make the time linear."
    ),
    reference=DU,
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(num_seeds=400, adam_seeds=100, heavy_ball=32, nesterov=14),
        "huge": Config(num_seeds=2000, adam_seeds=400, heavy_ball=48, nesterov=16, long=128),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
