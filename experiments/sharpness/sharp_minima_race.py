"""Does momentum skip sharp minima?

What the lecture says: with momentum SGD "actually skips over those very sharp minima", which "are actually bad minima".

What is true: in full batch it is the other way round. A minimum holds a run when its eigenvalue times the learning rate
is below the rule's edge, and heavy ball's edge, 2 (1 + rho), is higher than descent's, 2: at one learning rate heavy
ball stays in minima that descent leaves, and at one effective rate lr / (1 - rho) its edge is 19 times higher.
Nesterov's edge, 2 (1 + rho) / (1 + 2 rho), is the lower one: it does skip. What selects flat minima is a high
learning rate, or the noise of small batches (`batch_size_map`), not velocity.

Two wells race for a run that starts around the sharp one. Below the edge the velocity decides how many starts overshoot
into the flat well: that share is the probability of a set of starts on a line, which quadrature gives.

Source: Wu, Ma and E 2018, How SGD selects the global minima; the edges: Cohen et al. 2021, arXiv 2103.00065.
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

WU = "Wu, Ma and E 2018"
COHEN = "Cohen et al. 2021, arXiv 2103.00065"
METHODS = ("descent", "heavy ball", "Nesterov")


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. The sharp well lies at 0, the flat one at 2."""

    sharp: float = 25.0
    """Eigenvalue of the sharp well."""
    flat: float = 1.0
    """Eigenvalue of the flat well, below the sharp one."""
    spread: float = 0.3
    """Standard deviation of the starts around the sharp well, in units of the parameter."""
    rho: float = 0.9
    """Momentum, in (0, 1)."""
    products: tuple[float, ...] = (0.25, 0.5, 1.0, 1.3, 1.4, 1.75, 1.95, 2.05, 2.25, 3.0, 3.7, 3.9)
    """Learning rates times the sharp eigenvalue, increasing, below the flat well's edge."""
    equal: float = 2.25
    """The one of them at which the rules are compared, above descent's edge and below heavy ball's."""
    num_runs: int = 400
    """Runs a rule and learning rate, each from its own start."""
    steps: int = 800
    """Length of a run."""

    def __post_init__(self) -> None:
        where = "sharp_minima_race"
        require_positive(where, "sharp", self.sharp)
        require_between(where, "flat", self.flat, 0, self.sharp, ends="()")
        require_positive(where, "spread", self.spread)
        require_between(where, "rho", self.rho, 0, 1, ends="()")
        require_count(where, "num_runs", self.num_runs, minimum=2)
        require_count(where, "steps", self.steps)
        if list(self.products) != sorted(set(self.products)) or self.equal not in self.products:
            raise fail(where, f"products must increase and hold {self.equal}, got {self.products}")
        if not 2 < self.equal < theory.stability.heavy_ball_edge(self.rho):
            raise fail(where, f"equal must lie between the edges of descent and heavy ball, got {self.equal}")


def run(config: Config) -> list[dict[str, Any]]:
    """One row a rule: the share of runs that stay in the sharp well at each learning rate, and what quadrature says."""
    problem = objectives.two_wells((config.sharp, config.flat), (0.0, 2.0), spread=config.spread)
    products = np.array(config.products)
    rows = []
    for name in METHODS:
        rho, lookahead = _momentum(config, name)
        rule = {"descent": rules.sgd, "heavy ball": rules.heavy_ball, "Nesterov": rules.nesterov}[name]
        rates = np.repeat(products / config.sharp, config.num_runs)
        seeds = np.tile(np.arange(config.num_runs), len(products))
        trace = training.run(
            problem, rule, {"learning_rate": rates} | ({"rho": rho} if rho else {}), steps=config.steps,
            every=config.steps, seeds=seeds, execution=training.Execution(width=config.num_runs),
        )  # fmt: skip
        stays = np.abs(trace.params[:, 0]).reshape(len(products), -1) < 1e-3
        predicted = [_share(config, product / config.sharp, rho, lookahead) for product in products]
        rows.append(
            {
                "method": name,
                "rho": rho,
                "edge": float(theory.stability.two_step_edge(rho, lookahead)),
                "products": products,
                "learning_rate": products / config.sharp,
                "effective_rate": products / config.sharp / (1 - rho),
                "share": stays.mean(1),
                "predicted": np.array(predicted),
                "num_runs": config.num_runs,
            }
        )
    return rows


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """The edges of the three rules, the shares below them, and the comparison at one learning rate."""
    found = []
    for row in rows:
        held = row["share"] > 0
        last, inside = float(row["products"][held][-1]), row["products"] < row["edge"]
        expected = float(row["products"][inside][-1])
        source = COHEN if row["method"] == "Nesterov" else WU
        found.append(
            judge(f"The sharp minimum holds {row['method']} up to its edge, {row['edge']:.4g}",
                  "largest rate times eigenvalue tried at which a run stays", expected, last, 0.0, kind="absolute",
                  reference=source)
        )  # fmt: skip
        error = np.sqrt(row["predicted"] * (1 - row["predicted"]) / row["num_runs"])[inside]
        away = np.abs(row["share"] - row["predicted"])[inside] - 4 * error
        worst = int(np.argmax(away))
        found.append(
            judge(f"Below it the share of {row['method']}'s runs that stay is that of a set of starts",
                  f"share at {row['products'][inside][worst]:g}", float(row["predicted"][inside][worst]),
                  float(row["share"][inside][worst]), float(4 * error[worst]), kind="within", reference=WU)
        )  # fmt: skip
    place = config.products.index(config.equal)
    plain, heavy, nesterov = (float(row["share"][place]) for row in rows)
    return [
        *found,
        judge("Where descent leaves a sharp minimum, heavy ball stays at the same learning rate",
              f"share of heavy ball minus share of descent at {config.equal:g}", 0.25, heavy - plain, 0.0,
              kind="at-least", reference=WU),
        judge("Nesterov leaves it there", "share of Nesterov", 0.0, nesterov, 0.0, kind="absolute", reference=WU),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Share that stays against learning rate times sharpness, one curve a rule, its edge dashed."""
    figure, axes = maker.axes()
    products = np.linspace(0.1, config.products[-1] * 1.05, 80)
    for index, row in enumerate(rows):
        rho, lookahead = _momentum(config, row["method"])
        curve = [_share(config, product / config.sharp, rho, lookahead, points=1000) for product in products]
        maker.predicted(axes, products, np.array(curve), color=index)
        maker.measured(axes, row["products"], row["share"], color=index)
        axes.axvline(row["edge"], color=maker.color(index), linewidth=0.8, linestyle=":")
        maker.label(axes, row["edge"] - 0.62, 1.04, f"{row['method']}'s edge", color=index)
    axes.set(ylim=(0, 1.12), xlabel="learning rate times sharpness", ylabel="runs that stay in the sharp minimum")
    axes.set_title("Heavy ball keeps the sharpest minima")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    place = config.products.index(config.equal)
    plain, heavy, nesterov = (float(row["share"][place]) for row in rows)
    return (
        f"At {config.equal:g} over the sharp minimum's eigenvalue {heavy:.0%} of heavy ball's runs stay in it,"
        f" {plain:.0%} of descent's and {nesterov:.0%} of Nesterov's: velocity lets sharper minima hold a run."
    )


def _momentum(config: Config, name: str) -> tuple[float, float]:
    """(rho, lookahead) of a rule."""
    return {"descent": (0.0, 0.0), "heavy ball": (config.rho, 0.0), "Nesterov": (config.rho, config.rho)}[name]


def _share(config: Config, rate: float, rho: float, lookahead: float, points: int = 4000) -> float:
    """Probability of the starts from which a run ends at 0: the map iterated on an even number of starts, none at 0."""
    starts = np.linspace(-8, 8, points) * config.spread
    weights = np.exp(-0.5 * np.square(starts / config.spread))
    position, velocity = starts.copy(), np.zeros(points)
    for _ in range(config.steps):
        to_flat = position - 2.0
        in_sharp = config.sharp * np.square(position) < config.flat * np.square(to_flat)
        gradient = np.where(in_sharp, config.sharp * position, config.flat * to_flat)
        velocity = rho * velocity + gradient
        position = position - rate * (gradient + lookahead * velocity if lookahead else velocity)
    return float(weights[np.abs(position) < 1e-3].sum() / weights.sum())


STUDY = Study(
    name="sharp_minima_race",
    question="Does momentum skip sharp minima?",
    lecture='Momentum "actually skips over those very sharp minima".',
    truth="Heavy ball holds on to sharper minima than descent at one learning rate; Nesterov's method skips them.",
    reference=f"{WU}; {COHEN}",
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(num_runs=4000, steps=3000),
        "huge": Config(num_runs=100_000, steps=3000),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
