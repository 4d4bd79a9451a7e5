"""Which update rule is better on networks, once each is tuned as well as the others?

What the lecture says: momentum "helps for all of these problems", and "fancier, more powerful optimization algorithms"
are announced.

What is true: which rule is ahead depends on how long each was tuned, and on what it is judged by. `compare.compare`
gives every rule the same gradients a run, as many random trials in one space for all problems, selects on validation,
runs the winners again on ten fresh seeds, and claims a difference only at p < .01 after Holm's correction. With 12
trials and 200 gradients a run (quick) Adam is shown better than descent and heavy ball on the perceptron and the
transformer: a search as short finds a good rate for it more often. Trained on 300 examples instead of 500, and judged
by 60 instead of 100, that is not shown (p = .02, .01). With 32 trials and 400 gradients none of the 36 pairs of nine
rules is shown different on the perceptron: medians from .18 (AdamW, its winner at two edges of its space: inconclusive)
to .42 (heavy ball), and seeds that spread as far. Momentum is never shown better than descent with a tuned rate, as at
batch 32 it should not be (noise/`batch_size_map`); nor worse, though its medians are: a space that contains descent's
takes longer to search. The learning rates that reach the target span no more decades for Adam than for descent: .7 and
.8 in quick.

Quick compares three of the nine rules on two small networks; full has all nine rules and three networks.

Source: Shallue et al., Measuring the effects of data parallelism on neural network training, JMLR 2019 (momentum gains
nothing at small batches); Zhang et al., Why are adaptive methods good for attention models?, NeurIPS 2020; Schmidt,
Schneider and Hennig, Descending through a crowded valley, ICML 2021 (tuning matters as much as the rule).
"""

import dataclasses
from typing import Annotated, Any

import jax
import numpy as np

from jaxopt_lab import compare, problems, training
from jaxopt_lab.core import Problem, Verdict, require_count
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Rows, main
from jaxopt_lab.studies.fields import Count, Must, OneOf, Positive, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import absolute, at_most

SHALLUE = "Shallue et al. 2019, section 4.7"
PROTOCOL = "the protocol of compare.compare"
NETWORKS = ("digits-mlp", "digits-convnet", "text-transformer")
ALL_RULES = ("sgd", "heavy_ball", "nesterov", "adam", "adamw", "rmsprop", "adagrad", "muon", "schedule_free_adamw")
CLAIMED = Must(
    "hold sgd, heavy_ball and adam", lambda names: {"sgd", "heavy_ball", "adam"} <= set(names),
    why="The claims are about these.",
)  # fmt: skip


@configclass
class Config:
    """All that can change a number."""

    networks: Annotated[tuple[str, ...], OneOf(NETWORKS, name="a network")] = ("digits-mlp", "text-transformer")
    """Ready-made problems."""
    rules: Annotated[tuple[str, ...], OneOf(compare.CANDIDATES, name="a rule"), CLAIMED] = ("sgd", "heavy_ball", "adam")
    """Rules that are compared, with their default spaces; sgd, heavy_ball and adam among them."""
    baseline: str = "heavy_ball"
    """The rule whose own search sets the targets."""
    budget: Positive = 200.0
    """Gradients of each run."""
    num_trials: Annotated[int, Whole(2)] = 12
    """Trials of each rule's search on each problem."""
    num_final_seeds: Annotated[int, Whole(2)] = 10
    """Fresh seeds of the winners."""
    batch_size: Count = 32
    """Examples a step."""
    width: Annotated[int, Whole(2)] = 16
    """Units of each layer of the perceptron and the transformer; half as many channels."""
    num_examples: int = 500
    """Examples that are trained on."""
    num_held_out: Annotated[int, Whole(20)] = 200
    """Examples held out, half of which select and half are the test."""
    length: Count = 8
    """Characters that the transformer reads."""
    seed: Seed = 0
    """The first of all seeds."""
    dtype: str = "float32"
    """Of parameters and computation."""

    def __post_init__(self) -> None:
        require_count("rules_on_networks", "num_examples", self.num_examples, self.batch_size)


PRESETS = {
    "quick": Config(),
    "full": Config(
        NETWORKS, ALL_RULES, budget=500, num_trials=24, width=32, num_examples=1000, num_held_out=300, length=16
    ),
    "huge": Config(
        NETWORKS, ALL_RULES, budget=5000, num_trials=128, width=64, num_examples=1400, num_held_out=350, length=32
    ),
}


def run(config: Config, checkpoints: training.Checkpoints) -> list[dict[str, Any]]:
    """One row with the verdict; one a rule and problem with its ten seeds; one a pair of rules with what is claimed."""
    found = compare.compare(
        [_problem(config, name) for name in config.networks], list(config.rules), config.budget,
        num_trials=config.num_trials, num_final_seeds=config.num_final_seeds, batch_size=config.batch_size,
        seed=config.seed, protocol=compare.Protocol(config.baseline), out=checkpoints.folder,
    )  # fmt: skip
    rows: list[dict[str, Any]] = [{"kind": "verdict", "words": " ".join(line.strip() for line in found.verdict())}]
    for row in found.table():
        final_runs = found.results[row["problem"], row["rule"]].final_runs
        rows.append({
            "kind": "rule", "problem": row["problem"], "rule": row["rule"], "quality": np.array(row["seeds"]),
            "gradients": found.arrivals(row["problem"], row["rule"])[0],
            "start": np.full(config.num_final_seeds, np.nan) if final_runs is None else final_runs.curves["loss"][:, 0],
            "share_spent": 0.0 if final_runs is None else float(final_runs.spent.max()) / config.budget,
            "infeasible": row["infeasible"], "decades": row["good_decades"],
            "best_of_two": found.ladder(row["problem"], row["rule"])[1]["median"],
            "edges": ", ".join(f"{name} {end}" for name, end in row["edges"].items()),
            "settings": ", ".join(f"{name} = {value:.3g}" for name, value in row["hyperparameters"].items()),
        })  # fmt: skip
    for claim in found.pairs:
        names = {"problem": claim.problem, "measure": claim.measure, "first": claim.first, "second": claim.second}
        rows.append({"kind": "claim", **names, "p": claim.corrected, "outcome": claim.outcome, "words": str(claim)})
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """The comparison is fair in starts and gradients; momentum neither loses nor wins shown; Adam is found sooner."""
    shown, claims, text = rows.where(kind="rule"), _claims(rows), _of(rows, "text")
    starts = [runs["start"] for runs in shown.by("problem").values()]
    sooner = [runs.only(rule="adam")["best_of_two"] / runs.only(rule="sgd")["best_of_two"]
              for runs in shown.by("problem").values()]  # fmt: skip
    quality = {row["rule"]: float(np.median(row["quality"])) for row in text.where(kind="rule")}
    return [
        absolute("Every rule starts each fresh seed from the same parameters", "largest spread of the first loss", 0.0,
                 max(float(np.nanmax(np.ptp(start, 0) / start.mean(0))) for start in starts), 1e-6, unit="relative",
                 reference=PROTOCOL),
        at_most("No rule spends more gradients than the budget", "most gradients of a run, over the budget", 1.0,
                max(shown["share_spent"]), reference=PROTOCOL),
        at_most("Heavy ball contains descent, and tuned it does not lose to it", "problems on which it is shown worse",
                0, _shown(claims, "sgd", "heavy_ball"), unit="problems", reference=SHALLUE),
        at_most("At a small batch tuned momentum is not shown better than tuned descent on digits",
                "problems on which it is", 0, _shown(_of(claims, "digits"), "heavy_ball", "sgd"), unit="problems",
                reference=SHALLUE),
        at_most("A search of two trials does better with Adam than with descent, in spaces of five decades each",
                "largest ratio of the validation losses over the problems", 1.0, max(sooner),
                reference="Schmidt, Schneider and Hennig, ICML 2021"),
        *([at_most("On the transformer Adam ends below descent", "median test loss of Adam less that of descent", 0.0,
                   quality["adam"] - quality["sgd"], unit="nats", reference="Zhang et al. 2020")] if quality else []),
    ]  # fmt: skip


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """The test loss of every fresh seed, a panel a problem, the lowest median on top; colour says what is shown."""
    shown = rows.where(kind="rule").by("problem")
    figure, panels = maker.axes(len(shown), squeeze=False, height=(0.9 + 0.34 * len(config.rules)) * len(shown) + 0.4)
    for axes, (name, runs) in zip(panels[:, 0], shown.items(), strict=True):
        ordered = sorted(runs, key=lambda row: np.median(row["quality"]))
        claims = _claims(rows).where(problem=name, first=ordered[0]["rule"])
        outcomes = {row["second"]: row["outcome"] for row in claims}
        axes.set_yticks(range(len(ordered)), [row["rule"].replace("_", " ") for row in ordered])
        axes.set_ylim(len(ordered) - 0.4, -0.6)
        for place, row in enumerate(ordered):
            outcome = outcomes.get(row["rule"], "lowest median" + (", at an edge" if row["edges"] else ""))
            color = {"better": 1, "under-tuned": 1, "inconclusive, widen": 6}.get(outcome, 0)
            finite = row["quality"][np.isfinite(row["quality"])]
            maker.measured(axes, finite, np.full(len(finite), place), color=color, markersize=5, alpha=0.75)
            axes.plot(np.median(row["quality"]), place, "|", color=maker.color(color), markersize=16, markeredgewidth=2)
            told = {"better": "shown worse", "under-tuned": "shown worse: under-tuned"}.get(outcome, outcome)
            axes.annotate(told, (1.0, place), xycoords=("axes fraction", "data"), xytext=(6, 0),
                          textcoords="offset points", va="center", fontsize=11, color=maker.color(color))  # fmt: skip
        axes.set_title(name)
    panels[-1, 0].set_xlabel("test loss of the tuned rule, a dot a fresh seed")
    return figure


def caption(config: Config, rows: Rows) -> str:
    claims, said = _claims(rows), rows.only(kind="verdict")["words"].split(". ")[0]
    better = len(claims.where(outcome=_is_better))
    none = len(claims.where(outcome="no difference shown"))
    return (
        f"{said.rstrip('.')}: of {len(claims)} pairs a difference is shown in {better}, none in {none}, and"
        f" {len(claims) - better - none} are inconclusive."
    )


def _problem(config: Config, name: str) -> Problem:
    """A ready-made problem, small, with few examples held out."""
    options: dict[str, Any] = {
        "digits-convnet": {"width": max(config.width // 2, 1), "depth": 1},
        "digits-mlp": {"width": config.width},
        "text-transformer": {"width": config.width, "depth": 1, "num_heads": 2, "length": config.length},
    }[name]
    problem = problems.load_problem(name, num_examples=config.num_examples, dtype=config.dtype, **options)
    held_out = jax.tree.map(lambda leaf: leaf[: config.num_held_out], problem.validation)
    return dataclasses.replace(problem, name=name, validation=held_out)


def _claims(rows: Rows) -> Rows:
    """What is claimed of pairs of rules about their losses."""
    return rows.where(kind="claim", measure=lambda measure: measure != compare.GRADIENTS)


def _of(rows: Rows, problems_of: str) -> Rows:
    return rows.where(problem=lambda name: name.startswith(problems_of))


def _shown(claims: Rows, first: str, second: str) -> int:
    """Problems on which the first rule is shown better than the second."""
    return len(claims.where(first=first, second=second, outcome=_is_better))


def _is_better(outcome: str) -> bool:
    return outcome in ("better", "under-tuned")


if __name__ == "__main__":
    raise SystemExit(main())
