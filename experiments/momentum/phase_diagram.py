"""At which learning rate and momentum does a run converge, and how fast?

What the lecture says: a velocity with "friction constant, rho" helps, "0.9 is a common choice"; and at the ends of the
learning rate's range the "network is kind of blowing up".

What is true: along one eigenvector the pair (h = learning_rate * eigenvalue, rho) decides everything. Heavy ball
converges for 0 < h < 2 (1 + rho), Nesterov for h < 2 (1 + rho) / (1 + 2 rho), descent (rho = 0) for h < 2: momentum
nearly doubles heavy ball's edge and lowers Nesterov's. Between crawling and rippling lies critical damping,
rho = (1 - sqrt(h))^2; with more momentum heavy ball shrinks by sqrt(rho) a step, whatever the learning rate.

Source: Goh, Why momentum really works, Distill 2017; the Jury conditions of the two-step recursion.
"""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail, judge, require_between, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METHODS: dict[str, Callable[..., Any]] = {"heavy ball": rules.heavy_ball, "Nesterov": rules.nesterov}
HIGHEST_RATE = 4.2
EDGE_RHOS = (0.0, 0.5, 0.9, 0.99)
DAMPED_RATES = (0.01, 0.1)
MARGIN = 0.01
SMALLEST = 1e-290
REFERENCE = "Goh, Why momentum really works, Distill 2017"


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. The eigenvalue is 1 and the run starts at rest from x = 1."""

    num_rates: int = 48
    """Learning rates in (0, 4.2], in units of 1 / eigenvalue, evenly spaced: a count."""
    num_rhos: int = 40
    """Momentum constants from 0 to the largest, evenly spaced: a count."""
    largest_rho: float = 0.98
    """Largest momentum constant, a pure number below 1."""
    steps: int = 2000
    """Length of a run, steps; a rate is read off the last half before the numbers leave float64's range."""
    every: int = 4
    """Steps between records."""
    width: int = 4096
    """Cells side by side in the one compiled program (K), a count."""

    def __post_init__(self) -> None:
        require_count("phase_diagram", "num_rates", self.num_rates, minimum=2)
        require_count("phase_diagram", "num_rhos", self.num_rhos, minimum=2)
        require_between("phase_diagram", "largest_rho", self.largest_rho, 0, 1, ends="()")
        require_count("phase_diagram", "steps", self.steps, minimum=100)
        require_count("phase_diagram", "every", self.every)
        require_count("phase_diagram", "width", self.width)
        if self.steps < 30 * self.every:
            raise fail("phase_diagram", f"steps must be at least 30 times every, got {self.steps} and {self.every}")


def run(config: Config) -> list[dict[str, Any]]:
    """One row a method: the measured decay in every cell of the map, at the edges and along critical damping."""
    rates = HIGHEST_RATE * (np.arange(config.num_rates) + 0.5) / config.num_rates
    rhos = np.linspace(0, config.largest_rho, config.num_rhos)
    rows = []
    for method, rule in METHODS.items():
        cells = np.stack(np.meshgrid(rates, rhos), axis=-1).reshape(-1, 2)
        brackets = [(factor * _edge(method, rho), rho) for rho in EDGE_RHOS for factor in (1 - MARGIN, 1 + MARGIN)]
        damped = [(rate, rho) for rate in DAMPED_RATES for rho in _around_critical(rate)]
        everything = np.concatenate([cells, brackets, damped])
        decay = _measured_decay(config, rule, *everything.T)
        ends = np.cumsum([len(cells), len(brackets)])
        on_map, at_edges, along = np.split(decay, ends)
        rows.append(
            {
                "method": method,
                "learning_rate": rates,
                "rho": rhos,
                "effective_rate": rates / (1 - rhos[:, None]),
                "decay": on_map.reshape(config.num_rhos, config.num_rates),
                "predicted": theory.modes.decay_rate(rates, 1.0, rhos[:, None], _lookahead(method, rhos[:, None])),
                "decay_at_edges": at_edges.reshape(len(EDGE_RHOS), 2),
                "best_rho": [
                    _around_critical(rate)[np.argmax(decays)]
                    for rate, decays in zip(DAMPED_RATES, np.split(along, len(DAMPED_RATES)), strict=True)
                ],
            }
        )
    return rows


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """Converges or diverges, how fast, the three edges, and critical damping."""
    found = []
    for row in rows:
        found += [_agreement(row), _rate_error(row), _edges(row)]
    return [*found, *_critical(rows[0])]


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """The measured factor per step as a map over learning rate and rho; the predicted edges as lines on it."""
    figure, panels = maker.axes(len(rows), 1, sharex=True, height=3.4 * len(rows))
    dense = np.linspace(0, 1, 200)
    for axes, row in zip(panels, rows, strict=True):
        factor = np.where(row["decay"] > 0, np.exp(-row["decay"]), np.nan)
        axes.set_facecolor("#e4e8ec")
        image = axes.pcolormesh(row["learning_rate"], row["rho"], factor, vmin=0, vmax=1, rasterized=True)
        edge = [_edge(row["method"], min(rho, 0.999999)) for rho in dense]
        axes.plot(edge, dense, color=maker.color(1), linewidth=2)
        axes.set(xlim=(0, HIGHEST_RATE), ylim=(0, float(row["rho"][-1])), ylabel="rho")
        axes.set_title(f"{row['method']}: measured factor per step; grey diverges")
        axes.grid(False)
        figure.colorbar(image, ax=axes, pad=0.01, fraction=0.05)
    heavy, nesterov = panels
    heavy.plot(dense, (1 - np.sqrt(dense)) ** 2, color="white", linestyle="--")
    heavy.text(0.5, 0.13, "critical damping\npredicted", color="white")
    heavy.text(2.75, 0.2, "edge predicted:\n2 (1 + rho)", color=maker.color(1))
    nesterov.text(2.0, 0.3, "edge predicted:\n2 (1 + rho) / (1 + 2 rho)", color=maker.color(1))
    nesterov.set_xlabel("learning rate x eigenvalue")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    cells = sum(row["decay"].size for row in rows)
    agree = [np.mean((row["decay"] > 0) == (row["predicted"] > 0)) for row in rows]
    errors = [np.median(_relative_errors(row)) for row in rows]
    return (
        f"In {100 * min(agree):.1f} % or more of {cells} cells the run does what the formula says (median error of the"
        f" rate {100 * max(errors):.2g} %): momentum stretches heavy ball's range of learning rates from 2 towards 4"
        " and shrinks Nesterov's towards 4/3."
    )


def _measured_decay(config: Config, rule: Callable[..., Any], rates: np.ndarray, rhos: np.ndarray) -> np.ndarray:
    """-slope of ln(amplitude) over the last half of each run; +inf where it hits zero within a few records."""
    problem = objectives.quadratic(np.ones(1), start=1.0)
    probe = training.Probe("state", _position_and_step, needs=("updates",))
    trace = training.run(
        problem,
        rule,
        {"learning_rate": rates, "rho": rhos},
        steps=config.steps,
        every=config.every,
        probes=[training.loss(), probe],
        params=jnp.ones(1),
        execution=training.Execution(width=config.width, segments=1),
        feasibility=training.Feasibility(blow_up=np.inf),  # growth has a rate as well: let it run up to 1e150
    )
    position, step = np.moveaxis(trace["state"], -1, 0)
    # The energy of a spring, 1/2 x^2 + 1/2 (step)^2 / rate, hardly ripples, where x alone passes through zero.
    amplitude = np.hypot(np.sqrt(rates)[:, None] * position, step)
    return np.array([-_slope(trace.steps, row) for row in amplitude])


def _position_and_step(seen: training.Observation) -> jax.Array:
    return jnp.stack([seen.params[0], seen.updates[0]])


def _slope(steps: np.ndarray, amplitude: np.ndarray) -> float:
    """Least-squares slope of ln(amplitude) over the last half of what float64 can hold."""
    with np.errstate(invalid="ignore"):
        outside = np.flatnonzero(~((amplitude > SMALLEST) & (amplitude < 1 / SMALLEST)))
    end = outside[outside > 0][0] if (outside > 0).any() else len(steps)
    if end < 4:
        return -np.inf if amplitude[min(end, len(steps) - 1)] < 1 else np.inf
    window = slice(max(end // 2, 1), end)
    return float(np.polyfit(steps[window], np.log(amplitude[window]), 1)[0])


def _lookahead(method: str, rhos: Any) -> Any:
    return rhos if method == "Nesterov" else 0.0


def _edge(method: str, rho: float) -> float:
    return float(theory.stability.two_step_edge(rho, _lookahead(method, rho)))


def _around_critical(rate: float) -> np.ndarray:
    return theory.modes.critical_rho(rate, 1.0) + np.linspace(-0.05, 0.05, 101)


def _away_from_edge(row: Any) -> np.ndarray:
    edges = np.array([_edge(row["method"], rho) for rho in row["rho"]])[:, None]
    return np.abs(row["learning_rate"] / edges - 1) > MARGIN


def _relative_errors(row: Any) -> np.ndarray:
    """Errors of the rate in converging cells away from the edge, but for those that reach zero in a few steps."""
    kept = _away_from_edge(row) & (row["predicted"] > 0)
    kept &= np.isfinite(row["decay"]) & np.isfinite(row["predicted"])
    return np.abs(row["decay"][kept] / row["predicted"][kept] - 1)


def _agreement(row: Any) -> Verdict:
    kept = _away_from_edge(row)
    right = (row["decay"] > 0)[kept] == (row["predicted"] > 0)[kept]
    return judge(
        f"{row['method']} converges and diverges where the formula says so",
        f"share of {kept.sum()} cells further than {MARGIN:.0%} from the edge", 1.0, right.mean(), 0,
        kind="absolute", reference=REFERENCE,
    )  # fmt: skip


def _rate_error(row: Any) -> Verdict:
    errors = _relative_errors(row)
    # A fit over m steps errs by about 1 / m at a double root and by one ripple in the worst window: at a decay of 0.01
    # to 1 a step and m = 100 to 1000, below 1 % in most cells.
    return judge(
        f"{row['method']} converges at the predicted rate",
        f"median relative error of the rate in {errors.size} converging cells", 0.0, float(np.median(errors)), 0.01,
        kind="absolute", reference=REFERENCE,
    )  # fmt: skip


def _edges(row: Any) -> Verdict:
    below, above = row["decay_at_edges"].T
    right = (below > 0).sum() + (above < 0).sum()
    formula = "2 (1 + rho)" if row["method"] == "heavy ball" else "2 (1 + rho) / (1 + 2 rho)"
    return judge(
        f"{row['method']} converges at 0.99 and diverges at 1.01 of {formula}; at rho = 0 that is descent's 2",
        f"brackets that hold, rho = {', '.join(map(str, EDGE_RHOS))}", 2 * len(EDGE_RHOS), right, 0,
        kind="absolute", reference="Jury conditions of the two-step recursion",
    )  # fmt: skip


def _critical(row: Any) -> list[Verdict]:
    # Two roots closer than 1 / m look double to a fit over m ~ 500 steps, and then the slope is off by 1 / m.
    return [
        judge(
            "Heavy ball is fastest at critical damping, rho = (1 - sqrt(learning rate x eigenvalue))^2",
            f"best rho at learning rate x eigenvalue = {rate:g}", float(theory.modes.critical_rho(rate, 1.0)), best,
            0.005, kind="absolute", reference=REFERENCE,
        )
        for rate, best in zip(DAMPED_RATES, row["best_rho"], strict=True)
    ]  # fmt: skip


STUDY = Study(
    name="phase_diagram",
    question="At which learning rate and momentum does a run converge, and how fast?",
    lecture='"0.9 is a common choice" of rho; at the ends of its range the learning rate is "kind of blowing up".',
    truth=(
        "Heavy ball converges below learning rate x eigenvalue = 2 (1 + rho), Nesterov below 2 (1 + rho) / (1 + 2 rho);"
        " past critical damping heavy ball shrinks by sqrt(rho) a step."
    ),
    reference=REFERENCE,
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(num_rates=128, num_rhos=128, largest_rho=0.99, steps=4000, every=4),
        "huge": Config(num_rates=256, num_rhos=256, largest_rho=0.99, steps=4000, every=8),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
    facts=lambda config, rows: {"side by side (K)": config.width},
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
