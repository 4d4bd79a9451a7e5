"""At which learning rate and momentum does a run converge, and how fast?

What the lecture says: a velocity with "friction constant, rho" helps, "0.9 is a common choice"; and at the ends of the
learning rate's range the "network is kind of blowing up".

What is true: along one eigenvector the pair (h = learning_rate * eigenvalue, rho) decides everything. Heavy ball
converges for 0 < h < 2 (1 + rho), Nesterov for h < 2 (1 + rho) / (1 + 2 rho), descent (rho = 0) for h < 2: momentum
nearly doubles heavy ball's edge and lowers Nesterov's. Between crawling and rippling lies critical damping,
rho = (1 - sqrt(h))^2; with more momentum heavy ball shrinks by sqrt(rho) a step, whatever the learning rate.

Source: Goh, Why momentum really works, Distill 2017; the Jury conditions of the two-step recursion.
"""

from collections.abc import Callable
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.reporting import FigureMaker, sliders
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Count, OpenUnit, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute

METHODS: dict[str, Callable[..., Any]] = {"heavy ball": rules.heavy_ball, "Nesterov": rules.nesterov}
HIGHEST_RATE = 4.2
EDGE_RHOS = (0.0, 0.5, 0.9, 0.99)
DAMPED_RATES = (0.01, 0.1)
SLIDER_RHOS = (0.0, 0.5, 0.75, 0.9, 0.98)
MARGIN = 0.01
REFERENCE = "Goh, Why momentum really works, Distill 2017"


@configclass
class Config:
    """All that can change a number. The eigenvalue is 1 and the run starts at rest from x = 1."""

    num_rates: Annotated[int, Whole(2)] = 48
    """Learning rates in (0, 4.2], in units of 1 / eigenvalue, evenly spaced: a count."""
    num_rhos: Annotated[int, Whole(2)] = 40
    """Momentum constants from 0 to the largest, evenly spaced: a count."""
    largest_rho: OpenUnit = 0.98
    """Largest momentum constant, a pure number below 1."""
    steps: Annotated[int, Whole(100)] = 2000
    """Length of a run, steps; a rate is read off the last half before the numbers leave float64's range."""
    every: Count = 4
    """Steps between records."""
    width: Count = 4096
    """Cells side by side in the one compiled program (K), a count."""

    def __post_init__(self) -> None:
        if self.steps < 30 * self.every:
            raise fail("phase_diagram", f"steps must be at least 30 times every, got {self.steps} and {self.every}")


PRESETS = {
    "quick": Config(),
    "full": Config(num_rates=128, num_rhos=128, largest_rho=0.99, steps=4000, every=4),
    "huge": Config(num_rates=256, num_rhos=256, largest_rho=0.99, steps=4000, every=8),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a method: the measured decay in every cell of the map, at the edges and along critical damping."""
    rates = HIGHEST_RATE * (np.arange(config.num_rates) + 0.5) / config.num_rates
    rhos = np.linspace(0, config.largest_rho, config.num_rhos)
    cells = np.stack(np.meshgrid(rates, rhos), axis=-1).reshape(-1, 2)
    damped = [(rate, rho) for rate in DAMPED_RATES for rho in _around_critical(rate)]
    rows = []
    for method, rule in METHODS.items():
        brackets = [(factor * _edge(method, rho), rho) for rho in EDGE_RHOS for factor in (1 - MARGIN, 1 + MARGIN)]
        decay = _measured_decay(config, rule, *np.concatenate([cells, brackets, damped]).T)
        on_map, at_edges, *along = np.split(decay, np.cumsum([len(cells), len(brackets), len(damped) // 2]))
        rows.append({
            "method": method, "learning_rate": rates, "rho": rhos,
            "effective_rate": rates / (1 - rhos[:, None]),
            "decay": on_map.reshape(config.num_rhos, config.num_rates),
            "predicted": theory.modes.decay_rate(rates, 1.0, rhos[:, None], _lookahead(method, rhos[:, None])),
            "decay_at_edges": at_edges.reshape(len(EDGE_RHOS), 2),
            "best_rho": [_around_critical(rate)[np.argmax(decays)]
                         for rate, decays in zip(DAMPED_RATES, along, strict=True)],
        })  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Converges or diverges, how fast, the three edges, and critical damping."""
    # Two roots closer than 1 / m look double to a fit over m ~ 500 steps, and then the slope is off by 1 / m.
    return [verdict for row in rows for verdict in _of_method(row)] + [
        absolute("Heavy ball is fastest at critical damping, rho = (1 - sqrt(learning rate x eigenvalue))^2",
                 f"best rho at learning rate x eigenvalue = {rate:g}", float(theory.modes.critical_rho(rate, 1.0)),
                 best, 0.005, reference=REFERENCE)
        for rate, best in zip(DAMPED_RATES, rows[0]["best_rho"], strict=True)
    ]  # fmt: skip


def _of_method(row: Row) -> list[Verdict]:
    method, kept, errors = row["method"], _away_from_edge(row), _relative_errors(row)
    below, above = row["decay_at_edges"].T
    formula = "2 (1 + rho)" if method == "heavy ball" else "2 (1 + rho) / (1 + 2 rho)"
    return [
        absolute(f"{method} converges and diverges where the formula says so",
                 f"share of {kept.sum()} cells further than {MARGIN:.0%} from the edge", 1.0,
                 ((row["decay"] > 0)[kept] == (row["predicted"] > 0)[kept]).mean(), reference=REFERENCE),
        # A fit over m steps errs by about 1 / m at a double root and by one ripple in the worst window: at a decay of
        # 0.01 to 1 a step and m = 100 to 1000, below 1 % in most cells.
        absolute(f"{method} converges at the predicted rate",
                 f"median relative error of the rate in {errors.size} converging cells", 0.0, float(np.median(errors)),
                 0.01, reference=REFERENCE),
        absolute(f"{method} converges at 0.99 and diverges at 1.01 of {formula}; at rho = 0 that is descent's 2",
                 f"brackets that hold, rho = {', '.join(map(str, EDGE_RHOS))}", 2 * len(EDGE_RHOS),
                 (below > 0).sum() + (above < 0).sum(), reference="Jury conditions of the two-step recursion"),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The measured factor per step as a map over learning rate and rho; the predicted edges as lines on it."""
    figure, panels = maker.axes(len(rows), 1, sharex=True, height=3.4 * len(rows))
    dense = np.linspace(0, 1, 200)
    for axes, row in zip(panels, rows, strict=True):
        factor = np.where(row["decay"] > 0, np.exp(-row["decay"]), np.nan)
        axes.set_facecolor("#e4e8ec")
        image = axes.pcolormesh(row["learning_rate"], row["rho"], factor, vmin=0, vmax=1, rasterized=True)
        axes.plot([_edge(row["method"], min(rho, 0.999999)) for rho in dense], dense, color=maker.color(1), linewidth=2)
        axes.set(xlim=(0, HIGHEST_RATE), ylim=(0, float(row["rho"][-1])), ylabel="rho",
                 title=f"{row['method']}: measured factor per step; grey diverges")  # fmt: skip
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
    agree = [np.mean((row["decay"] > 0) == (row["predicted"] > 0)) for row in rows]
    errors = [np.median(_relative_errors(row)) for row in rows]
    return (
        f"In {100 * min(agree):.1f} % or more of {sum(row['decay'].size for row in rows)} cells the run does what the"
        f" formula says (median error of the rate {100 * max(errors):.2g} %): momentum stretches heavy ball's range of"
        " learning rates from 2 towards 4 and shrinks Nesterov's towards 4/3."
    )


def slider(config: Config, rows: Rows) -> dict[str, Any]:
    """A line of the map: the factor per step against the learning rate, at one rho."""
    thin = slice(None, None, max(1, config.num_rates // 48))
    places = sorted({int(np.abs(rows[0]["rho"] - rho).argmin()) for rho in SLIDER_RHOS})
    return sliders.slider(
        "factor_per_step", x=sliders.axis("learning rate x eigenvalue", 0, HIGHEST_RATE),
        y=sliders.axis("factor per step", 0, 1),
        dots=[sliders.dots(f"{row['method']}, measured", row["learning_rate"][thin], np.exp(-row["decay"][k][thin]),
                           color=color, rho=float(row["rho"][k])) for color, row in enumerate(rows) for k in places],
    )  # fmt: skip


def facts(config: Config, rows: Rows) -> dict[str, Any]:
    return {"side by side (K)": config.width}


def _measured_decay(config: Config, rule: Callable[..., Any], rates: np.ndarray, rhos: np.ndarray) -> np.ndarray:
    """-slope of ln(amplitude) over the last half of each run; +inf where it hits zero within a few records."""
    state = training.Probe("state", lambda seen: jnp.stack([seen.params[0], seen.updates[0]]), needs=("updates",))
    trace = training.run(
        objectives.quadratic(np.ones(1), start=1.0), rule, {"learning_rate": rates, "rho": rhos}, steps=config.steps,
        every=config.every, probes=[training.loss(), state], params=jnp.ones(1),
        execution=training.Execution(width=config.width, segments=1),
        feasibility=training.Feasibility(blow_up=np.inf),  # growth has a rate as well: let it run up to 1e150
    )  # fmt: skip
    position, step = np.moveaxis(trace["state"], -1, 0)
    # The energy of a spring, 1/2 x^2 + 1/2 (step)^2 / rate, hardly ripples, where x alone passes through zero.
    amplitude = np.hypot(np.sqrt(rates)[:, None] * position, step)
    return np.array([-measures.log_slope(trace.steps, row) for row in amplitude])


def _lookahead(method: str, rhos: Any) -> Any:
    return rhos if method == "Nesterov" else 0.0


def _edge(method: str, rho: float) -> float:
    return float(theory.stability.two_step_edge(rho, _lookahead(method, rho)))


def _around_critical(rate: float) -> np.ndarray:
    return theory.modes.critical_rho(rate, 1.0) + np.linspace(-0.05, 0.05, 101)


def _away_from_edge(row: Row) -> np.ndarray:
    edges = np.array([_edge(row["method"], rho) for rho in row["rho"]])[:, None]
    return np.abs(row["learning_rate"] / edges - 1) > MARGIN


def _relative_errors(row: Row) -> np.ndarray:
    """Errors of the rate in converging cells away from the edge, but for those that reach zero in a few steps."""
    kept = _away_from_edge(row) & (row["predicted"] > 0) & np.isfinite(row["decay"]) & np.isfinite(row["predicted"])
    return np.abs(row["decay"][kept] / row["predicted"][kept] - 1)


if __name__ == "__main__":
    raise SystemExit(main())
