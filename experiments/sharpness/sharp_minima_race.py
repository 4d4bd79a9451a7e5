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

from typing import Annotated, Any

import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail, require_between
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Count, Increasing, OpenUnit, Positive, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, within

WU = "Wu, Ma and E 2018"
COHEN = "Cohen et al. 2021, arXiv 2103.00065"
METHODS = {  # the rule, and its (rho, lookahead) in units of rho
    "descent": (rules.sgd, (0.0, 0.0)),
    "heavy ball": (rules.heavy_ball, (1.0, 0.0)),
    "Nesterov": (rules.nesterov, (1.0, 1.0)),
}


@configclass
class Config:
    """All that can change a number. The sharp well lies at 0, the flat one at 2."""

    sharp: Positive = 25.0
    """Eigenvalue of the sharp well."""
    flat: Positive = 1.0
    """Eigenvalue of the flat well, below the sharp one."""
    spread: Positive = 0.3
    """Standard deviation of the starts around the sharp well, in units of the parameter."""
    rho: OpenUnit = 0.9
    """Momentum, in (0, 1)."""
    products: Annotated[tuple[float, ...], Increasing("increase", least=1)] = (
        0.25, 0.5, 1.0, 1.3, 1.4, 1.75, 1.95, 2.05, 2.25, 3.0, 3.7, 3.9,
    )  # fmt: skip
    """Learning rates times the sharp eigenvalue, increasing, below the flat well's edge."""
    equal: float = 2.25
    """The one of them at which the rules are compared, above descent's edge and below heavy ball's."""
    num_runs: Annotated[int, Whole(2)] = 400
    """Runs a rule and learning rate, each from its own start."""
    steps: Count = 800
    """Length of a run."""

    def __post_init__(self) -> None:
        where = "sharp_minima_race"
        require_between(where, "flat", self.flat, 0, self.sharp, ends="()")
        if self.equal not in self.products:
            raise fail(where, f"products must hold {self.equal}, got {self.products}")
        if not 2 < self.equal < theory.stability.heavy_ball_edge(self.rho):
            raise fail(where, f"equal must lie between the edges of descent and heavy ball, got {self.equal}")


PRESETS = {
    "quick": Config(),
    "full": Config(num_runs=4000, steps=3000),
    "huge": Config(num_runs=100_000, steps=3000),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a rule: the share of runs that stay in the sharp well at each learning rate, and what quadrature says."""
    problem = objectives.two_wells((config.sharp, config.flat), (0.0, 2.0), spread=config.spread)
    products, rows = np.array(config.products), []
    for method, (rule, momentum) in METHODS.items():
        rho, lookahead = (config.rho * share for share in momentum)
        hyper = {"learning_rate": np.repeat(products / config.sharp, config.num_runs)} | ({"rho": rho} if rho else {})
        trace = training.run(
            problem, rule, hyper, steps=config.steps, every=config.steps,
            execution=training.Execution(width=config.num_runs),
            seeds=np.tile(np.arange(config.num_runs), len(products)),
        )  # fmt: skip
        stays = np.abs(trace.params[:, 0]).reshape(len(products), -1) < 1e-3
        rows.append({
            "method": method, "rho": rho, "edge": float(theory.stability.two_step_edge(rho, lookahead)),
            "products": products, "learning_rate": products / config.sharp, "share": stays.mean(1),
            "predicted": _predicted(config, method, products), "num_runs": config.num_runs,
        })  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The edges of the three rules, the shares below them, and the comparison at one learning rate."""
    place = config.products.index(config.equal)
    plain, heavy, nesterov = (float(row["share"][place]) for row in rows)
    return [
        *(verdict for row in rows for verdict in _edge_and_share(row)),
        at_least("Where descent leaves a sharp minimum, heavy ball stays at the same learning rate",
                 f"share of heavy ball minus share of descent at {config.equal:g}", 0.25, heavy - plain, reference=WU),
        absolute("Nesterov leaves it there", "share of Nesterov", 0.0, nesterov, reference=WU),
    ]  # fmt: skip


def _edge_and_share(row: Any) -> list[Verdict]:
    inside = row["products"] < row["edge"]
    products, shares, predicted = (row[name][inside] for name in ("products", "share", "predicted"))
    error = np.sqrt(predicted * (1 - predicted) / row["num_runs"])
    worst = int(np.argmax(np.abs(shares - predicted) - 4 * error))
    return [
        absolute(f"The sharp minimum holds {row['method']} up to its edge, {row['edge']:.4g}",
                 "largest rate times eigenvalue tried at which a run stays", float(products[-1]),
                 float(row["products"][row["share"] > 0][-1]), reference=COHEN if row["method"] == "Nesterov" else WU),
        within(f"Below it the share of {row['method']}'s runs that stay is that of a set of starts",
               f"share at {products[worst]:g}", float(predicted[worst]), float(shares[worst]), float(error[worst]),
               reference=WU),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Share that stays against learning rate times sharpness, one curve a rule, its edge dashed."""
    figure, axes = maker.axes()
    products = np.linspace(0.1, config.products[-1] * 1.05, 80)
    for index, row in enumerate(rows):
        maker.predicted(axes, products, _predicted(config, row["method"], products, num_starts=1000), color=index)
        maker.measured(axes, row["products"], row["share"], color=index)
        axes.axvline(row["edge"], color=maker.color(index), linewidth=0.8, linestyle=":")
        maker.label(axes, row["edge"] - 0.62, 1.04, f"{row['method']}'s edge", color=index)
    axes.set(ylim=(0, 1.12), xlabel="learning rate times sharpness", ylabel="runs that stay in the sharp minimum",
             title="Heavy ball keeps the sharpest minima")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    plain, heavy, nesterov = (float(row["share"][config.products.index(config.equal)]) for row in rows)
    return (
        f"At {config.equal:g} over the sharp minimum's eigenvalue {heavy:.0%} of heavy ball's runs stay in it,"
        f" {plain:.0%} of descent's and {nesterov:.0%} of Nesterov's: velocity lets sharper minima hold a run."
    )


def _predicted(config: Config, method: str, products: np.ndarray, num_starts: int = 4000) -> np.ndarray:
    momentum = [config.rho * share for share in METHODS[method][1]]
    known = config.sharp, config.flat, config.spread, config.steps, *momentum
    stays = theory.wells.share_that_stays
    return np.array([stays(product / config.sharp, *known, num_starts=num_starts) for product in products])


if __name__ == "__main__":
    raise SystemExit(main())
