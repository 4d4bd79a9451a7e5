"""Does momentum run past the minimum, and is Nesterov's version gentler?

What the lecture says: both overshoot the minimum, "because they're building up velocity", and Nesterov is "not
overshooting quite as drastically".

What is true: along one eigenvector everything depends on h = learning_rate * eigenvalue. Where h is a good part of 1
(sharp directions) Nesterov overshoots far less; where h is far below the damping (1 - rho)^2 scale (flat ones) it
overshoots as much; above h = 2 (1 + rho) / (1 + 2 rho) it diverges, where heavy ball and even plain descent still
converge. And the point that libraries report for Nesterov, x + rho v, overshoots more than x: at h = 1 by rho.

Source: Shi, Du, Jordan and Su 2018 (high-resolution differential equations); the exact forms are derived from the
two-step recursion in `theory.transients.overshoot`.
"""

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import AboveZero, Between, NotEmpty, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, relative

METHODS = ("heavy ball", "Nesterov", "Nesterov, reported")
SHARP, FLAT = 0.9, 1e-4
REFERENCE = "Shi, Du, Jordan, Su 2018; two-step recursion"
LITTLE_DAMPING = Between("[0.9, 1)", why="The oscillator's law needs little damping.")


@configclass
class Config:
    """All that can change a number. The eigenvalue is 1 and the run starts at rest from x = 1."""

    rhos: Annotated[tuple[float, ...], NotEmpty("momentum constant"), LITTLE_DAMPING] = (0.9, 0.99)
    """Momentum constants, pure numbers in [0.9, 1); each is one panel."""
    lowest_rate: Annotated[float, AboveZero(), Between("(0, 0.1]")] = FLAT
    """Smallest learning rate, in units of 1 / eigenvalue."""
    num_rates: Annotated[int, Whole(2)] = 40
    """Learning rates from the lowest to just below heavy ball's edge, evenly spaced in the logarithm, a count."""
    steps: Annotated[int, Whole(100)] = 2000
    """Length of a run, steps; the first minimum lies at about pi / sqrt(learning rate)."""


PRESETS = {
    "quick": Config(),
    "full": Config(rhos=(0.9, 0.95, 0.99, 0.999), num_rates=160, steps=8000),
    "huge": Config(rhos=(0.9, 0.99, 0.999, 0.9999), lowest_rate=1e-6, num_rates=100, steps=20_000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row for each method and rho: the overshoot at each learning rate, from one program per rule."""
    problem = objectives.quadratic(np.ones(1), start=1.0)
    velocity = training.Probe("velocity", lambda seen: seen.state.velocity[0])
    rows = []
    for method, rule in (("heavy ball", rules.heavy_ball), ("Nesterov", rules.nesterov_lookahead)):
        rates = np.stack([_rates(config, method, rho) for rho in config.rhos])
        rhos = np.repeat(config.rhos, rates.shape[1])
        trace = training.run(problem, rule, {"learning_rate": rates.ravel(), "rho": rhos}, steps=config.steps,
                             probes=[training.loss(), training.coordinates(0), velocity])  # fmt: skip
        paths, diverged = trace["coordinates"][:, :, 0], np.array([not status.feasible for status in trace.status])
        rows += _rows(method, config.rhos, rates, paths, diverged)
        if method == "Nesterov":
            with np.errstate(over="ignore", invalid="ignore"):  # the diverged ones
                reported = paths + rhos[:, None] * trace["velocity"]
            rows += _rows("Nesterov, reported", config.rhos, rates, reported, diverged)
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The closed form in every cell; then what it says about sharp, flat and too steep directions."""
    found = [verdict for rho in config.rhos for verdict in _of_rho(rows.where(rho=rho))]
    slow = rows.where(rho=max(config.rhos))
    if theory.transients.overshoot(config.lowest_rate, 1.0, max(config.rhos), max(config.rhos)) > 0:
        found.append(_ratio("flat", slow[0], slow[1], config.lowest_rate))
    claim = (
        f"The point that libraries report for Nesterov overshoots by rho = {slow[2]['rho']:g} where x itself stops dead"
    )
    return [*found, absolute(claim, "overshoot of x + rho v at learning rate x eigenvalue = 1", slow[2]["rho"],
                             _at(slow[2], 1.0), 1e-10, unit="of the start",
                             reference="one step of the recursion by hand")]  # fmt: skip


def _of_rho(rows: Rows) -> list[Verdict]:
    (heavy, nesterov, _), rho = rows, rows[0]["rho"]
    stable = [np.isfinite(row["predicted"]) for row in rows]
    error = max(np.abs(row["overshoot"][at] - row["predicted"][at]).max() for row, at in zip(rows, stable, strict=True))
    edge, rates = _edge("Nesterov", rho), nesterov["learning_rate"]
    below, above = nesterov["overshoot"][rates <= 0.99 * edge], nesterov["overshoot"][rates >= 1.01 * edge]
    return [
        # Rounding of some thousand steps, each 1e-16 of a state of order 10; the closed form itself errs by as much.
        absolute(f"At rho = {rho:g} both methods overshoot by the closed form at every learning rate",
                 f"largest difference in {sum(at.sum() for at in stable)} runs", 0.0, float(error), 1e-10,
                 unit="of the start", reference=REFERENCE),
        _ratio("sharp", heavy, nesterov, SHARP),
        absolute(f"Nesterov at rho = {rho:g} diverges beyond 2 (1 + rho) / (1 + 2 rho) = {edge:.4f}",
                 "sides of the edge, within 1 %, on which every run agrees", 2,
                 int(np.isfinite(below).all()) + int(np.isinf(above).all()),
                 reference="Jury conditions of the two-step recursion"),
        # The oscillator is the limit of small steps: its error is about the step per period, sqrt(0.1) / 2 pi.
        absolute(f"Up to learning rate x eigenvalue = 0.1 both follow the damped oscillator at rho = {rho:g}",
                 "largest difference to exp(-pi z / sqrt(1 - z^2))", 0.0,
                 max(_off_the_oscillator(heavy, 0.0), _off_the_oscillator(nesterov, rho)), 0.02,
                 unit="of the start", reference="Shi, Du, Jordan, Su 2018"),
    ]  # fmt: skip


def _off_the_oscillator(row: Row, lookahead: float) -> float:
    gentle = row["learning_rate"] <= 0.1
    law = theory.transients.overshoot_of_oscillator(row["learning_rate"][gentle], 1.0, row["rho"], lookahead)
    return float(np.abs(row["overshoot"][gentle] - law).max())


def _ratio(kind: str, heavy: Row, nesterov: Row, rate: float) -> Verdict:
    rho = heavy["rho"]
    exact = theory.transients.overshoot(rate, 1.0, rho, rho) / theory.transients.overshoot(rate, 1.0, rho)
    # A ratio of two numbers that are right to 1e-10 each, the smaller above 0.01.
    how = "less than" if kind == "sharp" else "as much as"
    return relative(f"In a {kind} direction Nesterov overshoots {how} heavy ball",
                    f"ratio of overshoots at learning rate x eigenvalue = {rate:g}, rho = {rho:g}", float(exact),
                    _at(nesterov, rate) / _at(heavy, rate), 2e-8, reference=REFERENCE)  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Overshoot against learning rate, one panel a rho: lines from the closed form, dots from the engine."""
    figure, panels = maker.axes(len(config.rhos), 1, sharex=True, squeeze=False, height=3.1 * len(config.rhos))
    dense = np.geomspace(config.lowest_rate, 3.99, 800)
    for axes, rho in zip(panels[:, 0], config.rhos, strict=True):
        for color, row in enumerate(rows.where(rho=rho)):
            line, dashed = _predicted(row["method"], dense, rho), row["method"] == "Nesterov, reported"
            maker.predicted(axes, dense, np.where(dense < _edge(row["method"], rho), line, np.nan), color=color,
                            linestyle="--" if dashed else "-")  # fmt: skip
            maker.measured(axes, row["learning_rate"], np.where(np.isinf(row["overshoot"]), np.nan, row["overshoot"]),
                           color=color, markersize=3 if dashed else 4.5)  # fmt: skip
        edge = _edge("Nesterov", rho)
        axes.axvline(edge, color=maker.color(1), linewidth=0.9, linestyle=":")
        maker.label(axes, edge, 0.1, "Nesterov\ndiverges", color=1)
        maker.label(axes, edge, 0.55, "Nesterov as\nreported: x + rho v", color=2)
        for color, (method, rate, offset) in enumerate((("heavy ball", 0.02, 10), ("Nesterov", 0.4, -26))):
            axes.annotate(method, (rate, float(_predicted(method, np.array([rate]), rho)[0])), xytext=(-8, offset),
                          textcoords="offset points", ha="right", color=maker.color(color))  # fmt: skip
        axes.set(xscale="log", ylim=(-0.03, 1.3), ylabel="overshoot / start", xlim=(config.lowest_rate * 0.8, 14),
                 title=f"rho = {rho:g}")  # fmt: skip
    panels[-1, 0].set_xlabel("learning rate x eigenvalue")
    return figure


def caption(config: Config, rows: Rows) -> str:
    rho, slow, flat = config.rhos[0], max(config.rhos), config.lowest_rate
    first, last = rows.where(rho=rho), rows.where(rho=slow)
    heavy, nesterov = _at(last[0], flat), _at(last[1], flat)
    told = f", yet {nesterov / heavy:.2f} times it at {flat:g} (rho = {slow:g})" if heavy > 0 else ""
    return (
        f"Nesterov overshoots less only where the direction is sharp: {_at(first[1], SHARP) / _at(first[0], SHARP):.2f}"
        f" times heavy ball at learning rate x eigenvalue = {SHARP:g} (rho = {rho:g}){told}; beyond"
        f" {theory.stability.nesterov_edge(rho):.3f} it diverges, while heavy ball converges up to"
        f" {theory.stability.heavy_ball_edge(rho):.1f}."
    )


def _rows(
    method: str, rhos: tuple[float, ...], rates: np.ndarray, paths: np.ndarray, diverged: np.ndarray
) -> list[Row]:
    past = [np.inf if gone else theory.transients.overshoot_of_path(path)
            for path, gone in zip(paths, diverged, strict=True)]  # fmt: skip
    return [{"method": method, "rho": rho, "learning_rate": own, "overshoot": depths,
             "predicted": _predicted(method, own, rho)}
            for rho, own, depths in zip(rhos, rates, np.reshape(past, rates.shape), strict=True)]  # fmt: skip


def _rates(config: Config, method: str, rho: float) -> np.ndarray:
    """The grid, with the sharp and unit rates and the two brackets of the method's own edge put in."""
    grid = np.geomspace(config.lowest_rate, 0.98 * theory.stability.heavy_ball_edge(rho), config.num_rates)
    edge = _edge(method, rho)
    # Nearer to the edge than 1 % a run of `steps` steps cannot tell; such rates move onto the bracket.
    grid = np.where(np.abs(grid / edge - 1) < 0.01, 0.99 * edge, grid)
    return np.sort(np.concatenate([grid, [SHARP, 1.0, 0.99 * edge, 1.01 * edge]]))


def _edge(method: str, rho: float) -> float:
    law = theory.stability.heavy_ball_edge if method == "heavy ball" else theory.stability.nesterov_edge
    return float(law(rho))


def _predicted(method: str, rates: np.ndarray, rho: float) -> np.ndarray:
    if method == "Nesterov, reported":
        return theory.transients.overshoot_of_reported_point(rates, rho)
    return np.asarray(theory.transients.overshoot(rates, 1.0, rho, 0.0 if method == "heavy ball" else rho))


def _at(row: Row, rate: float) -> float:
    return float(row["overshoot"][np.argmin(np.abs(row["learning_rate"] - rate))])


if __name__ == "__main__":
    raise SystemExit(main())
