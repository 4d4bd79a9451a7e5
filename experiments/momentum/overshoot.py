"""Does momentum run past the minimum, and is Nesterov's version gentler?

What the lecture says: both overshoot the minimum, "because they're building up velocity", and Nesterov is "not
overshooting quite as drastically".

What is true: along one eigenvector everything hangs on h = learning_rate * eigenvalue. Where h is a good part of 1
(sharp directions) Nesterov overshoots far less; where h is far below the damping (1 - rho)^2 scale (flat ones) it
overshoots as much; above h = 2 (1 + rho) / (1 + 2 rho) it diverges, where heavy ball and even plain descent still
converge. And the point that libraries report for Nesterov, x + rho v, overshoots more than x: at h = 1 by rho.

Source: Shi, Du, Jordan and Su 2018 (high-resolution differential equations); the exact forms are derived from the
two-step recursion in `theory.transients.overshoot`.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail, judge, require_between, require_count, require_positive
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS = ("heavy ball", "Nesterov", "Nesterov, reported")
SHARP, FLAT = 0.9, 1e-4
REFERENCE = "Shi, Du, Jordan, Su 2018; two-step recursion"


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. The eigenvalue is 1 and the run starts at rest from x = 1."""

    rhos: tuple[float, ...] = (0.9, 0.99)
    """Momentum constants, pure numbers in [0.9, 1); each is one panel."""
    lowest_rate: float = FLAT
    """Smallest learning rate, in units of 1 / eigenvalue."""
    num_rates: int = 40
    """Learning rates from the lowest to just below heavy ball's edge, evenly spaced in the logarithm, a count."""
    steps: int = 2000
    """Length of a run, steps; the first minimum lies at about pi / sqrt(learning rate)."""

    def __post_init__(self) -> None:
        if not self.rhos:
            raise fail("overshoot", "rhos must hold at least one momentum constant, got none")
        for rho in self.rhos:
            require_between(
                "overshoot", "rhos", rho, 0.9, 1, ends="[)", why="The oscillator's law needs little damping."
            )
        require_positive("overshoot", "lowest_rate", self.lowest_rate)
        require_between("overshoot", "lowest_rate", self.lowest_rate, 0, 0.1, ends="(]")
        require_count("overshoot", "num_rates", self.num_rates, minimum=2)
        require_count("overshoot", "steps", self.steps, minimum=100)


def run(config: Config) -> list[dict[str, Any]]:
    """One row for each method and rho: the overshoot at each learning rate, from one program per rule."""
    problem = objectives.quadratic(np.ones(1), start=1.0)
    probes = [training.loss(), training.coordinates(0), training.Probe("velocity", _velocity)]
    rows = []
    for method, rule in (("heavy ball", rules.heavy_ball), ("Nesterov", rules.nesterov_lookahead)):
        rates = np.stack([_rates(config, method, rho) for rho in config.rhos])
        rhos = np.repeat(config.rhos, rates.shape[1])
        hyper = {"learning_rate": rates.ravel(), "rho": rhos}
        trace = training.run(problem, rule, hyper, steps=config.steps, probes=probes)
        paths, diverged = trace["coordinates"][:, :, 0], np.array([not status.feasible for status in trace.status])
        rows += _rows(method, config.rhos, rates, paths, diverged)
        if method == "Nesterov":
            with np.errstate(over="ignore", invalid="ignore"):  # the diverged ones
                reported = paths + rhos[:, None] * trace["velocity"]
            rows += _rows("Nesterov, reported", config.rhos, rates, reported, diverged)
    return rows


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """The closed form in every cell; then what it says about sharp, flat and too steep directions."""
    found = []
    for rho in config.rhos:
        heavy, nesterov = (_row(rows, method, rho) for method in ("heavy ball", "Nesterov"))
        found += [_closed_form(rows, rho), _ratio("sharp", heavy, nesterov, SHARP)]
        found += [_edge(nesterov), _oscillator(heavy, nesterov)]
    slow = max(config.rhos)
    heavy, nesterov, reported = (_row(rows, method, slow) for method in METHODS)
    if theory.transients.overshoot(config.lowest_rate, 1.0, slow, slow) > 0:
        found.append(_ratio("flat", heavy, nesterov, config.lowest_rate))
    return [*found, _reported(reported)]


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Overshoot against learning rate, one panel a rho: lines from the closed form, dots from the engine."""
    figure, panels = maker.axes(len(config.rhos), 1, sharex=True, squeeze=False, height=3.1 * len(config.rhos))
    for axes, rho in zip(panels[:, 0], config.rhos, strict=True):
        dense = np.geomspace(config.lowest_rate, 3.99, 800)
        for color, method in enumerate(METHODS):
            line = _predicted(method, dense, rho)
            shown = np.where(dense < _edge_of(method, rho), line, np.nan)
            dashed = method == "Nesterov, reported"
            maker.predicted(axes, dense, shown, color=color, linestyle="--" if dashed else "-")
            row = _row(rows, method, rho)
            maker.measured(axes, row["learning_rate"], np.where(np.isinf(row["overshoot"]), np.nan, row["overshoot"]),
                           color=color, markersize=3 if dashed else 4.5)  # fmt: skip
        edge = _edge_of("Nesterov", rho)
        axes.axvline(edge, color=maker.color(1), linewidth=0.9, linestyle=":")
        maker.label(axes, edge, 0.1, "Nesterov\ndiverges", color=1)
        maker.label(axes, edge, 0.55, "Nesterov as\nreported: x + rho v", color=2)
        _name_curve(axes, maker, "heavy ball", rho, 0.02, (-8, 10), "right")
        _name_curve(axes, maker, "Nesterov", rho, 0.4, (-8, -26), "right")
        axes.set(xscale="log", ylim=(-0.03, 1.3), ylabel="overshoot / start", xlim=(config.lowest_rate * 0.8, 14))
        axes.set_title(f"rho = {rho:g}")
    panels[-1, 0].set_xlabel("learning rate x eigenvalue")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    rho, slow, flat = config.rhos[0], max(config.rhos), config.lowest_rate
    sharp = _at(_row(rows, "Nesterov", rho), SHARP) / _at(_row(rows, "heavy ball", rho), SHARP)
    heavy, nesterov = (_at(_row(rows, method, slow), flat) for method in ("heavy ball", "Nesterov"))
    flat_words = f", yet {nesterov / heavy:.2f} times it at {flat:g} (rho = {slow:g})" if heavy > 0 else ""
    return (
        f"Nesterov overshoots less only where the direction is sharp: {sharp:.2f} times heavy ball at learning rate x"
        f" eigenvalue = {SHARP:g} (rho = {rho:g}){flat_words}; beyond {theory.stability.nesterov_edge(rho):.3f} it"
        f" diverges, while heavy ball converges up to {theory.stability.heavy_ball_edge(rho):.1f}."
    )


def _velocity(seen: training.Observation) -> Any:
    return seen.state.velocity[0]


def _rows(
    method: str, rhos: tuple[float, ...], rates: np.ndarray, paths: np.ndarray, diverged: np.ndarray
) -> list[dict[str, Any]]:
    past = [0.0 if gone else _first_depth(path) for path, gone in zip(paths, diverged, strict=True)]
    depths = np.where(diverged, np.inf, past).reshape(rates.shape)
    return [
        {
            "method": method,
            "rho": rho,
            "learning_rate": rates[k],
            "effective_rate": rates[k] / (1 - rho),
            "overshoot": depths[k],
            "predicted": _predicted(method, rates[k], rho),
        }
        for k, rho in enumerate(rhos)
    ]


def _rates(config: Config, method: str, rho: float) -> np.ndarray:
    """The grid, with the sharp and unit rates and the two brackets of the method's own edge put in."""
    grid = np.geomspace(config.lowest_rate, 0.98 * theory.stability.heavy_ball_edge(rho), config.num_rates)
    edge = _edge_of(method, rho)
    # Nearer to the edge than 1 % a run of `steps` steps cannot tell; such rates move onto the bracket.
    grid = np.where(np.abs(grid / edge - 1) < 0.01, 0.99 * edge, grid)
    return np.sort(np.concatenate([grid, [SHARP, 1.0, 0.99 * edge, 1.01 * edge]]))


def _edge_of(method: str, rho: float) -> float:
    return float(
        theory.stability.heavy_ball_edge(rho) if method == "heavy ball" else theory.stability.nesterov_edge(rho)
    )


def _first_depth(path: np.ndarray) -> float:
    """Minus the first local minimum of a path, 0 when it is not below zero."""
    rising = np.flatnonzero(np.diff(path) > 0)
    lowest = path[rising[0]] if rising.size else path[-1]
    return max(-float(lowest), 0.0)


def _predicted(method: str, rates: np.ndarray, rho: float) -> np.ndarray:
    lookahead = 0.0 if method == "heavy ball" else rho
    if method != "Nesterov, reported":
        return np.asarray(theory.transients.overshoot(rates, 1.0, rho, lookahead))
    # The reported point is x_k + rho (x_k - x_{k-1}); its first minimum is read off its exact path, mode by mode.
    inside = np.minimum(rates, 0.999 * theory.stability.nesterov_edge(rho))
    half_period = int(np.pi / np.sqrt(inside.min()))
    paths = theory.trajectories.mode_responses(inside, 1.0, 2 * half_period + 10, rho, lookahead)
    paths[1:] += rho * np.diff(paths, axis=0)
    depths = np.array([_first_depth(path) for path in paths.T])
    return np.where(rates < theory.stability.nesterov_edge(rho), depths, np.inf)


def _row(rows: Rows, method: str, rho: float) -> Any:
    return next(row for row in rows if row["method"] == method and row["rho"] == rho)


def _at(row: Any, rate: float) -> float:
    return float(row["overshoot"][np.argmin(np.abs(row["learning_rate"] - rate))])


def _closed_form(rows: Rows, rho: float) -> Verdict:
    error, count = 0.0, 0
    for row in (_row(rows, method, rho) for method in METHODS):
        stable = np.isfinite(row["predicted"])
        error = max(error, float(np.abs(row["overshoot"][stable] - row["predicted"][stable]).max()))
        count += int(stable.sum())
    # Rounding of some thousand steps, each 1e-16 of a state of order 10; the closed form itself errs by as much.
    return judge(
        f"At rho = {rho:g} both methods overshoot by the closed form at every learning rate",
        f"largest difference in {count} runs", 0.0, error, 1e-10, kind="absolute", unit="of the start",
        reference=REFERENCE,
    )  # fmt: skip


def _ratio(kind: str, heavy: Any, nesterov: Any, rate: float) -> Verdict:
    rho = heavy["rho"]
    exact = theory.transients.overshoot(rate, 1.0, rho, rho) / theory.transients.overshoot(rate, 1.0, rho)
    # A ratio of two numbers that are right to 1e-10 each, the smaller above 0.01.
    return judge(
        f"In a {kind} direction Nesterov overshoots {'less than' if kind == 'sharp' else 'as much as'} heavy ball",
        f"ratio of overshoots at learning rate x eigenvalue = {rate:g}, rho = {rho:g}",
        float(exact), _at(nesterov, rate) / _at(heavy, rate), 2e-8, reference=REFERENCE,
    )  # fmt: skip


def _edge(row: Any) -> Verdict:
    edge = _edge_of(row["method"], row["rho"])
    below = np.isfinite(row["overshoot"][row["learning_rate"] <= 0.99 * edge]).all()
    above = np.isinf(row["overshoot"][row["learning_rate"] >= 1.01 * edge]).all()
    # 1.0 when all runs up to 0.99 of the edge converge and all from 1.01 on diverge.
    return judge(
        f"Nesterov at rho = {row['rho']:g} diverges beyond 2 (1 + rho) / (1 + 2 rho) = {edge:.4f}",
        "sides of the edge, within 1 %, on which every run agrees", 2, int(below) + int(above), 0,
        kind="absolute", reference="Jury conditions of the two-step recursion",
    )  # fmt: skip


def _oscillator(*found: Any) -> Verdict:
    worst = 0.0
    for row in found:
        gentle = row["learning_rate"] <= 0.1
        lookahead = row["rho"] if row["method"] == "Nesterov" else 0.0
        law = theory.transients.overshoot_of_oscillator(row["learning_rate"][gentle], 1.0, row["rho"], lookahead)
        worst = max(worst, float(np.abs(row["overshoot"][gentle] - law).max()))
    # The oscillator is the limit of small steps: its error is of the order of the step per period, sqrt(0.1) / 2 pi.
    return judge(
        f"Up to learning rate x eigenvalue = 0.1 both follow the damped oscillator at rho = {found[0]['rho']:g}",
        "largest difference to exp(-pi z / sqrt(1 - z^2))", 0.0, worst, 0.02,
        kind="absolute", unit="of the start", reference="Shi, Du, Jordan, Su 2018",
    )  # fmt: skip


def _reported(row: Any) -> Verdict:
    return judge(
        f"The point that libraries report for Nesterov overshoots by rho = {row['rho']:g} where x itself stops dead",
        "overshoot of x + rho v at learning rate x eigenvalue = 1", row["rho"], _at(row, 1.0), 1e-10,
        kind="absolute", unit="of the start", reference="one step of the recursion by hand",
    )  # fmt: skip


def _name_curve(
    axes: Any, maker: FigureMaker, method: str, rho: float, rate: float, offset: tuple[int, int], side: str
) -> None:
    height = float(_predicted(method, np.array([rate]), rho)[0])
    color = maker.color(list(METHODS).index(method))
    axes.annotate(method, (rate, height), xytext=offset, textcoords="offset points", ha=side, color=color)


STUDY = Study(
    name="overshoot",
    question="Does Nesterov's momentum overshoot less than heavy ball?",
    lecture='Both overshoot "because they\'re building up velocity"; Nesterov "not overshooting quite as drastically".',
    truth=(
        "Much less where learning rate x eigenvalue is near 1, equally where it is small, and beyond"
        " 2 (1 + rho) / (1 + 2 rho) Nesterov diverges where heavy ball converges."
    ),
    reference=REFERENCE,
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(rhos=(0.9, 0.95, 0.99, 0.999), num_rates=160, steps=8000),
        "huge": Config(rhos=(0.9, 0.99, 0.999, 0.9999), lowest_rate=1e-6, num_rates=100, steps=20_000),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
