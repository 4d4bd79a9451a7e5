"""How many steps does a condition number cost, and what does momentum make of it?

What the lecture says: with a bad condition number plain descent makes "very slow progress along the horizontal dimension"; a rate
ten times too low should work in theory, but "one-day training becomes 100 days"; momentum helps.

What is true: on a quadratic with eigenvalues in [mu, L] and kappa = L / mu the error shrinks per step by
    gradient descent (kappa - 1) / (kappa + 1),   Nesterov and triple momentum 1 - 1 / sqrt(kappa),
    heavy ball (sqrt(kappa) - 1) / (sqrt(kappa) + 1),   Chebyshev 1 / T_n after n steps: the best possible,
so descent pays kappa steps and momentum sqrt(kappa); a rate ten times lower costs ten times the steps, exactly
ln(eps) / ln(1 - lr mu). Whole loss curves are sums over eigenvalues of known polynomials, with nothing fitted.

Source: CS231n 2017, lecture 7; Polyak 1964; Golub and Varga 1961; Nesterov 2004, section 2.2; Lessard, Recht and
Packard 2016; Van Scoy, Freeman and Lynch 2018.
"""

import functools
import math
import resource
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Problem, Verdict, require_between, require_count, require_positive
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main, measures
from jaxopt_lab.studies.fields import OneOf, configclass
from jaxopt_lab.studies.verdicts import absolute, relative

# method -> (tuning from L and mu, rule); Chebyshev's tuning is that of its limit, its exact value comes apart
METHODS: dict[str, tuple[Callable[..., theory.rates.Tuning], Callable[..., Any]]] = {
    "gradient descent": (theory.rates.optimal_gradient_descent, rules.sgd),
    "heavy ball": (theory.rates.optimal_heavy_ball, rules.heavy_ball),
    "Nesterov": (theory.rates.standard_nesterov, rules.nesterov),
    "triple momentum": (theory.rates.optimal_triple_momentum, rules.triple_momentum),
    "Chebyshev": (theory.rates.optimal_heavy_ball, rules.chebyshev),
}  # fmt: skip
SOURCES = {
    "gradient descent": "(kappa - 1) / (kappa + 1) a step",
    "heavy ball": "(sqrt(kappa) - 1) / (sqrt(kappa) + 1) a step, Polyak 1964",
    "Nesterov": "1 - 1 / sqrt(kappa) a step, Nesterov 2004, section 2.2",
    "triple momentum": "1 - 1 / sqrt(kappa) a step, Van Scoy, Freeman and Lynch 2018",
    "Chebyshev": "1 / T_n, Golub and Varga 1961",
}  # fmt: skip
LARGE = 2**20


@configclass
class Config:
    """All that can change a number."""

    kappas: tuple[float, ...] = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    """Condition numbers L / mu, with L = 1."""
    dim: int = 64
    """Number of parameters d; eigenvalues are log-uniform."""
    methods: Annotated[tuple[str, ...], OneOf(METHODS, name="each of methods")] = tuple(METHODS)
    """Which methods run."""
    accuracy: float = 1e-6
    """Factor by which the distance shall shrink."""
    max_steps: int = 60_000
    """No run takes more steps than this, however slow it is."""
    num_records: int = 400
    """Records along each run."""
    slower_rates: tuple[float, ...] = (0.1, 0.01)
    """Factors on the best learning rate of gradient descent, for the price of a timid rate; none in high dimension."""
    slower_kappa: float = 100.0
    """Condition number at which that price is measured."""
    dtype: str = "float64"
    """Floating type of everything."""

    def __post_init__(self) -> None:
        for name, least in (("dim", 2), ("max_steps", 8), ("num_records", 8)):
            require_count("convergence_rates", name, getattr(self, name), least)
        for kappa in (*self.kappas, self.slower_kappa):
            require_between("convergence_rates", "each condition number", kappa, 1, math.inf, ends="()")
        for factor in (*self.slower_rates, self.accuracy):
            require_positive("convergence_rates", "accuracy and each of slower_rates", factor)


PRESETS = {
    "quick": Config(),
    "full": Config(dim=1000, max_steps=1_000_000),
    "huge": Config(
        (1e4,), 100_000_000, tuple(METHODS)[:3], max_steps=400, num_records=40, slower_rates=(), dtype="float32"
    ),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row for each method and condition number, then one for each timid rate."""
    rows = [_measure(config, method, kappa, checkpoints) for kappa in config.kappas for method in config.methods]
    return rows + [_timid(config, factor, checkpoints) for factor in config.slower_rates]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Contraction, whole curve, growth of the steps with kappa, price of a timid rate."""
    verdicts = []
    for method in config.methods:
        verdicts += _judge_method(config, method, [row for row in rows if row.get("method") == method])
    for row in (row for row in rows if row["kind"] == "timid"):
        claim = f"A learning rate {1 / row['factor']:g} times too low costs that many times the steps"
        quantity = f"steps to {config.accuracy:g} at kappa {config.slower_kappa:g}"
        values, source = (row["predicted_steps"], row["steps"]), "ln(eps) / ln(1 - lr mu)"
        # steps are whole numbers
        verdicts.append(absolute(claim, quantity, *values, 1.0, unit="steps", reference=source))
    return verdicts


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Steps to the accuracy against kappa; below, the loss curves of one kappa."""
    several = len(config.kappas) > 1
    figure, axes = maker.axes(1 + several, 1, height=7.4 if several else 4.4)
    upper, lower = axes if several else (None, axes)
    shown = min(config.kappas, key=lambda kappa: abs(math.log(kappa / 1e4)))
    for color, method in enumerate(config.methods):
        mine = [row for row in rows if row.get("method") == method]
        if upper is not None:
            kappas = [row["kappa"] for row in mine]
            maker.predicted(upper, kappas, [row["predicted_steps"] for row in mine], color=color, label=method)
            maker.measured(upper, kappas, [row["extrapolated_steps"] for row in mine], color=color)
        row = next(row for row in mine if row["kappa"] == shown)
        floor = 1e-13 if config.dtype == "float64" else 1e-8
        seen = (row["time"] <= 2500) & (row["exact_loss"] > floor * row["exact_loss"][0])
        time, exact, loss = (row[name][seen] for name in ("time", "exact_loss", "loss"))
        thin = slice(None, None, max(1, len(time) // 25))
        named = upper is None or method == "gradient descent"  # the others, crowded here, have their names above
        maker.predicted(lower, time, exact / row["exact_loss"][0], color=color, label=method if named else "")
        maker.measured(lower, time[thin], loss[thin] / row["exact_loss"][0], color=color)
    if upper is not None:
        upper.set(xscale="log", yscale="log", xlabel="condition number")
        upper.set_ylabel(f"steps until the error is {config.accuracy:g}")
    lower.set(yscale="log", xlabel=f"step (condition number {shown:g})", ylabel="loss / loss at the start")
    return figure


def caption(config: Config, rows: Rows) -> str:
    steps = {row["method"]: row["extrapolated_steps"] for row in rows if row.get("kappa") == config.kappas[-1]}
    if not {"gradient descent", "heavy ball"} <= set(steps):
        return "Runs (dots) lie on the closed forms (lines)."
    slow, quick = steps["gradient descent"], steps["heavy ball"]
    return (
        f"Descent pays kappa steps, momentum its square root: at kappa {config.kappas[-1]:g} that is {slow:.3g} "
        f"against {quick:.3g} steps, a factor {slow / quick:.0f}. Dots are runs, lines closed forms, nothing fitted."
    )


def facts(config: Config, rows: Rows) -> dict[str, Any]:
    """Speed and memory, where the problem is large enough for them to mean something."""
    found: dict[str, Any] = {"side by side (K)": 1}
    if config.dim <= LARGE:
        return found
    bandwidth = training.measure_bandwidth(config.dim)
    found["loop"] = rows[0]["loop"]
    found["peak memory, GiB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2)
    found["memory bandwidth of a donated x * a + y, GB/s"] = round(bandwidth / 1e9, 1)
    for row in rows:
        num_vectors = 3 if row["method"] == "gradient descent" else 5
        moved = num_vectors * jnp.dtype(config.dtype).itemsize * config.dim * row["steps_per_second"]
        found[f"{row['method']}, steps per second"] = round(row["steps_per_second"], 1)
        found[f"{row['method']}, speed over that of steps through memory"] = round(moved / bandwidth, 2)
    return found


def _slowest_sums(seen: training.Observation) -> tuple[Any, Any]:
    slow = seen.truth.eigenvalues <= seen.truth.strong_convexity
    return jnp.sum(jnp.where(slow, seen.params, 0)), jnp.sum(slow, dtype=seen.params.dtype)


def _ratio(sums: tuple[Any, Any]) -> Any:
    return sums[0] / sums[1]


SLOWEST = training.Probe("slowest", _slowest_sums, _ratio, ("truth",), additive=True)


@functools.lru_cache(maxsize=1)
def _problem(dim: int, kappa: float, dtype: str) -> Problem:
    del dtype  # part of the key: the arrays are made in the precision that is switched on
    return objectives.quadratic(objectives.spectra.log_uniform(dim, kappa), start=1.0)


def _measure(config: Config, method: str, kappa: float, checkpoints: training.Checkpoints) -> dict[str, Any]:
    tune, rule = METHODS[method]
    tuning = tune(1.0, 1 / kappa)
    rate, rho = float(tuning.learning_rate), float(tuning.rho)
    hyper = {"smoothness": 1.0, "strong_convexity": 1 / kappa}
    if rule in (rules.sgd, rules.heavy_ball, rules.nesterov):
        hyper = {"learning_rate": rate} | ({} if rule is rules.sgd else {"rho": rho})
    length = min(1.5 * float(tuning.steps_to(config.accuracy)), config.max_steps)
    every = max(1, math.ceil(length / config.num_records))
    steps = every * min(config.num_records, config.max_steps // every)
    probes = (training.loss(), training.distance(), SLOWEST)
    problem, unlimited = _problem(config.dim, kappa, config.dtype), training.Feasibility(blow_up=math.inf)
    trace = training.run(
        problem, rule, hyper, steps=steps, every=every, probes=probes, feasibility=unlimited,
        folder=checkpoints.of(f"{method} {kappa:g}"),
    )  # fmt: skip
    losses, slowest = trace["loss"][0].astype(np.float64), trace["slowest"][0].astype(np.float64)
    exact = np.array(list(_exact_losses(config, method, kappa, trace.steps)))
    decay, predicted = -math.log(measures.contraction_per_step(trace.steps, slowest)), float(tuning.decay)
    if method == "Chebyshev":
        decay = -math.log(abs(slowest[-1])) / steps
        predicted = -math.log(theory.chebyshev.smallest_residual(steps, kappa)) / steps
    return {
        "kind": "rate", "method": method, "kappa": kappa, "learning_rate": rate, "rho": rho, "decay": decay,
        "predicted_decay": predicted,
        "steps": float(trace.first_step_below("distance", config.accuracy * trace["distance"][0, 0])[0]),
        "predicted_steps": -math.log(config.accuracy) / predicted,
        "extrapolated_steps": -math.log(config.accuracy) / decay,
        "curve_error": float(np.max(np.abs(losses - exact) / np.maximum(exact, 1e-20 * exact.max()))),
        "time": trace.steps, "loss": losses, "exact_loss": exact, "loop": trace.facts["loop"],
        "steps_per_second": trace.facts["steps_per_second"],
    }  # fmt: skip


def _exact_losses(config: Config, method: str, kappa: float, time: np.ndarray) -> Iterator[float]:
    """The losses at the recorded steps, from the exact polynomials of the eigenvalues."""
    nodes, steps, wanted = (
        theory.log_uniform.log_uniform_quadrature(config.dim, kappa),
        int(time[-1]),
        set(time.tolist()),
    )
    tuning = METHODS[method][0](1.0, 1 / kappa)
    # as the run holds them: heavy ball's end modes turn a rounding of 6e-8 in the rate into t^2 times as much
    held = np.dtype(config.dtype).type
    rate, rho, ahead = (float(held(value)) for value in (tuning.learning_rate, tuning.rho, tuning.lookahead))
    if method == "Chebyshev":
        schedule = theory.trajectories.chebyshev_schedule(1.0, 1 / kappa, steps)
        responses = theory.trajectories.stream_mode_responses(
            nodes.eigenvalues, schedule.learning_rates, steps, schedule.rhos
        )
    else:
        responses = theory.trajectories.stream_mode_responses(nodes.eigenvalues, rate, steps, rho, ahead)
    before = np.ones_like(nodes.eigenvalues)
    for step, response in enumerate(responses):
        if step in wanted:
            # Nesterov and triple momentum hold the point where the gradient is taken
            held_point = response if method == "Chebyshev" else response + ahead * (response - before)
            yield 0.5 * float(nodes.weights @ (nodes.eigenvalues * held_point**2))
        before = response


def _timid(config: Config, factor: float, checkpoints: training.Checkpoints) -> dict[str, Any]:
    """Gradient descent at a fraction of its best rate, the slowest mode watched step by step."""
    rate = factor * float(theory.rates.optimal_gradient_descent(1.0, 1 / config.slower_kappa).learning_rate)
    predicted = math.log(config.accuracy) / math.log1p(-rate / config.slower_kappa)
    problem = _problem(config.dim, config.slower_kappa, config.dtype)
    steps, place = math.ceil(1.02 * predicted) + 2, checkpoints.of(f"timid {factor:g}")
    trace = training.run(problem, rules.sgd, {"learning_rate": rate}, steps=steps, probes=(SLOWEST,), folder=place)
    return {
        "kind": "timid", "factor": factor, "learning_rate": rate, "predicted_steps": predicted,
        "steps": float(trace.first_step_below("slowest", config.accuracy)[0]),
    }  # fmt: skip


def _judge_method(config: Config, method: str, rows: Rows) -> list[Verdict]:
    name, source = method[0].upper() + method[1:], SOURCES[method]
    pace = {"gradient descent": "2 / kappa", "heavy ball": "2 / sqrt(kappa)"}.get(method, "1 / sqrt(kappa)")
    claim = f"{name} shrinks the error by about {pace} a step"
    if method == "Chebyshev":
        claim = "Chebyshev's error after n steps is 1 / T_n, the least possible"
    worst = max(rows, key=lambda row: abs(row["decay"] / row["predicted_decay"] - 1))
    quantity = f"-ln(contraction) at kappa {worst['kappa']:g}, the worst of {len(rows)}"
    values = (worst["predicted_decay"], worst["decay"])
    # an asymptotic rate from a finite run, its polynomial prefactor removed
    verdicts = [relative(claim, quantity, *values, 0.01, unit="per step", reference=source)]

    worst = max(rows, key=lambda row: row["curve_error"])
    claim = f"{name}: the whole loss curve is the sum over eigenvalues of known polynomials"
    quantity = f"largest relative deviation over {len(worst['time'])} records, at kappa {worst['kappa']:g}"
    # rounding grows with the steps and with the transient's height, about sqrt(kappa)
    allowed = 1e-8 if config.dtype == "float64" else 2e-3
    verdicts.append(absolute(claim, quantity, 0.0, worst["curve_error"], allowed, reference=source))

    large = [row for row in rows if row["kappa"] >= 1e2]
    if len(large) > 1:
        logs = (np.log([row[key] for row in large]) for key in ("kappa", "extrapolated_steps"))
        power, paid = (1.0, "kappa") if method == "gradient descent" else (0.5, "the square root of kappa")
        values = (power, float(np.polyfit(*logs, deg=1)[0]))
        # finite kappa: the next order of the logarithm is 1 / sqrt(kappa)
        claim = f"{name} pays {paid} in steps"
        verdicts.append(absolute(claim, "exponent of the steps in kappa", *values, 0.02, reference=source))
    return verdicts


if __name__ == "__main__":
    raise SystemExit(main())
