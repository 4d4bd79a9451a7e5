"""How many steps does a condition number cost, and what does momentum make of it?

The lecture: with a bad condition number plain descent makes "very slow progress along the horizontal dimension"; a rate ten
times too low should work in theory, but "one-day training becomes 100 days"; momentum helps.

What is true: on a quadratic with eigenvalues in [mu, L] and kappa = L / mu the error shrinks per step by
    gradient descent (kappa - 1) / (kappa + 1),   Nesterov 1 - 1 / sqrt(kappa),   triple momentum 1 - 1 / sqrt(kappa),
    heavy ball (sqrt(kappa) - 1) / (sqrt(kappa) + 1),   Chebyshev 1 / T_n after n steps: the best possible,
so descent pays kappa steps and momentum sqrt(kappa); a rate ten times lower costs ten times the steps, exactly
ln(eps) / ln(1 - lr mu). Whole loss curves are sums over eigenvalues of known polynomials, with nothing fitted.

Sources: CS231n 2017, lecture 7; Polyak 1964; Golub and Varga 1961; Nesterov 2004, section 2.2; Lessard, Recht and Packard
2016; Van Scoy, Freeman and Lynch 2018.
"""

import dataclasses
import functools
import math
import resource
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, judge, require_count, require_positive
from jaxopt_lab.studies import Study, main

METHODS = ("gradient descent", "heavy ball", "Nesterov", "triple momentum", "Chebyshev")


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number."""

    kappas: tuple[float, ...] = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    """Condition numbers L / mu, with L = 1."""
    dim: int = 64
    """Number of parameters d; eigenvalues are log-uniform."""
    accuracy: float = 1e-6
    """Factor by which the distance shall shrink."""
    max_steps: int = 60_000
    """No run takes more steps than this, however slow it is."""
    num_records: int = 400
    """Records along each run."""
    methods: tuple[str, ...] = METHODS
    """Which methods run."""
    slower_rates: tuple[float, ...] = (0.1, 0.01)
    """Factors on the best learning rate of gradient descent, for the price of a timid rate."""
    slower_kappa: float = 100.0
    """Condition number at which that price is measured."""
    dtype: str = "float64"
    """Floating type of everything."""

    def __post_init__(self) -> None:
        require_count("convergence_rates", "dim", self.dim, 2)
        require_count("convergence_rates", "max_steps", self.max_steps, 4)
        require_count("convergence_rates", "num_records", self.num_records, 4)
        for factor in self.slower_rates:
            require_positive("convergence_rates", "each of slower_rates", factor)


def run(config: Config) -> list[dict[str, Any]]:
    """One row for each method and condition number, then one for each timid rate."""
    rows = [_measure(config, method, kappa) for kappa in config.kappas for method in config.methods]
    if config.dim <= _LARGE:
        rows += [_timid(config, factor) for factor in (1.0, *config.slower_rates)]
    return rows


def judge_rows(config: Config, rows: list[dict[str, Any]]) -> list[Verdict]:
    """Contraction, whole curve, growth of the steps with kappa, price of a timid rate."""
    verdicts = []
    main_rows = [row for row in rows if row["kind"] == "rate"]
    for method in config.methods:
        mine = [row for row in main_rows if row["method"] == method]
        verdicts += _contraction(config, method, mine) + _curves(config, method, mine) + _growth(config, method, mine)
    timid = [row for row in rows if row["kind"] == "timid"]
    for row in timid[1:]:
        verdicts.append(
            judge(
                f"A learning rate {1 / row['factor']:g} times too low costs that many times the steps (C24)",
                f"steps to {config.accuracy:g} at kappa {config.slower_kappa:g}",
                row["predicted_steps"],
                row["steps"],
                1.0,  # steps are whole numbers
                kind="absolute",
                unit="steps",
                reference="ln(eps) / ln(1 - lr mu)",
            )
        )
    return verdicts


def draw(config: Config, rows: list[dict[str, Any]], maker: Any) -> Any:
    """Steps to the accuracy against kappa; below, the loss curves of one kappa."""
    main_rows = [row for row in rows if row["kind"] == "rate"]
    several = len(config.kappas) > 1
    figure, axes = maker.axes(2 if several else 1, 1, height=7.4 if several else 4.4)
    lower = axes[1] if several else axes
    if several:
        for color, method in enumerate(config.methods):
            mine = [row for row in main_rows if row["method"] == method]
            kappas = [row["kappa"] for row in mine]
            maker.predicted(axes[0], kappas, [row["predicted_steps"] for row in mine], color=color, label=method)
            maker.measured(axes[0], kappas, [row["extrapolated_steps"] for row in mine], color=color)
        axes[0].set(
            xscale="log", yscale="log", xlabel="condition number", ylabel=f"steps until the error is {config.accuracy:g}"
        )
    shown = min(config.kappas, key=lambda kappa: abs(math.log(kappa / 1e4)))
    for color, method in enumerate(config.methods):
        row = next(row for row in main_rows if row["method"] == method and row["kappa"] == shown)
        start, floor = row["exact_loss"][0], 1e-13 if config.dtype == "float64" else 1e-8
        until = (row["time"] <= 2500) & (row["exact_loss"] > floor * start)
        time = row["time"][until]
        maker.predicted(lower, time, row["exact_loss"][until] / start, color=color, label=method)
        some = slice(None, None, max(1, until.sum() // 25))
        maker.measured(lower, time[some], (row["loss"][until] / start)[some], color=color)
    lower.set(yscale="log", xlabel=f"step (condition number {shown:g})", ylabel="loss / loss at the start")
    return figure


def caption(config: Config, rows: list[dict[str, Any]]) -> str:
    """The conclusion."""
    found = {row["method"]: row for row in rows if row["kind"] == "rate" and row["kappa"] == config.kappas[-1]}
    if "gradient descent" not in found or "heavy ball" not in found:
        return "Runs (dots) lie on the closed forms (lines)."
    slow, quick = (found[name]["extrapolated_steps"] for name in ("gradient descent", "heavy ball"))
    return (
        f"Descent pays kappa steps, momentum its square root: at kappa {config.kappas[-1]:g} that is {slow:.3g} against "
        f"{quick:.3g} steps, a factor {slow / quick:.0f}. Dots are runs, lines closed forms with nothing fitted."
    )


def facts(config: Config, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Speed and memory, where the problem is large enough for them to mean something."""
    if config.dim <= _LARGE:
        return {"side by side (K)": 1}
    found: dict[str, Any] = {"side by side (K)": 1, "loop": rows[0]["loop"]}
    found["peak memory, GiB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    bandwidth = training.measure_bandwidth(config.dim)
    found["memory bandwidth of a donated x * a + y, GB/s"] = round(bandwidth / 1e9, 1)
    for row in rows:
        speed = row["steps_per_second"]
        least = (3 if row["method"] == "gradient descent" else 5) * jnp.dtype(config.dtype).itemsize * config.dim
        found[f"{row['method']}, steps per second"] = round(speed, 1)
        found[f"{row['method']}, share of that bandwidth if every step went through memory"] = round(
            speed * least / bandwidth, 2
        )
    return found


_LARGE, _NODES = 2**20, 2**14


def _tuning(method: str, kappa: float) -> theory.Tuning:
    return {
        "gradient descent": theory.optimal_gradient_descent,
        "heavy ball": theory.optimal_heavy_ball,
        "Nesterov": theory.standard_nesterov,
        "triple momentum": theory.optimal_triple_momentum,
        "Chebyshev": theory.optimal_heavy_ball,  # its limit; the exact value of n steps is compared apart
    }[method](1.0, 1 / kappa)


def _rule(method: str, kappa: float) -> tuple[Callable[..., Any], dict[str, float]]:
    tuning = _tuning(method, kappa)
    rate, rho = float(tuning.learning_rate), float(tuning.rho)
    return {
        "gradient descent": (rules.sgd, {"learning_rate": rate}),
        "heavy ball": (rules.heavy_ball, {"learning_rate": rate, "rho": rho}),
        "Nesterov": (rules.nesterov, {"learning_rate": rate, "rho": rho}),
        "triple momentum": (rules.triple_momentum, {"smoothness": 1.0, "strong_convexity": 1 / kappa}),
        "Chebyshev": (rules.chebyshev, {"smoothness": 1.0, "strong_convexity": 1 / kappa}),
    }[method]


def _slowest(seen: training.Observation) -> Any:
    slow = seen.truth.eigenvalues <= seen.truth.strong_convexity
    return jnp.sum(jnp.where(slow, seen.params, 0)), jnp.sum(slow.astype(seen.params.dtype))


def _ratio(sums: tuple[Any, Any]) -> Any:
    return sums[0] / sums[1]


SLOWEST = training.Probe("slowest", _slowest, _ratio, ("truth",), additive=True)


@functools.lru_cache(maxsize=1)
def _problem(dim: int, kappa: float, dtype: str) -> Any:
    del dtype  # part of the key: the arrays are made in the precision that is switched on
    return objectives.quadratic(objectives.spectra.log_uniform(dim, kappa), start=1.0)


def _measure(config: Config, method: str, kappa: float) -> dict[str, Any]:
    problem, tuning = _problem(config.dim, kappa, config.dtype), _tuning(method, kappa)
    rule, hyper = _rule(method, kappa)
    every = max(1, math.ceil(min(1.5 * float(tuning.steps_to(config.accuracy)), config.max_steps) / config.num_records))
    steps = every * min(config.num_records, config.max_steps // every)
    probes = (training.loss(), training.distance(), SLOWEST)
    limits = training.Feasibility(blow_up=math.inf)
    trace = training.run(problem, rule, hyper, steps=steps, every=every, probes=probes, feasibility=limits)
    time, slowest = trace.steps, trace["slowest"][0].astype(np.float64)
    exact_loss, exact_slowest = _exact(config, method, kappa, time)
    if method == "Chebyshev":
        decay = -math.log(abs(slowest[-1])) / steps
        predicted_decay = -math.log(float(theory.smallest_residual(steps, kappa))) / steps
    else:
        decay, predicted_decay = -math.log(_contraction_of(time, slowest)), float(tuning.decay)
    below = np.flatnonzero(trace["distance"][0] <= config.accuracy * trace["distance"][0, 0])
    return {
        "kind": "rate",
        "method": method,
        "kappa": kappa,
        "learning_rate": float(tuning.learning_rate),
        "rho": float(tuning.rho),
        "effective_learning_rate": float(tuning.learning_rate) / (1 - float(tuning.rho)),
        "decay": decay,
        "predicted_decay": predicted_decay,
        "steps": float(time[below[0]]) if below.size else math.inf,
        "predicted_steps": -math.log(config.accuracy) / predicted_decay,
        "extrapolated_steps": -math.log(config.accuracy) / decay,
        "curve_error": float(np.max(np.abs(trace["loss"][0] - exact_loss) / _running_scale(exact_loss))),
        "slowest_error": float(np.max(np.abs(slowest - exact_slowest))),
        "time": time,
        "loss": trace["loss"][0].astype(np.float64),
        "exact_loss": exact_loss,
        "loop": trace.facts["loop"],
        "steps_per_second": trace.facts["steps_per_second"],
    }


def _exact(config: Config, method: str, kappa: float, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The loss and the slowest mode at the recorded steps, from the exact polynomials of the eigenvalues.

    In high dimension the sum over the spectrum is taken as an integral plus half of both ends (Euler and Maclaurin), with
    nodes that lie dense at the ends, where the polynomials change fastest.
    """
    if config.dim <= _LARGE:
        place, weight = np.arange(config.dim) / (config.dim - 1), np.ones(config.dim)
    else:
        angle = (np.arange(_NODES) + 0.5) * np.pi / _NODES
        place = np.concatenate([[0.0], (1 - np.cos(angle)) / 2, [1.0]])
        weight = np.concatenate([[0.5], (config.dim - 1) * np.sin(angle) / 2 * np.pi / _NODES, [0.5]])
    spectrum = kappa ** (place - 1)
    steps = int(time[-1])
    tuning = _tuning(method, kappa)
    # as the run holds them: heavy ball's end modes turn a rounding of 6e-8 in the rate into t^2 times as much
    rates, rhos, ahead = (
        float(np.dtype(config.dtype).type(value)) for value in (tuning.learning_rate, tuning.rho, tuning.lookahead)
    )
    wanted, losses, slowest = set(time.tolist()), [], []
    if method == "Chebyshev":
        schedule = theory.chebyshev_schedule(1.0, 1 / kappa, steps)
        stream = theory.stream_mode_responses(spectrum, schedule.learning_rates, steps, schedule.rhos)
    else:
        stream = theory.stream_mode_responses(spectrum, rates, steps, rhos, ahead)
    before = None
    for step, response in enumerate(stream):
        if step in wanted:
            # Nesterov and triple momentum hold the point where the gradient is taken, x + ahead (x - x_before)
            seen = response if before is None else response + ahead * (response - before)
            losses.append(0.5 * float(np.sum(weight * spectrum * seen**2)))
            slowest.append(float(seen[0]))
        before = response
    return np.array(losses), np.array(slowest)


def _contraction_of(time: np.ndarray, values: np.ndarray) -> float:
    """The factor r per step of a mode (a + b k) r^k, from three records of the last half; b = 0 included.

    Its values y0, y1, y2 at equal distances n satisfy y2 - 2 z y1 + z^2 y0 = 0 with z = r^n.
    """
    last, half = len(values) - 1, (len(values) - 1) // 2
    gap = (last - half) // 2
    first, middle, final = np.abs(values[[last - 2 * gap, last - gap, last]])
    spread = math.sqrt(max(middle**2 - first * final, 0.0))
    return ((middle - spread) / first) ** (1 / (time[last] - time[last - gap]))


def _running_scale(losses: np.ndarray) -> np.ndarray:
    """The loss itself, but no less than its largest value times the rounding that a float can carry through."""
    return np.maximum(losses, 1e-20 * losses.max())


def _contraction(config: Config, method: str, rows: list[dict[str, Any]]) -> list[Verdict]:
    worst = max(rows, key=lambda row: abs(row["decay"] / row["predicted_decay"] - 1))
    form = {"gradient descent": "2 / kappa", "heavy ball": "2 / sqrt(kappa)"}.get(method, "1 / sqrt(kappa)")
    claim = f"{method[0].upper()}{method[1:]} shrinks the error by about {form} a step (C27, C29)"
    if method == "Chebyshev":
        claim = "Chebyshev's error after n steps is 1 / T_n, the least possible"
    return [
        judge(
            claim,
            f"-ln(contraction) at kappa {worst['kappa']:g}, the worst of {len(rows)}",
            worst["predicted_decay"],
            worst["decay"],
            0.01,  # an asymptotic rate from a finite run, its polynomial prefactor removed
            unit="per step",
            reference="see the study's sources",
        )
    ]


def _curves(config: Config, method: str, rows: list[dict[str, Any]]) -> list[Verdict]:
    """Rounding grows with the number of steps and with the transient's height, about sqrt(kappa)."""
    worst = max(rows, key=lambda row: row["curve_error"])
    allowed = 1e-8 if config.dtype == "float64" else 2e-3
    return [
        judge(
            f"{method[0].upper()}{method[1:]}: the whole loss curve is the sum over eigenvalues of known polynomials",
            f"largest relative deviation over {len(worst['time'])} records, at kappa {worst['kappa']:g}",
            0.0,
            worst["curve_error"],
            allowed,
            kind="absolute",
            reference="polynomials of the two-step recursion",
        )
    ]


def _growth(config: Config, method: str, rows: list[dict[str, Any]]) -> list[Verdict]:
    """The exponent of the steps in kappa, from the larger half of the condition numbers."""
    large = [row for row in rows if row["kappa"] >= 1e2]
    if len(large) < 2:
        return []
    slope = np.polyfit(np.log([row["kappa"] for row in large]), np.log([row["extrapolated_steps"] for row in large]), 1)
    power = 1.0 if method == "gradient descent" else 0.5
    return [
        judge(
            f"{method[0].upper()}{method[1:]} pays {'kappa' if power == 1 else 'the square root of kappa'} in steps (C27)",
            "exponent of the steps in kappa",
            power,
            float(slope[0]),
            0.02,  # finite kappa: the next order of the logarithm is 1 / sqrt(kappa)
            kind="absolute",
            reference="see the study's sources",
        )
    ]


def _timid(config: Config, factor: float) -> dict[str, Any]:
    """Gradient descent at a fraction of its best rate, on the slowest mode alone counted step by step."""
    kappa = config.slower_kappa
    rate = factor * float(theory.optimal_gradient_descent(1.0, 1 / kappa).learning_rate)
    predicted = math.log(config.accuracy) / math.log1p(-rate / kappa)
    problem = _problem(config.dim, kappa, config.dtype)
    steps = math.ceil(1.02 * predicted) + 2
    trace = training.run(problem, rules.sgd, {"learning_rate": rate}, steps=steps, probes=(SLOWEST, training.loss()))
    reached = np.flatnonzero(np.abs(trace["slowest"][0]) <= config.accuracy)
    return {
        "kind": "timid",
        "factor": factor,
        "kappa": kappa,
        "learning_rate": rate,
        "effective_learning_rate": rate,
        "predicted_steps": predicted,
        "steps": float(reached[0]) if reached.size else math.inf,
    }


STUDY = Study(
    name="convergence_rates",
    question="How many steps does a condition number cost, and what does momentum make of it?",
    lecture="Bad conditioning means very slow progress along the shallow direction; momentum helps with that.",
    truth="Descent pays kappa steps, momentum sqrt(kappa), Chebyshev is the best possible; whole curves are known exactly.",
    reference="Polyak 1964; Golub and Varga 1961; Nesterov 2004; Van Scoy, Freeman and Lynch 2018",
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(dim=1000, max_steps=1_000_000),
        "huge": Config(
            kappas=(1e4,), dim=100_000_000, max_steps=400, num_records=40, methods=METHODS[:3], dtype="float32"
        ),
    },
    run=run,
    judge=judge_rows,
    draw=draw,
    caption=caption,
    facts=facts,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
