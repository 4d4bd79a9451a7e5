"""Does a low learning rate get stuck, and what does a high one do instead?

What the lecture asks: whether a low learning rate gets stuck; "in practice, that seems not to be much of a problem";
and that one may set the rate "maybe even a little bit lower than optimal".

What is true: a low rate is not stuck in loss. It reaches any loss, in steps that grow as one over the rate. But it
stays as sharp as it began. Two layers of n weights, f = u.v / sqrt(n), end where they started as long as lr lambda < 2;
between 2 and 4 the loss first grows, the sharpness lambda falls, and the run lands where lr lambda < 2 (the catapult);
above 4 it diverges. All 2 n weights follow two numbers exactly:

    f <- f (1 - lr lambda + lr^2 f^2 / n),      lambda <- lambda + lr (f^2 / n) (lr lambda - 4)

Source: Lewkowycz, Bahri, Dyer, Sohl-Dickstein, Gur-Ari 2020, arXiv 2003.02218.
"""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import Verdict, fail, judge, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, Study, main

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REFERENCE = "Lewkowycz et al. 2020, arXiv 2003.02218"
LECTURE = "CS231n 2017, lecture 7"


@dataclasses.dataclass(frozen=True)
class Config:
    """All that can change a number. The start's sharpness lambda is 1, so that a rate is also lr lambda."""

    width: int = 4096
    """Weights in a layer, n."""
    rates: tuple[float, ...] = (0.02, 0.1, 0.5, 1.0, 1.9, 2.5, 3.0, 3.5, 3.8, 4.2, 5.0)
    """Learning rates times the start's sharpness, increasing, some below 2, some between 2 and 4, some above 4."""
    num_seeds: int = 5
    """Starts a learning rate."""
    steps: int = 1500
    """Length of a run."""
    target: float = 1e-6
    """Loss over the first loss at which a low rate has arrived."""

    def __post_init__(self) -> None:
        where = "low_rate_and_catapult"
        require_count(where, "width", self.width, minimum=64)
        require_count(where, "num_seeds", self.num_seeds)
        require_count(where, "steps", self.steps)
        low, middle, high = (sum(a < rate < b for rate in self.rates) for a, b in ((0, 2), (2, 4), (4, np.inf)))
        if list(self.rates) != sorted(set(self.rates)) or min(low, middle, high) == 0:
            raise fail(where, f"rates must increase, with some below 2, some between 2 and 4, some above: {self.rates}")


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row a learning rate and seed."""
    problem = objectives.two_layers(config.width, sharpness=1.0)
    rates = np.repeat(config.rates, config.num_seeds)
    seeds = np.tile(np.arange(config.num_seeds), len(config.rates))
    trace = training.run(
        problem, rules.sgd, {"learning_rate": rates}, steps=config.steps, seeds=seeds, folder=checkpoints.of("descent")
    )
    first = {
        seed: np.asarray(problem.init(jax.random.fold_in(jax.random.key(seed), 0))) for seed in set(seeds.tolist())
    }
    rows = []
    for place, (rate, seed) in enumerate(zip(rates, seeds, strict=True)):
        loss = trace["loss"][place]
        arrived = np.flatnonzero(loss <= config.target * loss[0])
        predicted = _two_numbers(first[seed], rate, config.steps)
        rows.append(
            {
                "learning_rate": rate,
                "effective_rate": rate,
                "seed": seed,
                "sharpness": float(np.square(trace.params[place]).sum() / config.width),
                "predicted": predicted,
                "peak": float(np.nanmax(loss) / loss[0]),
                "arrival": int(arrived[0]) if len(arrived) else None,
                "loss": loss,
            }
        )
    return rows


def verdicts(config: Config, rows: Rows) -> list[Verdict]:
    """The low rates, the lazy phase, the catapult, and the two numbers that all weights follow."""
    lazy, catapult, lost = (
        [row for row in rows if low < row["learning_rate"] < high] for low, high in ((0, 2), (2, 4), (4, np.inf))
    )
    slowest = [row for row in lazy if row["learning_rate"] == lazy[0]["learning_rate"]]
    rate = slowest[0]["learning_rate"]
    expected = np.log(config.target) / (2 * np.log1p(-rate))
    steps = [row["arrival"] for row in slowest if row["arrival"] is not None]
    mean = float(np.mean(steps)) if len(steps) == len(slowest) else float("nan")
    kept = max((row["sharpness"] for row in lazy), key=lambda value: abs(value - 1))
    landed = max(catapult, key=lambda row: row["learning_rate"] * row["sharpness"])
    ended = [row for row in rows if np.isfinite(row["predicted"])]
    off = max(abs(row["sharpness"] / row["predicted"] - 1) for row in ended)
    return [
        judge("A low learning rate is not stuck: it arrives after ln(target) / (2 ln(1 - lr)) steps",
              f"mean steps to {config.target:g} of the first loss at lr = {rate:g}", float(expected), mean, 0.02,
              unit="steps", reference=LECTURE),
        # |f| starts at about 1: the sharpness moves by 4 f^2 / n at most.
        judge("Below lr sharpness = 2 a run stays as sharp as it began", "final sharpness, furthest from the start's",
              1.0, kept, 0.02, reference=REFERENCE),
        judge("Between 2 and 4 the loss first grows", "smallest of the largest losses over the first", 10.0,
              min(row["peak"] for row in catapult), 0.0, kind="at-least", reference=REFERENCE),
        judge("and the run lands where it is stable", "largest final lr times sharpness", 2.0,
              landed["learning_rate"] * landed["sharpness"], 0.0, kind="at-most", reference=REFERENCE),
        judge("Above 4 it diverges", "share of runs that end", 0.0,
              float(np.mean([np.isfinite(row["sharpness"]) for row in lost])), 0.0, kind="absolute",
              reference=REFERENCE),
        # Both run in float64; a catapult doubles rounding for a few dozen steps.
        judge(f"All {2 * config.width:,} weights follow two numbers",
              f"largest relative difference of {len(ended)} final sharpnesses", 1e-6, off, 0.0, kind="at-most",
              reference=REFERENCE),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> "Figure":
    """Final sharpness against learning rate; below, a lazy run's loss and a catapult's."""
    figure, (top, bottom) = maker.axes(2, height=7.0)
    ended = [row for row in rows if np.isfinite(row["sharpness"])]
    grid = np.linspace(2, 4, 100)
    maker.predicted(top, np.concatenate([[0, 2], grid]), np.concatenate([[1, 1], 2 / grid]))
    maker.measured(top, [r["learning_rate"] for r in ended], [r["sharpness"] for r in ended], color=1)
    top.axvline(4, color="grey", linewidth=0.8, linestyle=":")
    maker.label(top, 2.6, 0.85, "edge 2 / lr", color=0)
    maker.label(top, 4.05, 0.5, "diverges", color=1)
    top.set(
        xlim=(None, 4.6),
        ylim=(0, 1.15),
        xlabel="learning rate times the start's sharpness",
        ylabel="sharpness at the end",
    )
    top.set_title("Only a rate above the edge leaves the sharp start")
    high = next(r for r in rows if 2 < r["learning_rate"] < 4)
    low = [r for r in rows if r["learning_rate"] < 2]
    for index, row in enumerate((low[0], low[-1], high)):
        curve = row["loss"] / row["loss"][0]
        kept = curve > 1e-12
        maker.measured(bottom, np.flatnonzero(kept)[:200], curve[kept][:200], color=index)
        place = min(60, int(np.argmax(curve)) + 4) if row is high else 60
        maker.label(bottom, place, float(curve[place]) * 3, f"lr sharpness {row['learning_rate']:g}", color=index)
    bottom.set(yscale="log", ylim=(1e-9, None), xlabel="step", ylabel="loss over the first loss")
    bottom.set_title("A low rate is slow, not stuck; a high one is thrown off first")
    return figure


def caption(config: Config, rows: Rows) -> str:
    """The conclusion."""
    low, high = rows[0], max((row for row in rows if row["learning_rate"] < 4), key=lambda row: row["learning_rate"])
    return (
        f"At lr sharpness {low['learning_rate']:g} a run arrives after {low['arrival']} steps, as sharp as it began;"
        f" at {high['learning_rate']:g} its loss first grows {high['peak']:.2g} times, and it ends at"
        f" {high['sharpness']:.2f} of its sharpness."
    )


def _two_numbers(start: np.ndarray, rate: float, steps: int) -> float:
    """The final sharpness by the recursion of (f, lambda); NaN where it diverges."""
    first, second = np.split(start.astype(np.float64), 2)
    width = len(first)
    value, sharpness = float(first @ second) / np.sqrt(width), float(start @ start) / width
    for _ in range(steps):
        square = value**2 / width
        value, sharpness = (
            value * (1 - rate * sharpness + rate**2 * square),
            sharpness + rate * square * (rate * sharpness - 4),
        )
        if not np.isfinite(value) or abs(value) > 1e8:
            return float("nan")
    return sharpness


STUDY = Study(
    name="low_rate_and_catapult",
    question="Does a low learning rate get stuck, and what does a high one do instead?",
    lecture='A low rate that is stuck: "in practice, that seems not to be much of a problem".',
    truth="A low rate arrives late and as sharp as it began; a rate above the edge is thrown to a flatter place first.",
    reference=REFERENCE,
    config=Config,
    presets={
        "quick": Config(),
        "full": Config(width=65_536, num_seeds=20),
        "huge": Config(width=50_000_000, num_seeds=1, rates=(0.5, 1.9, 2.5, 3.5, 4.2), steps=200, target=1e-6),
    },
    run=run,
    judge=verdicts,
    draw=draw,
    caption=caption,
)

if __name__ == "__main__":
    raise SystemExit(main(STUDY))
