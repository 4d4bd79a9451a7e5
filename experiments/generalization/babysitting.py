"""What do the curves of loss and validation tell about a run, and what do they not?

What the lecture says: "you should probably be looking at your loss curves during training"; when "my validation set
performance kind of plateaus" something is to be changed.

What is true: a curve tells that a run diverges and that it overfits, and not why it is slow. Two runs of known causes,
a rate a thousand times too low and a condition number of a thousand, have the same curve to the last digits: (1 - lr
lambda)^2k knows only the product. Their cures differ, and what is measured beside the curve tells them apart. A rule of
thumb on curves, with the answers that are commonly given (still falling: raise the rate; flat: a bad start; a gap:
regularize; it climbs: lower the rate), is right where a run diverges, and wrong about most of the causes of a flat or
slow curve, as one answer cannot be right for several. `diagnose` of a logged curve alone keeps silent about them.

Source: the recursion x <- (1 - lr lambda) x; the planted causes are those of diagnosis/confusion_matrix, where
`diagnose` with the problem in hand is counted on all of them.
"""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np

import jaxopt_lab as lab
from experiments.diagnosis.planting import plant
from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import Problem, Verdict
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Between, Count, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most

RECURSION, PLANTED = "x <- (1 - lr lambda) x", "planted causes"
DIVERGES = ("learning-rate-too-high", "non-finite")
SLOW = ("learning-rate-too-low", "ill-conditioned", "plateau", "underfitting", "local-minimum", "unnormalized-inputs")
OTHERS = ("healthy", "overfitting", "gradient-noise", "bad-initialization")
SILENT = ("nothing-found", "schedule")


@configclass
class Config:
    """All that can change a number."""

    ratio: Annotated[float, Between("[10, 1e5]")] = 1e3
    """By how much the rate is too low in one twin, and the condition number of the other."""
    dim: Annotated[int, Whole(4)] = 50
    """Parameters of the twins."""
    steps: Annotated[int, Whole(40)] = 200
    """Steps of a curve, recorded every fifth."""
    num_seeds: Count = 1
    """Runs of each planted cause."""
    seed: Seed = 300
    """Seeds go up from here; the rule of thumb was written on 700."""


PRESETS = {"quick": Config(), "full": Config(num_seeds=20)}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a twin, one a planted run."""
    seeds = range(config.seed, config.seed + config.num_seeds)
    return _twins(config) + [_curve(config, cause, seed) for cause in (*DIVERGES, *SLOW, *OTHERS) for seed in seeds]


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """Twins have one curve and two causes; what the rule of thumb gets right; what a logged curve is said to show."""
    low, ill = rows.where(kind="twin")
    curves = rows.where(kind="curve")
    diverged, slow = (curves.where(planted=lambda cause, group=group: cause in group) for group in (DIVERGES, SLOW))
    return [
        # both are products of the same factors, taken in another order
        at_most("A rate too low and a bad condition number have the same curve", "largest relative difference", 1e-9,
                float(np.max(np.abs(low["loss"] / ill["loss"] - 1))), reference=RECURSION),
        absolute("What is measured beside the curve tells the two apart", "twins named rightly", 2.0,
                 float(sum(row["found"] == row["planted"] for row in (low, ill))), reference=PLANTED),
        at_least("That a run diverges is seen", "share that the rule of thumb names", 1.0,
                 _share(diverged, "thumb", DIVERGES), reference=PLANTED),
        # an answer for all that is slow can be right for one of the six causes in equal numbers; half leaves room
        at_most("Why a run is slow is not", "share of slow runs whose cause the rule of thumb names", 0.5,
                float(np.mean([row["thumb"] == row["planted"] for row in slow])), reference=PLANTED),
        at_least("The diagnosis of a logged curve alone keeps silent about it", "share of slow runs left open", 0.9,
                 _share(slow, "logged", SILENT), reference=PLANTED),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The curves that are alike, then the table of what was planted against what the rule of thumb says."""
    from experiments.diagnosis.confusion_matrix import draw_counts

    figure, (top, bottom) = maker.axes(2, height=9.4, gridspec_kw={"height_ratios": [1, 1.7]})
    low, ill = rows.where(kind="twin")
    maker.predicted(top, low["step"], low["loss"], label="rate\ntoo low")
    maker.measured(top, ill["step"], ill["loss"], color=1, label="")
    middle = len(ill["loss"]) // 2
    maker.label(top, ill["step"][middle], 1.04 * ill["loss"][middle], "ill-conditioned", color=1)
    top.set(
        xlim=(0, 1.2 * config.steps),
        ylim=(0.94 * low["loss"][-1], None),
        xlabel="step",
        ylabel="loss",
        title="Two causes, one curve",
    )
    curves = rows.where(kind="curve")
    names = list(dict.fromkeys([*curves["planted"], *curves["thumb"]]))
    counts = np.zeros((len(names), len(names)), int)
    for row in curves:
        counts[names.index(row["planted"]), names.index(row["thumb"])] += 1
    used = np.flatnonzero(counts.sum(0))
    told = [names[place] for place in used]
    draw_counts(bottom, counts[:, used], names, told)
    bottom.set(
        xlim=(-0.5, len(told) - 0.5),
        xlabel="what a rule of thumb says",
        ylabel="planted",
        title="Divergence is told, slowness is not",
    )
    return figure


def caption(config: Config, rows: Rows) -> str:
    curves = rows.where(kind="curve")
    slow = curves.where(planted=lambda cause: cause in SLOW)
    right = sum(row["thumb"] == row["planted"] for row in slow)
    return (
        f"A rate {config.ratio:g} times too low and a condition number of {config.ratio:g} give the same curve; a rule"
        f" of thumb names the cause of {right} of {len(slow)} slow runs, and of"
        f" {sum(_right(row) for row in curves)} of {len(curves)} in all."
    )


def _right(row: Row) -> bool:
    both = row["planted"] in DIVERGES and row["thumb"] in DIVERGES
    return both or row["thumb"] == row["planted"]


def _share(rows: Rows, name: str, answers: tuple[str, ...]) -> float:
    return float(np.mean([row[name] in answers for row in rows]))


def _twins(config: Config) -> list[Row]:
    """One rate for one eigenvalue, too low; and a rate for the largest of two, of a start along the smallest."""
    flat = objectives.quadratic(np.ones(config.dim), start=1.0)
    eigenvalues = np.r_[np.ones(config.dim // 2), np.full(config.dim - config.dim // 2, 1 / config.ratio)]
    start = np.where(eigenvalues < 1, (config.ratio * config.dim / (config.dim - config.dim // 2)) ** 0.5, 0.0)
    ill = objectives.quadratic(eigenvalues, start=start)
    planted = (("learning-rate-too-low", flat, 1 / config.ratio), ("ill-conditioned", ill, 1.0))
    return [_twin(config, *each) for each in planted]


def _twin(config: Config, cause: str, problem: Problem, rate: float) -> Row:
    trace = training.run(problem, rules.sgd, {"learning_rate": rate}, steps=config.steps, every=5)
    found = lab.diagnose(problem, rules.sgd(rate), steps=30, seconds=600.0).causes[0]
    return {"kind": "twin", "planted": cause, "learning_rate": rate, "step": np.asarray(trace.steps),
            "loss": trace["loss"][0], "found": found}  # fmt: skip


def _curve(config: Config, cause: str, seed: int) -> Row:
    """A planted run's curves, and what they are said to show: by the rule of thumb, and by `diagnose` of the log."""
    case = plant("regressions", cause, 0.5, seed)
    held = [] if case.problem.validation is None else [training.validation_loss()]
    trace = training.run(case.problem, case.rule, steps=config.steps, params=case.params, batch_size=case.batch_size,
                         seeds=case.seed, every=5, probes=[training.loss(), *held])  # fmt: skip
    loss = trace["loss"][0]
    validation = trace["validation_loss"][0] if held else np.full_like(loss, np.nan)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curve.jsonl"
        lines = [json.dumps({"loss": float(one)} | ({"val_loss": float(other)} if held else {}))
                 for one, other in zip(loss, validation, strict=True)]  # fmt: skip
        path.write_text("\n".join(lines))
        logged = lab.diagnose(log=path).causes[0]
    return {"kind": "curve", "planted": cause, "seed": seed, "loss": loss, "validation": validation, "logged": logged,
            "thumb": rule_of_thumb(loss, validation)}  # fmt: skip


def rule_of_thumb(loss: np.ndarray, validation: np.ndarray) -> str:
    """The usual answers to a curve of the training and one of the validation loss, of NaN where there is none."""
    first, tail = float(loss[0]), loss[-max(1, len(loss) // 10) :]
    if not np.isfinite(loss).all() or np.median(tail) > 1.1 * first:
        return "learning-rate-too-high"
    if validation[-1] > 1.5 * np.median(tail):
        return "overfitting"
    fallen = 1 - np.median(tail) / first
    if np.std(np.diff(loss)) > 0.05 * first and fallen < 0.5:
        return "gradient-noise"
    if fallen < 0.05:
        return "bad-initialization"
    late = float(np.median(loss[-2 * len(tail) : -len(tail)]) - np.median(tail))
    return "learning-rate-too-low" if late > 0.02 * (first - np.median(tail)) else "healthy"


if __name__ == "__main__":
    raise SystemExit(main())
