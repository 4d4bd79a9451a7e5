"""How many steps does a condition number cost, and what does momentum make of it?

What the lecture says: with a bad condition number plain descent makes "very slow progress along the horizontal
dimension"; a rate ten times too low should work in theory, but "one-day training becomes 100 days"; momentum helps.

What is true: on a quadratic with eigenvalues in [mu, L] and kappa = L / mu the error shrinks per step by
    gradient descent (kappa - 1) / (kappa + 1),   Nesterov and triple momentum 1 - 1 / sqrt(kappa),
    heavy ball (sqrt(kappa) - 1) / (sqrt(kappa) + 1),   Chebyshev 1 / T_n after n steps: the best possible,
so gradient descent needs O(kappa) steps and momentum O(sqrt(kappa)); a rate ten times lower costs ten times the steps,
exactly ln(eps) / ln(1 - lr mu). Whole loss curves are sums over eigenvalues of known polynomials, nothing fitted.

Source: CS231n 2017, lecture 7; Polyak 1964; Golub and Varga 1961; Nesterov 2004, section 2.2; Lessard, Recht and
Packard 2016; Van Scoy, Freeman and Lynch 2018.
"""

import functools
import math
import resource
from collections.abc import Iterator
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Problem, Verdict
from jaxopt_lab.reporting import FigureMaker, sliders
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import AboveZero, Between, OneOf, Precision, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, everywhere

# method -> (tuning from L and mu, rule, source); Chebyshev's tuning is that of its limit, its exact value comes apart
METHODS: dict[str, tuple[Any, Any, str]] = {
    "gradient descent": (theory.rates.optimal_gradient_descent, rules.sgd, "(kappa - 1) / (kappa + 1) a step"),
    "heavy ball": (theory.rates.optimal_heavy_ball, rules.heavy_ball,
                   "(sqrt(kappa) - 1) / (sqrt(kappa) + 1) a step, Polyak 1964"),
    "Nesterov": (theory.rates.standard_nesterov, rules.nesterov,
                 "1 - 1 / sqrt(kappa) a step, Nesterov 2004, section 2.2"),
    "triple momentum": (theory.rates.optimal_triple_momentum, rules.triple_momentum,
                        "1 - 1 / sqrt(kappa) a step, Van Scoy, Freeman and Lynch 2018"),
    "Chebyshev": (theory.rates.optimal_heavy_ball, rules.chebyshev, "1 / T_n, Golub and Varga 1961"),
}  # fmt: skip
LARGE = 2**20
KAPPA = Between("(1, inf)", name="each condition number")
FACTOR = AboveZero(name="accuracy and each of slower_rates")


@configclass
class Config:
    """All that can change a number."""

    kappas: Annotated[tuple[float, ...], KAPPA] = (1e1, 1e2, 1e3, 1e4, 1e5, 1e6)
    """Condition numbers L / mu, with L = 1."""
    dim: Annotated[int, Whole(2)] = 64
    """Number of parameters d; eigenvalues are log-uniform."""
    methods: Annotated[tuple[str, ...], OneOf(METHODS, name="each of methods")] = tuple(METHODS)
    """Which methods run."""
    accuracy: Annotated[float, FACTOR] = 1e-6
    """Factor by which the distance shall shrink."""
    max_steps: Annotated[int, Whole(8)] = 60_000
    """No run takes more steps than this, however slow it is."""
    num_records: Annotated[int, Whole(8)] = 400
    """Records along each run."""
    slower_rates: Annotated[tuple[float, ...], FACTOR] = (0.1, 0.01)
    """Factors on the best learning rate of gradient descent, for the price of a timid rate; none in high dimension."""
    slower_kappa: Annotated[float, KAPPA] = 100.0
    """Condition number at which that price is measured."""
    dtype: Precision = "float64"
    """Floating type of everything."""


PRESETS = {
    "quick": Config(),
    "full": Config(dim=1000, max_steps=1_000_000),
    "huge": Config((1e4,), 100_000_000, tuple(METHODS)[:3], max_steps=400, num_records=40, slower_rates=(),
                   dtype="float32"),
}  # fmt: skip


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row for each method and condition number, then one for each timid rate."""
    rows = [_measure(config, method, kappa, checkpoints) for kappa in config.kappas for method in config.methods]
    return rows + [_timid(config, factor, checkpoints) for factor in config.slower_rates]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Contraction, whole curve, growth of the steps with kappa, price of a timid rate."""
    return [
        *(verdict for method, runs in rows.by("method").items() for verdict in _of_method(config, method, runs)),
        # Steps are whole numbers.
        *(absolute(f"A learning rate {1 / row['factor']:g} times too low costs that many times the steps",
                   f"steps to {config.accuracy:g} at kappa {config.slower_kappa:g}", row["predicted_steps"],
                   row["steps"], 1.0, unit="steps", reference="ln(eps) / ln(1 - lr mu)")
          for row in rows.where(kind="timid")),
    ]  # fmt: skip


def _of_method(config: Config, method: str, rows: Rows) -> list[Verdict]:
    name, source, worst = (
        method[0].upper() + method[1:],
        METHODS[method][2],
        max(rows, key=lambda row: row["curve_error"]),
    )
    pace = {"gradient descent": "2 / kappa", "heavy ball": "2 / sqrt(kappa)"}.get(method, "1 / sqrt(kappa)")
    claim = f"{name} shrinks the error by about {pace} a step"
    if method == "Chebyshev":
        claim = "Chebyshev's error after n steps is 1 / T_n, the least possible"
    found = [
        # An asymptotic rate from a finite run, its polynomial prefactor removed.
        everywhere(claim, f"-ln(contraction) at kappa {{kappa:g}}, the worst of {len(rows)}", rows, "decay",
                   "predicted_decay", relatively=0.01, unit="per step", reference=source),
        # Rounding grows with the steps and with the transient's height, about sqrt(kappa).
        absolute(f"{name}: the whole loss curve is the sum over eigenvalues of known polynomials",
                 f"largest relative deviation over {len(worst['time'])} records, at kappa {worst['kappa']:g}", 0.0,
                 worst["curve_error"], 1e-8 if config.dtype == "float64" else 2e-3, reference=source),
    ]  # fmt: skip
    large = rows.where(kappa=lambda kappa: kappa >= 1e2)
    if len(large) > 1:
        power, order = (1.0, "kappa") if method == "gradient descent" else (0.5, "sqrt(kappa)")
        # Finite kappa: the next order of the logarithm is 1 / sqrt(kappa).
        found.append(absolute(f"{name} needs O({order}) steps", "exponent of the steps in kappa", power,
                              measures.exponent(large["kappa"], large["extrapolated_steps"]), 0.02,
                              reference=source))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Steps to the accuracy against kappa; below, the loss curves of one kappa."""
    several = len(config.kappas) > 1
    figure, axes = maker.axes(1 + several, 1, height=7.4 if several else 4.4)
    upper, lower = axes if several else (None, axes)
    shown = min(config.kappas, key=lambda kappa: abs(math.log(kappa / 1e4)))
    for color, (method, runs) in enumerate(rows.by("method").items()):
        if upper is not None:
            maker.predicted(upper, runs["kappa"], runs["predicted_steps"], color=color, label=method)
            maker.measured(upper, runs["kappa"], runs["extrapolated_steps"], color=color)
        row = runs.only(kappa=shown)
        floor = 1e-13 if config.dtype == "float64" else 1e-8
        seen = (row["time"] <= 2500) & (row["exact_loss"] > floor * row["exact_loss"][0])
        time, exact, loss = (row[name][seen] for name in ("time", "exact_loss", "loss"))
        thin = slice(None, None, max(1, len(time) // 25))
        named = upper is None or method == "gradient descent"  # the others, crowded here, have their names above
        maker.predicted(lower, time, exact / row["exact_loss"][0], color=color, label=method if named else "")
        maker.measured(lower, time[thin], loss[thin] / row["exact_loss"][0], color=color)
    if upper is not None:
        upper.set(xscale="log", yscale="log", xlabel="condition number",
                  ylabel=f"steps until the error is {config.accuracy:g}")  # fmt: skip
    lower.set(yscale="log", xlabel=f"step (condition number {shown:g})", ylabel="loss / loss at the start")
    return figure


def caption(config: Config, rows: Rows) -> str:
    steps = {row["method"]: row["extrapolated_steps"] for row in rows.where(kind="rate", kappa=config.kappas[-1])}
    if not {"gradient descent", "heavy ball"} <= set(steps):
        return "Runs (dots) lie on the closed forms (lines)."
    slow, quick = steps["gradient descent"], steps["heavy ball"]
    return (
        f"Gradient descent needs O(kappa) steps, momentum O(sqrt(kappa)): at kappa {config.kappas[-1]:g} that is"
        f" {slow:.3g} against {quick:.3g} steps, a factor {slow / quick:.0f}. Dots are runs, lines closed forms,"
        " nothing fitted."
    )


def slider(config: Config, rows: Rows) -> dict[str, Any]:
    """Heavy ball at one rho for every kappa: gradient descent at rho = 0, else the best at a single kappa."""
    found = rows.where(kind="rate").by("method")
    runs = [(color, method, found[method]) for color, method in enumerate(METHODS) if method in found and color < 2]
    return sliders.slider(
        "heavy_ball_steps", accuracy=config.accuracy,
        x=sliders.axis("condition number", 2, 10 * max(config.kappas), log=True),
        y=sliders.axis(f"steps until the error is {config.accuracy:g}", 1, 1e3 * max(config.kappas), log=True),
        dots=[sliders.dots(f"{method}, measured", cells["kappa"], cells["extrapolated_steps"], color=color)
              for color, method, cells in runs],
    )  # fmt: skip


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


SLOWEST = training.Probe("slowest", _slowest_sums, lambda sums: sums[0] / sums[1], ("truth",), additive=True)


@functools.lru_cache(maxsize=1)
def _problem(dim: int, kappa: float, dtype: str) -> Problem:
    del dtype  # part of the key: the arrays are made in the precision that is switched on
    return objectives.quadratic(objectives.spectra.log_uniform(dim, kappa), start=1.0)


def _measure(config: Config, method: str, kappa: float, checkpoints: training.Checkpoints) -> Row:
    tune, rule, _ = METHODS[method]
    tuning = tune(1.0, 1 / kappa)
    rate, rho = float(tuning.learning_rate), float(tuning.rho)
    hyper = {"smoothness": 1.0, "strong_convexity": 1 / kappa}
    if rule in (rules.sgd, rules.heavy_ball, rules.nesterov):
        hyper = {"learning_rate": rate} | ({} if rule is rules.sgd else {"rho": rho})
    every = max(1, math.ceil(min(1.5 * float(tuning.steps_to(config.accuracy)), config.max_steps) / config.num_records))
    steps = every * min(config.num_records, config.max_steps // every)
    trace = training.run(
        _problem(config.dim, kappa, config.dtype), rule, hyper, steps=steps, every=every,
        probes=(training.loss(), training.distance(), SLOWEST), feasibility=training.Feasibility(blow_up=math.inf),
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
        "predicted_decay": predicted, "predicted_steps": -math.log(config.accuracy) / predicted,
        "steps": float(trace.first_step_below("distance", config.accuracy * trace["distance"][0, 0])[0]),
        "extrapolated_steps": -math.log(config.accuracy) / decay,
        "curve_error": float(np.max(np.abs(losses - exact) / np.maximum(exact, 1e-20 * exact.max()))),
        "time": trace.steps, "loss": losses, "exact_loss": exact, "loop": trace.facts["loop"],
        "steps_per_second": trace.facts["steps_per_second"],
    }  # fmt: skip


def _exact_losses(config: Config, method: str, kappa: float, time: np.ndarray) -> Iterator[float]:
    """The losses at the recorded steps, from the exact polynomials of the eigenvalues."""
    nodes, tuning = theory.log_uniform.log_uniform_quadrature(config.dim, kappa), METHODS[method][0](1.0, 1 / kappa)
    # As the run holds them: heavy ball's end modes turn a rounding of 6e-8 in the rate into t^2 times as much.
    held, steps, wanted = np.dtype(config.dtype).type, int(time[-1]), set(time.tolist())
    rate, rho, ahead = (float(held(value)) for value in (tuning.learning_rate, tuning.rho, tuning.lookahead))
    if method == "Chebyshev":
        rate, rho = theory.trajectories.chebyshev_schedule(1.0, 1 / kappa, steps)
        ahead = 0.0
    before = np.ones_like(nodes.eigenvalues)
    responses = theory.trajectories.stream_mode_responses(nodes.eigenvalues, rate, steps, rho, ahead)
    for step, response in enumerate(responses):
        if step in wanted:
            # Nesterov and triple momentum hold the point where the gradient is taken.
            point = response + ahead * (response - before) if ahead else response
            yield 0.5 * float(nodes.weights @ (nodes.eigenvalues * point**2))
        before = response


def _timid(config: Config, factor: float, checkpoints: training.Checkpoints) -> Row:
    """Gradient descent at a fraction of its best rate, the slowest mode watched step by step."""
    rate = factor * float(theory.rates.optimal_gradient_descent(1.0, 1 / config.slower_kappa).learning_rate)
    predicted = math.log(config.accuracy) / math.log1p(-rate / config.slower_kappa)
    trace = training.run(
        _problem(config.dim, config.slower_kappa, config.dtype), rules.sgd, {"learning_rate": rate},
        steps=math.ceil(1.02 * predicted) + 2, probes=(SLOWEST,), folder=checkpoints.of(f"timid {factor:g}"),
    )  # fmt: skip
    return {"kind": "timid", "factor": factor, "learning_rate": rate, "predicted_steps": predicted,
            "steps": float(trace.first_step_below("slowest", config.accuracy)[0])}  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
