"""Does a low learning rate get stuck, and what does a high one do instead?

What the lecture says: a low learning rate may get stuck, but "in practice, that seems not to be much of a problem"; one
may set the rate "maybe even a little bit lower than optimal".

What is true: a low rate is not stuck in loss. It reaches any loss, in steps that grow as one over the rate. But it
stays as sharp as it began. Two layers of n weights, f = u.v / sqrt(n), end where they started as long as lr lambda < 2;
between 2 and 4 the loss first grows, the sharpness lambda falls, and the run lands where lr lambda < 2 (the catapult);
above 4 it diverges. All 2 n weights follow two numbers exactly (`theory.wells`).

Source: Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020, arXiv 2003.02218.
"""

from typing import Annotated, Any

import jax
import numpy as np

from jaxopt_lab import objectives, rules, theory, training
from jaxopt_lab.core import Verdict, fail
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Count, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, relative

REFERENCE = "Lewkowycz et al. 2020, arXiv 2003.02218"
LECTURE = "CS231n 2017, lecture 7"


@configclass
class Config:
    """All that can change a number. The start's sharpness lambda is 1, so that a rate is also lr lambda."""

    width: Annotated[int, Whole(64)] = 4096
    """Weights in a layer, n."""
    rates: tuple[float, ...] = (0.02, 0.1, 0.5, 1.0, 1.9, 2.5, 3.0, 3.5, 3.8, 4.2, 5.0)
    """Learning rates times the start's sharpness, increasing, some below 2, some between 2 and 4, some above 4."""
    num_seeds: Count = 5
    """Starts a learning rate."""
    steps: Count = 1500
    """Length of a run."""
    target: float = 1e-6
    """Loss over the first loss at which a low rate has arrived."""

    def __post_init__(self) -> None:
        some = [any(low < rate < high for rate in self.rates) for low, high in ((0, 2), (2, 4), (4, np.inf))]
        if list(self.rates) != sorted(set(self.rates)) or not all(some):
            told = f"rates must increase, with some below 2, some between 2 and 4, some above: {self.rates}"
            raise fail("low_rate_and_catapult", told)


PRESETS = {
    "quick": Config(),
    "full": Config(width=65_536, num_seeds=20),
    "huge": Config(width=50_000_000, num_seeds=1, rates=(0.5, 1.9, 2.5, 3.5, 4.2), steps=200, target=1e-6),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a learning rate and seed."""
    problem = objectives.two_layers(config.width, sharpness=1.0)
    rates = np.repeat(config.rates, config.num_seeds)
    seeds = np.tile(np.arange(config.num_seeds), len(config.rates))
    trace = training.run(problem, rules.sgd, {"learning_rate": rates}, steps=config.steps, seeds=seeds,
                         folder=checkpoints.of("descent"))  # fmt: skip
    starts = {seed: problem.init(jax.random.fold_in(jax.random.key(seed), 0)) for seed in range(config.num_seeds)}
    rows = []
    for params, loss, rate, seed in zip(trace.params, trace["loss"], rates, seeds.tolist(), strict=True):
        arrived = np.flatnonzero(loss <= config.target * loss[0])
        rows.append({
            "learning_rate": rate, "seed": seed, "loss": loss, "peak": float(np.nanmax(loss) / loss[0]),
            "sharpness": float(np.square(params).sum() / config.width),
            "predicted": _predicted(config, np.asarray(starts[seed], np.float64), rate),
            "arrival": int(arrived[0]) if len(arrived) else None,
        })  # fmt: skip
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The low rates, the lazy phase, the catapult, and the two numbers that all weights follow."""
    lazy, catapult, lost = (_between(rows, *ends) for ends in ((0, 2), (2, 4), (4, np.inf)))
    rate = lazy[0]["learning_rate"]
    expected = np.log(config.target) / (2 * np.log1p(-rate))
    arrivals = np.array(lazy.where(learning_rate=rate)["arrival"], float)  # one that has not arrived is NaN
    ended = rows.where(predicted=np.isfinite)
    return [
        relative("A low learning rate is not stuck: it arrives after ln(target) / (2 ln(1 - lr)) steps",
                 f"mean steps to {config.target:g} of the first loss at lr = {rate:g}", float(expected),
                 float(np.mean(arrivals)), 0.02, unit="steps", reference=LECTURE),
        # |f| starts at about 1: the sharpness moves by 4 f^2 / n at most.
        relative("Below lr sharpness = 2 a run stays as sharp as it began",
                 "final sharpness, furthest from the start's", 1.0, max(lazy["sharpness"], key=lambda at: abs(at - 1)),
                 0.02, reference=REFERENCE),
        at_least("Between 2 and 4 the loss first grows", "smallest of the largest losses over the first", 10.0,
                 min(catapult["peak"]), reference=REFERENCE),
        at_most("and the run lands where it is stable", "largest final lr times sharpness", 2.0,
                max(catapult["learning_rate"] * catapult["sharpness"]), reference=REFERENCE),
        absolute("Above 4 it diverges", "share of runs that end", 0.0, float(np.mean(np.isfinite(lost["sharpness"]))),
                 reference=REFERENCE),
        # Both run in float64; a catapult doubles rounding for a few dozen steps.
        at_most(f"All {2 * config.width:,} weights follow two numbers",
                f"largest relative difference of {len(ended)} final sharpnesses", 1e-6,
                max(abs(ended["sharpness"] / ended["predicted"] - 1)), reference=REFERENCE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """Final sharpness against learning rate; below, a lazy run's loss and a catapult's."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    ended = rows.where(sharpness=np.isfinite)
    grid = np.linspace(2, 4, 100)
    maker.predicted(top, np.concatenate([[0, 2], grid]), np.concatenate([[1, 1], 2 / grid]))
    maker.measured(top, ended["learning_rate"], ended["sharpness"], color=1)
    top.axvline(4, color="grey", linewidth=0.8, linestyle=":")
    maker.label(top, 2.6, 0.85, "edge 2 / lr", color=0)
    maker.label(top, 4.05, 0.5, "diverges", color=1)
    top.set(xlim=(None, 4.6), ylim=(0, 1.15), xlabel="learning rate times the start's sharpness",
            ylabel="sharpness at the end", title="Only a rate above the edge leaves the sharp start")  # fmt: skip
    low, high = _between(rows, 0, 2), _between(rows, 2, 4)[0]
    for index, row in enumerate((low[0], low[-1], high)):
        curve = row["loss"] / row["loss"][0]
        kept = curve > 1e-12
        maker.measured(bottom, np.flatnonzero(kept)[:200], curve[kept][:200], color=index)
        place = min(60, int(np.argmax(curve)) + 4) if row is high else 60
        maker.label(bottom, place, float(curve[place]) * 3, f"lr sharpness {row['learning_rate']:g}", color=index)
    bottom.set(yscale="log", ylim=(1e-9, None), xlabel="step", ylabel="loss over the first loss",
               title="A low rate is slow, not stuck; a high one is thrown off first")  # fmt: skip
    return figure


def caption(config: Config, rows: Rows) -> str:
    low, high = rows[0], max(_between(rows, 0, 4), key=lambda row: row["learning_rate"])
    return (
        f"At lr sharpness {low['learning_rate']:g} a run arrives after {low['arrival']} steps, as sharp as it began;"
        f" at {high['learning_rate']:g} its loss first grows {high['peak']:.2g} times, and it ends at"
        f" {high['sharpness']:.2f} of its sharpness."
    )


def _between(rows: Rows, low: float, high: float) -> Rows:
    return rows.where(learning_rate=lambda rate: low < rate < high)


def _predicted(config: Config, start: np.ndarray, rate: float) -> float:
    output = float(start[: config.width] @ start[config.width :]) / np.sqrt(config.width)
    sharpness = float(start @ start) / config.width
    return theory.wells.two_layers_sharpness(output, sharpness, config.width, rate, config.steps)


if __name__ == "__main__":
    raise SystemExit(main())
