"""Can saddles cost a time that is exponential in the dimension, and which rules are spared?

What the lecture says: in 100 million dimensions saddles are the trouble, "the function will get stuck at the saddle
point", and velocity carries a run through.

What is true: one strict saddle costs ln d (`escape_time`), and from almost every start descent leaves it. But a chain
of d saddles can cost exp(d): while descent leaves one, it shrinks the coordinate along which it is to leave the next,
so that exit times grow by 1 + (decay rate at 2 L) / ln(growth at -2 gamma). The same law holds with momentum. At usual
rates heavy ball shrinks no faster than sqrt(rho) a step and grows faster: 1.115 instead of 2.289 a saddle, still
exponential. At small rates, near critical damping, it is worse than descent. Kicks make the time linear, at a pace
without fitted constants, and steps along negative curvature sooner still. So does Adam, without being meant to: a
waiting coordinate shrinks by sqrt(b1) a step, while the memory of its gradients fades by sqrt(b2), so that its own
effective rate rises; at the edge of stability 2 (1 + b1) / (1 - b1) = 38 it bursts, and is no longer small. (Up to
about 35 saddles Adam's steps a saddle still rise, from 34 to 140; then they fall.) In a basis without axes Adam is
spared as well. And in floating point "stuck" is literally true: below rounding, descent stands still for ever.

Exit times are the first steps at which all coordinates up to k lie beyond 2 tau. The ratio is that of sums over runs of
T_n - T_{m+1} and T_{n-1} - T_m, which drops the constant of the recursion T_{k+1} = ratio T_k + constant.

Source: Du et al. 2017, arXiv 1705.10412, who prove and measure descent and its kicked form; the law with momentum is
`theory.saddle_chains.octopus_ratio`. Not in print as far as we know: heavy ball, Nesterov, Adam and rounding on this
chain.
"""

import math
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import Verdict, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Must, OpenUnit, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most, relative
from jaxopt_lab.theory import saddle_chains as law

DU = "Du et al. 2017, arXiv 1705.10412"
OURS = "this study; no published figure known"
TAU, B1, B2, NUM_PRODUCTS = math.e, 0.9, 0.999, 3
PASSED = training.metric("passed", on="training")
METHODS = ("descent", "heavy ball", "Nesterov", "kicked descent", "Adam", "Adam, turned", "negative curvature")
MOMENTUM = {"descent": (rules.sgd, 0, 0), "heavy ball": (rules.heavy_ball, 1, 0), "Nesterov": (rules.nesterov, 1, 1)}
POWER_OF_TWO = Must("be a power of two", lambda long: long & (long - 1) == 0, why="The turned chain needs it.")
SMALL = Between("(0, 0.5)", name="a rate", why="At 1 / 2 descent is at 0 after one step.")
Pairs = tuple[tuple[float, int], ...]


@configclass
class Config:
    """All that can change a number. L = 1, tau = e, starts uniform in [-1, 1]^d; a count is a number of saddles."""

    descent: tuple[tuple[Positive, int], ...] = ((1.0, 6), (1.5, 5), (2.0, 4))
    """Pairs of L / gamma and count for gradient descent; more saddles underflow before they are left."""
    rate: Annotated[float, SMALL] = 1 / 8
    """Learning rate of descent, times L."""
    heavy_ball: Pairs = ((1 / 8, 24), (1 / 400, 5))
    """Pairs of learning rate, times L, and count for heavy ball, L = gamma from here on."""
    nesterov: Pairs = ((1 / 8, 12),)
    """Pairs of learning rate, times L, and count for Nesterov."""
    rho: OpenUnit = 0.9
    """Momentum."""
    num_seeds: Annotated[int, Whole(2)] = 100
    """Runs of each of the methods above."""
    long: Annotated[int, POWER_OF_TWO] = 64
    """Count of the rules that take linear time, a power of two; 0 leaves out them and the turned chains."""
    long_seeds: Annotated[int, Whole(2)] = 20
    """Runs of each of them."""
    kick: Positive = 0.01
    """Radius of a kick, and the gradient's norm below which one comes, at most every 20 steps."""
    adam_rate: Positive = 0.1
    """Learning rate of Adam."""

    def __post_init__(self) -> None:
        where, few = "exponential_octopus", "A ratio needs the exits of four saddles."
        for count in (self.long or 4, *(count for _, count in self.descent + self.heavy_ball + self.nesterov)):
            require_count(where, "a count", count, minimum=4, why=few)
        for rate, _ in self.heavy_ball + self.nesterov:
            require_between(where, "a rate", rate, 0, 0.5, ends="()", why=SMALL.why)


PRESETS = {
    "quick": Config(),
    "full": Config(heavy_ball=((1 / 8, 32), (1 / 400, 6)), num_seeds=400, long_seeds=100),
    "huge": Config(heavy_ball=((1 / 8, 40), (1 / 400, 6)), num_seeds=2000, long=128, long_seeds=400),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row for each pair of the config, and one for each further method."""
    settings = {
        "descent": [(config.rate, 1 / ratio, count) for ratio, count in config.descent],
        "heavy ball": [(rate, 1.0, count) for rate, count in config.heavy_ball],
        "Nesterov": [(rate, 1.0, count) for rate, count in config.nesterov],
    }
    rows = []
    for method, chosen in settings.items():
        dim = max((count for *_, count in chosen), default=0)  # chains of one length share a compiled program
        rows += [_with_law(config, method, dim, *setting) for setting in chosen]
    if config.long:
        rows += [_kicked(config, method) for method in ("kicked descent", "negative curvature")]
        rows += [_adam(config, "Adam", None), _adam(config, "Adam, turned", "hadamard"), _turned(config)]
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Every ratio against the law, the linear pace of kicks and of Adam, how Adam comes by it, the end by rounding."""
    return [verdict for row in rows for verdict in _of_row(row, row["method"].capitalize())]


def _of_row(row: Row, method: str) -> list[Verdict]:
    found, name = [], "ratio of successive exit times"
    if row["kind"] == "law":
        setting = f"{method}, rate {row['learning_rate']:.3g}, L / gamma = {1 / row['curvature']:g},"
        found.append(relative(f"{setting} multiplies its exit time at each saddle as the law says", name,
                              row["predicted"], row["ratio"], 0.01,
                              reference=DU if row["method"] == "descent" else OURS))  # fmt: skip
        plain = float(law.octopus_ratio(row["learning_rate"], 1.0, row["curvature"]))
        if row["predicted"] > plain:
            found.append(at_least(f"{setting} fares worse than descent", name, plain, row["ratio"], reference=OURS))
    if row["kind"] == "linear":
        found.append(at_most(f"{method} needs linear time: in the second half of the chain saddles take no longer",
                             name, 1.0, row["ratio"], tolerance=0.01, reference=OURS))  # fmt: skip
    if "pace" in row:
        found.append(relative(f"{method} takes as long for a saddle as settling, one kick and the way out",
                              "steps a saddle", row["predicted"], row["pace"], 0.02, reference=DU))  # fmt: skip
    if "decay" in row:
        found += [
            relative("Under Adam a waiting coordinate shrinks by sqrt(b1) a step", "decay rate", -0.5 * math.log(B1),
                     row["decay"], 0.05, reference=OURS),
            at_most("while Adam's own scaling raises its curvature to the edge of stability and not beyond",
                    "rate times scaled curvature, largest median", 2 * (1 + B1) / (1 - B1), row["edge"],
                    reference=OURS),
        ]  # fmt: skip
    if "passed" in row:
        found.append(at_most("In floating point descent stands still where the next coordinate is below rounding",
                             "most saddles that any run passed", row["predicted"], row["passed"],
                             reference=OURS))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Exit times by saddle; below, the ratio against the learning rate."""
    figure, (top, bottom) = maker.axes(2, height=8.0)
    later = np.arange((config.long or 64) - 1)
    for row in rows.where(curvature=1.0, learning_rate=lambda rate: rate >= config.adam_rate):
        color, times, known = METHODS.index(row["method"]), np.asarray(row["times"]), row["kind"] == "law"
        if known:  # the law fixes the ratio, not the start: lines begin at the second saddle
            exact = times[1] + (times[2] - times[1]) * (row["predicted"] ** later - 1) / (row["predicted"] - 1)
            shown = exact < 2e5
            maker.predicted(top, 2 + later[shown], exact[shown], color=color, label=row["method"])
        elif "pace" in row:
            maker.predicted(top, 4 + later[:-2], times[3] + row["predicted"] * later[:-2], color=color)
        maker.measured(top, np.arange(1, len(times) + 1), times, color=color, label="" if known else row["method"])
    top.set(yscale="log", xlim=(0, 1.05 * (config.long or 64)), xlabel="saddle", ylabel="steps until it is left",
            title="A chain of saddles: exponential, or linear")  # fmt: skip
    rates = np.geomspace(5e-4, 0.49, 300)
    for color, (name, (_, rho, lookahead)) in enumerate(MOMENTUM.items()):
        exact = law.octopus_ratio(rates, 1.0, 1.0, rho * config.rho, lookahead * config.rho)
        maker.predicted(bottom, rates, exact, color=color)
        ours = rows.where(method=name, curvature=1.0)
        maker.measured(bottom, ours["learning_rate"], ours["ratio"], color=color)
        maker.label_end(bottom, rates[exact < 4.3], exact[exact < 4.3], name, color=color)
    bottom.set(xscale="log", ylim=(1, 4.5), xlabel="learning rate times L", ylabel="ratio of exit times",
               title=f"Momentum {config.rho:g} helps at large steps, harms at small ones")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    ratios = {row["method"]: row["ratio"] for row in reversed(rows.having("ratio"))}
    parts = "; ".join(f"{name} {ratio:.3g}" for name, ratio in reversed(ratios.items()))
    return f"The next saddle of the chain takes so many times as long as the last: {parts}."


def _with_law(config: Config, method: str, dim: int, rate: float, curvature: float, count: int) -> Row:
    """Exit times from the first `count` of `dim` saddles, for a rule for which the law holds."""
    rule, rho, lookahead = MOMENTUM[method]
    known = rate, 1.0, curvature, rho * config.rho, lookahead * config.rho
    hyper = {"learning_rate": rate} | ({"rho": config.rho} if rho else {})
    steps = int(4 * law.octopus_exit_times(count, *known)[-1])  # runs scatter, and all must arrive
    times, _ = _exits(config.num_seeds, objectives.octopus(dim, curvature=curvature), rule, hyper, steps)
    return _row("law", method, times[:, :count], rate, rho * config.rho) | {
        "curvature": curvature, "predicted": float(law.octopus_ratio(*known)),
    }  # fmt: skip


def _kicked(config: Config, method: str) -> Row:
    """Exit times with kicks, random or along a search's direction, and the steps of one saddle alone."""
    aimed, kick = method == "negative curvature", config.kick

    def rule(learning_rate, seed):
        inner = rules.sgd(learning_rate)
        if aimed:  # few products are enough: a saddle has two different eigenvalues
            return rules.negative_curvature_step(inner, kick, 0.1, kick, 20, NUM_PRODUCTS, seed)
        return rules.perturbed(inner, kick, kick, 20, seed)

    hyper = {"learning_rate": config.rate, "seed": np.arange(config.long_seeds)}
    pace = float(law.octopus_perturbed_steps(config.rate, config.long, kick, kick, negative_curvature=aimed))
    times, _ = _exits(config.long_seeds, objectives.octopus(config.long), rule, hyper, int(2 * pace * config.long))
    late = (times[:, -1] - times[:, 3]).mean() / (config.long - 4)
    return _row("linear", method, times, config.rate, 0.0) | {"curvature": 1.0, "predicted": pace, "pace": float(late)}


def _adam(config: Config, method: str, rotation: str | None) -> Row:
    """Exit times of Adam, and the last coordinate while it waits: its decay, and its curvature as Adam scales it."""

    def rule(learning_rate):
        return optax.adam(learning_rate, b1=B1, b2=B2)

    def last(seen):
        tiny, second = jnp.finfo(seen.params.dtype).tiny, seen.state[0].nu[-1]
        mean = second / jnp.maximum(1 - B2 ** seen.state[0].count.astype(second.dtype), tiny)
        curvature = 2 * config.adam_rate / (jnp.sqrt(mean) + 1e-8)  # with the epsilon of `optax.adam`
        return jnp.stack([jnp.log(jnp.maximum(jnp.abs(seen.params[-1]), tiny)), curvature])

    problem = objectives.octopus(config.long, rotation=rotation)
    hyper, steps = {"learning_rate": config.adam_rate}, int(config.long * 4 * TAU / config.adam_rate)  # to walk across
    times, trace = _exits(config.long_seeds, problem, rule, hyper, steps, training.Probe("last", last))
    row = _row("linear", method, times, config.adam_rate, 0.0) | {"curvature": 1.0}
    if rotation is None:
        size, curvature = np.median(trace["last"], axis=0).T
        waiting = (trace.steps > 0) & (trace.steps < times[:, -2].min())
        row["decay"] = float((size[200] - size[1200]) / 1000)  # behind the start, and well before the edge
        row["edge"] = float(curvature[waiting].max())
    return row


def _turned(config: Config) -> Row:
    """Saddles that descent passes in another basis, in the time in which the law would let it pass seven of eight."""
    means, problem = law.octopus_exit_times(8, config.rate), objectives.octopus(8, rotation="hadamard")
    times, _ = _exits(config.long_seeds, problem, rules.sgd, {"learning_rate": config.rate}, int(means[6]))
    # A coordinate that shrinks for longer than this is below the last digit; one saddle more for quick runs.
    memory = math.log(np.finfo(times.dtype).eps) / math.log1p(-2 * config.rate)
    return {"kind": "stopped", "method": "descent, turned", "learning_rate": config.rate,
            "passed": int(np.isfinite(times).sum(1).max()), "predicted": 2 + int((means < memory).sum())}  # fmt: skip


def _exits(num_seeds: int, problem: Any, rule: Any, hyper: Row, steps: int, *probes: training.Probe) -> Any:
    """First steps [runs, d] at which so many saddles are passed, infinity where they are not; and the trace."""
    trace = training.run(problem, rule, hyper, steps=steps, seeds=np.arange(num_seeds), probes=[PASSED, *probes])
    most, dim = np.maximum.accumulate(trace["passed"], axis=1), problem.truth.eigenvalues.shape[0]
    exits = [np.where(most[:, -1] >= k, (most >= k).argmax(1), np.inf) for k in range(1, dim + 1)]
    return np.stack(exits, axis=1), trace


def _row(kind: str, method: str, times: np.ndarray, rate: float, rho: float) -> Row:
    """The ratio of sums of increments over runs, its standard error, and the mean exit times."""
    if not np.isfinite(times).all():  # a run that has not passed the chain: the verdicts fail
        times = np.full_like(times, np.nan)
    skip = (times.shape[1] - 2) // 2
    ratio = measures.ratio_of_means(times[:, -1] - times[:, skip + 1], times[:, -2] - times[:, skip])
    return {"kind": kind, "method": method, "learning_rate": rate, "rho": rho, "times": times.mean(0),
            "ratio": ratio.value, "ratio_error": ratio.standard_error}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
