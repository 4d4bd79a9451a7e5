"""Does momentum only help?

What the lecture says: momentum "helps for all of these problems", and the zig-zags "cancel each other out pretty fast".

What is true: at the constants that make it fastest in the long run, heavy ball first makes things worse. The component
along the top eigenvector follows x_k = (1 + (1 + r) k) (-r)^k, r = sqrt(rho), exactly: it zig-zags and grows to
sqrt(kappa) / e times its start, the loss in that direction to kappa / e^2 times, before it falls. Beyond quadratics the
same constants need not converge at all: on a smooth, strongly convex function of one variable they circle for ever
between three points, while Nesterov's method converges.

Source: Polyak 1964; Danilova, Kulakova and Polyak 2018, arXiv 1811.00658 (the growth); Lessard, Recht and Packard 2016,
section 4.6 (the cycle); Goujaud, Taylor and Dieuleveut 2023, arXiv 2307.11291 (no acceleration for certain).
"""

from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import core, objectives, rules, theory, training
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, NotEmpty, Precision, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, relative

CYCLING, CONVERGING = (3.07, 3.3, 3.46), (2.0, 5.0)
RECORDS = 128  # a segment, so that all kappas share one program
EXACT_UP_TO = 2_000_000  # dimensions up to which the loss of all modes is also summed up by theory
REFERENCE = "double root of the two-step recursion; Danilova, Kulakova, Polyak 2018"
LARGE = Between("[100, 1e12]", why="sqrt(kappa) / e is for large kappa.")
UNLIMITED = training.Feasibility(blow_up=np.inf)


@configclass
class Config:
    """All that can change a number. Quadratics have L = 1, a log-uniform spectrum, the minimum at 0 and start at 1."""

    kappas: Annotated[tuple[float, ...], NotEmpty("condition number"), LARGE] = (1e2, 1e4, 1e6)
    """Condition numbers, pure numbers, at least 100, where sqrt(kappa) / e holds within 1 %."""
    dim: Annotated[int, Whole(2)] = 10_000
    """Parameters of the quadratics, a count."""
    chain_dim: Annotated[int, Whole(20)] = 300
    """Parameters of the chain of springs, a count; its eigenvectors are dense and its kappa is 0.41 dim^2."""
    horizon: Annotated[int, Whole(2)] = 10
    """Length of a run, in units of the step at which the peak is reached."""
    cycle_steps: Annotated[int, Whole(300)] = 600
    """Length of the runs on the function that makes heavy ball cycle, steps."""
    dtype: Precision = "float64"
    """Floating type of the quadratics, "float64" or "float32"; the rest keeps up to its precision."""


PRESETS = {
    "quick": Config(),
    "full": Config(dim=1_000_000, chain_dim=1000),
    "huge": Config(dim=100_000_000, chain_dim=1000, dtype="float32"),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a condition number, one for the chain, one for each method on the cycling function."""
    rows = [_quadratic(config, kappa, checkpoints) for kappa in config.kappas]
    return [*rows, _chain(config), *_cycles(config)]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The peak for each kappa and for the chain, its asymptote, the whole loss, and the cycle."""
    quadratics, off = rows.where(problem="quadratic"), _tolerance(config)
    hardest = max(quadratics, key=lambda row: row["kappa"])
    return [
        *(_peak(config, row) for row in rows.having("growth")),
        # The height is sqrt(kappa) / e (1 + O(1 / kappa)), 1 % off at kappa = 100; plus what the peak itself may err.
        relative("The loss along the top eigenvector first grows by kappa / e^2",
                 f"growth at kappa = {hardest['kappa']:.0e}", hardest["kappa"] / np.e**2,
                 float(hardest["growth"].max()) ** 2, 2 / hardest["kappa"] + 2 * off, reference=REFERENCE),
        *(relative("From a start with equal parts of all modes the whole loss grows as the sum over modes says",
                   f"largest loss / start at kappa = {row['kappa']:.0e}, {config.dim:.0e} dimensions",
                   row["predicted_loss_growth"], row["loss_growth"], 2 * off, reference=REFERENCE)
          for row in quadratics if config.dim <= EXACT_UP_TO),
        *_cycle(config, rows.only(method="heavy ball")["path"], rows.only(method="Nesterov")["path"]),
    ]  # fmt: skip


def _tolerance(config: Config) -> float:
    """How far rounding moves the peak, relative.

    At the double root a relative change e of the constants moves the two roots by sqrt(e) = 2.4e-4 in float32, which
    over the 500 steps to the peak of kappa = 1e6 is (500 x 2.4e-4)^2 / 6 = 0.25 %; in float64 it is 1e-11, and the
    sums of the recursion add 500^2 eps.
    """
    largest = np.sqrt(max(config.kappas)) / 2
    return 1e-2 if config.dtype == "float32" else 1e-10 + 4 * largest**2 * np.finfo(np.float64).eps


def _peak(config: Config, row: Row) -> Verdict:
    where = f"{config.dim:.0e} dimensions" if row["problem"] == "quadratic" else "a chain of springs, dense Hessian"
    claim = f"Optimally tuned heavy ball first grows by about sqrt(kappa) / e along the top eigenvector ({where})"
    return relative(claim, f"largest |x_k| / |x_0| at kappa = {row['kappa']:.3g}", row["predicted"],
                    float(row["growth"].max()), _tolerance(config), reference=REFERENCE)  # fmt: skip


def _cycle(config: Config, heavy: np.ndarray, nesterov: np.ndarray) -> list[Verdict]:
    num, source = len(CYCLING), "Lessard, Recht, Packard 2016, section 4.6"
    distance = np.abs(np.sort(heavy[-3:, :num], axis=0) - np.sort(theory.transients.heavy_ball_cycle())[:, None])
    # The cycle and the minimum lie where the slope is 25, so both attract like k (2/3)^k: 300 steps leave rounding.
    rounding = 1e-12 if config.dtype == "float64" else 1e-5
    return [
        absolute("On a smooth strongly convex function heavy ball circles for ever, from"
                 f" {', '.join(f'{start:g}' for start in CYCLING)}",
                 "largest distance of the last three points to the cycle",
                 0.0, distance.max(), rounding, reference=source),
        absolute(f"On that function heavy ball converges from {' and '.join(f'{start:g}' for start in CONVERGING)}",
                 "largest |x| at the end", 0.0, np.abs(heavy[-1, num:]).max(), rounding, reference=source),
        absolute("On that function Nesterov's method converges from all of these starts", "largest |x| at the end",
                 0.0, np.abs(nesterov[-1]).max(), rounding, reference="Nesterov 2004, theorem 2.2.3"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Above: the top component against steps, exact line and measured dots. Below: the cycle."""
    figure, (above, below) = maker.axes(2, 1, height=7.2)
    for color, row in enumerate(rows.where(problem="quadratic")):
        steps, growth = row["steps"], row["growth"]
        exact = np.abs(theory.transients.heavy_ball_transient(steps, row["kappa"]))
        maker.predicted(above, steps[1:], exact[1:], color=color)
        shown = np.unique(np.geomspace(1, len(steps) - 1, 24).astype(int))
        maker.measured(above, steps[shown], growth[shown], color=color)
        falling = int(np.argmax(growth)) + int(np.argmax(growth[np.argmax(growth) :] < growth.max() / 2))
        power = f"{np.log10(row['kappa']):g}".translate(str.maketrans("0123456789.", "⁰¹²³⁴⁵⁶⁷⁸⁹·"))
        above.annotate(f"κ = 10{power}:\npeak {growth.max():.4g}", (steps[falling], growth[falling]), xytext=(7, 0),
                       textcoords="offset points", va="bottom", color=maker.color(color))  # fmt: skip
    above.axhline(1, color=maker.color(6), linewidth=0.8, linestyle=":")
    above.set(xscale="log", yscale="log", ylim=(0.05, 2 * np.sqrt(max(config.kappas))), xlabel="step",
              ylabel="top component / start", title="line: (1 + (1 + r) k) rᵏ, peak √κ / e; dots: run")  # fmt: skip
    cycle, steps = theory.transients.heavy_ball_cycle(), np.arange(43)
    for point in cycle:
        below.axhline(point, color=maker.color(1), linewidth=1.2, zorder=2)
    for color, row in enumerate(rows.where(problem="cycling"), start=1):
        path, nesterov = row["path"][: len(steps), CYCLING.index(3.3)], row["method"] == "Nesterov"
        below.plot(steps, path, color=maker.color(color), linewidth=0.6, alpha=0.5)
        maker.measured(below, steps, path, color=color)
        told = "Nesterov\nconverges" if nesterov else "heavy ball\ncircles"
        maker.label(below, steps[-1], path[-1] if nesterov else cycle[0], told, color=color)
    below.set(xlabel="step", ylabel="x", xlim=(-1, len(steps)), title="a convex function of one variable, from x = 3.3")
    return figure


def caption(config: Config, rows: Rows) -> str:
    hardest = max(rows.where(problem="quadratic"), key=lambda row: row["kappa"])
    peak = float(hardest["growth"].max())
    return (
        f"Heavy ball at its fastest constants first multiplies the error along the top eigenvector by {peak:.2f} ="
        f" sqrt(kappa) / e at kappa = {hardest['kappa']:.0e}, the loss there by {peak**2:.3g}, before it falls (the"
        f" whole loss, from equal parts of all {config.dim:.0e} modes, by {hardest['loss_growth']:.3g}); on a convex"
        " function that is not quadratic it circles for ever where Nesterov's method converges."
    )


def _quadratic(config: Config, kappa: float, checkpoints: training.Checkpoints) -> Row:
    problem = objectives.quadratic(objectives.spectra.log_uniform(config.dim, kappa), start=1.0)
    tuning, peak = theory.rates.optimal_heavy_ball(1.0, 1 / kappa), theory.transients.heavy_ball_peak(kappa)
    steps = max(RECORDS - 28, config.horizon * int(peak.step))
    trace = training.run(
        problem, rules.heavy_ball, {"learning_rate": tuning.learning_rate, "rho": tuning.rho}, steps=steps,
        probes=[training.loss(), training.band_energy((1.0,))], feasibility=UNLIMITED,
        execution=training.Execution("chunks", segments=-(-(steps + 1) // RECORDS), checkpoint_seconds=300),
        folder=checkpoints.of(f"quadratic {kappa:g}"),
    )  # fmt: skip
    # The upper band holds the eigenvalues that equal L = 1: one of them, in float32 those that round to it.
    top, losses = trace["band_energy"][0, :, 1].astype(np.float64), trace["loss"][0].astype(np.float64)
    return {
        "problem": "quadratic", "kappa": kappa, **_constants(tuning), "steps": trace.steps,
        "growth": np.sqrt(top / top[0]), "predicted": float(peak.height),
        "loss_growth": float((losses / losses[0]).max()),
        "predicted_loss_growth": _exact_loss_growth(problem, tuning, 3 * int(peak.step)),
        "steps_per_second": float(trace.facts["steps_per_second"]),
    }  # fmt: skip


def _constants(tuning: theory.rates.Tuning) -> Row:
    return {"learning_rate": float(tuning.learning_rate), "rho": float(tuning.rho)}


def _exact_loss_growth(problem: core.Problem, tuning: theory.rates.Tuning, steps: int) -> float:
    """max_k f_k / f_0 from all modes; NaN where there are too many to sum up on the host."""
    eigenvalues = np.asarray(problem.truth.eigenvalues, np.float64)
    if eigenvalues.size > EXACT_UP_TO:
        return np.nan
    rate, rho = float(tuning.learning_rate), float(tuning.rho)
    responses = theory.trajectories.stream_mode_responses(eigenvalues, rate, steps, rho)
    losses = [float(theory.trajectories.expected_losses(response, eigenvalues)) for response in responses]
    return max(losses) / losses[0]


def _chain(config: Config) -> Row:
    dim = config.chain_dim
    problem = objectives.laplacian(dim, start=objectives.laplacian_eigenvector(dim, dim))
    kappa = float(problem.truth.condition_number)  # pyrefly: ignore
    tuning = theory.rates.optimal_heavy_ball(problem.truth.smoothness, problem.truth.strong_convexity)  # pyrefly: ignore
    peak = theory.transients.heavy_ball_peak(kappa)
    trace = training.run(
        problem, rules.heavy_ball, {"learning_rate": tuning.learning_rate, "rho": tuning.rho},
        steps=config.horizon * int(peak.step), probes=[training.loss(), training.distance()], feasibility=UNLIMITED,
    )  # fmt: skip
    distance = trace["distance"][0].astype(np.float64)
    return {"problem": "chain", "kappa": kappa, **_constants(tuning), "steps": trace.steps,
            "growth": distance / distance[0], "predicted": float(peak.height)}  # fmt: skip


def _cycling_loss(x: jax.Array, batch: Any, key: Any) -> jax.Array:
    """`theory.transients.cycling_loss` summed over independent starts."""
    middle, upper = 0.5 * x**2 + 24 * x - 12, 12.5 * x**2 - 24 * x + 36
    return jnp.sum(jnp.where(x < 1, 12.5 * x**2, jnp.where(x < 2, middle, upper)))


def _cycles(config: Config) -> list[Row]:
    starts, rows = jnp.asarray([*CYCLING, *CONVERGING]), []
    for method, rule, tuning in (
        ("heavy ball", rules.heavy_ball, theory.rates.optimal_heavy_ball(25.0, 1.0)),
        ("Nesterov", rules.nesterov_lookahead, theory.rates.standard_nesterov(25.0, 1.0)),
    ):
        trace = training.run(
            core.from_loss(_cycling_loss, starts, name="cycling"), rule,
            {"learning_rate": tuning.learning_rate, "rho": tuning.rho}, steps=config.cycle_steps,
            probes=[training.loss(), training.coordinates(*range(len(starts)))],
        )  # fmt: skip
        rows.append({"problem": "cycling", "method": method, **_constants(tuning),
                     "starts": np.asarray(starts, np.float64),
                     "path": trace["coordinates"][0].astype(np.float64)})  # fmt: skip
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
