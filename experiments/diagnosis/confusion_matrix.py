"""Can a program tell from a short look at a run why it trains badly, and does its prescription gain what it promises?

What the lecture says: look at the loss curve, and change what looks wrong; nearly every trouble is laid to ill
conditioning, to saddles and local minima, or to noise, and momentum "helps for all of these problems".

What is true: the loss curve alone does not tell these troubles apart, and the cures differ: a curve that is flat can be
a saddle, a plateau, a minimum, noise, dead units, a vanishing signal, or a rate that is 1000 times too low; momentum
helps the first and the last of them, by its known factors, and none of the others. Curvature, noise and signals, which
are measured, tell them apart.

How it is tested: runs with a known fault are planted in five families of problems, from mild to severe, some with two
faults and some healthy (`planting`; each fault with the cure that makes its label true). `diagnose` sees the run
as a user would show it: problem, rule, point, batch size. Planting and diagnosing share no code beyond the public
package and were written apart. A case of two causes is right when either of them stands first, and among the first two
when one of them does. The prescription of a cause that was rightly named first is carried out in a paired run, and the
gain is compared with the predicted one.

Where the thresholds are from: theory, and problems that are not planted here (one-dimensional digits, wine, diabetes,
quadratics and saddles of their own). After a first count on seeds 0 and 1 (101 of 136 sick runs of quadratics and
regressions right) the reasons of the misses were looked at, there and on other seeds below 600, on 1000 to 1019 of
regressions and transformers and on 3000 to 3011 of convolutions, and the diagnosis was mended in what it measures:
against what a constant output earns, at the slope where a saddle should be, weight decay against the gradient. So the
present count is of cases whose kind has been seen; other kinds will do worse. Seeds from 4000 on were not looked at,
but for the misses among 9100 and 9101, 9300 to 9302, 9400 to 9402 and 9500 to 9502.

Source: the idea of planted truth is that of fault injection; Wilson 1927, Probable inference, for the intervals;
Spearman 1904 for the correlation of ranks.
"""

from collections.abc import Iterator
from typing import Annotated, Any

import jax
import numpy as np

import jaxopt_lab as lab
from experiments.diagnosis.planting import CAUSES, FAMILIES, Case, causes_of, plant
from jaxopt_lab.core import InputError, Verdict, require_choice
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main, measures
from jaxopt_lab.studies.fields import Between, Count, NotEmpty, Seed, Whole, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most

LECTURE = "CS231n 2017, lecture 7"
TOP_ONE, TOP_TWO, FALSE_ALARMS, RANKS = 0.95, 0.99, 0.02, 0.8


@configclass
class Config:
    """All that can change a number."""

    families: Annotated[tuple[str, ...], NotEmpty("family")] = tuple(FAMILIES)
    """Families of problems, of `planting.FAMILIES`."""
    causes: tuple[str, ...] = ()
    """What is planted; two causes at once are joined by "+". Nothing: all that a family can have."""
    severities: Annotated[tuple[float, ...], NotEmpty("severity"), Between("[0, 1]", name="a severity")] = (
        0.0,
        0.5,
        1.0,
    )
    """From 0, mild, to 1, severe; seeds take them in turn."""
    first_seed: Seed = 0
    """Seeds go up from here."""
    num_seeds: Count = 20
    """Runs of each family and cause."""
    num_proofs: Seed = 3
    """Of these, for how many the prescription is carried out."""
    proof_seeds: Annotated[int, Whole(2, why="One pair has no interval.")] = 3
    """Paired runs for each proof, at least 2."""
    seconds: float = 600.0
    """Wall seconds for one diagnosis: so many that the machine's load decides nothing."""
    dtype: str = "float32"
    """What arrays default to, as in practice."""

    def __post_init__(self) -> None:
        known = [cause for family in self.families for cause in causes_of(family)]
        for cause in self.causes:
            require_choice("confusion_matrix", "a cause", cause, known)


PRESETS = {
    "quick": Config(
        families=("quadratics", "regressions", "perceptrons"), severities=(0.5,), num_seeds=1,
        causes=("healthy", "ill-conditioned", "plateau", "gradient-noise", "learning-rate-too-low", "overfitting"),
    ),
    "full": Config(first_seed=4000),
    "huge": Config(first_seed=5000, num_seeds=300, num_proofs=15),
}  # fmt: skip


def run(config: Config) -> list[dict[str, Any]]:
    """One row a case: what was planted, what was found, and for some the gain of the prescription."""
    rows = []
    for family in config.families:
        rows += [_examined(config, case) for case in _cases(config, family)]
        if len(config.families) > 1:
            jax.clear_caches()  # a family's programs are of no use to the next one
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """How often the cause is named first, among the first two, how often health is called sick; and the gains."""
    sick, healthy, proved = rows.where(planted=_is_sick), rows.where(planted="healthy"), _proved(rows)
    first, second, right = (_hits(runs, place) for runs, place in ((sick, 1), (sick, 2), (healthy, 1)))
    alarms, found = len(healthy) - right, []
    if sick:
        found += [
            at_least("The fault that holds a run back is named first", f"share of {share_of(first, len(sick))}",
                     TOP_ONE, first / len(sick), reference=LECTURE),
            at_least("The fault is among the first two that are named", f"share of {share_of(second, len(sick))}",
                     TOP_TWO, second / len(sick), reference=LECTURE),
        ]  # fmt: skip
    if healthy:
        found.append(at_most("A healthy run is called healthy",
                             f"share of false alarms, {share_of(alarms, len(healthy))}", FALSE_ALARMS,
                             alarms / len(healthy), reference=LECTURE))  # fmt: skip
    if len(proved) > 2:
        found.append(at_least("What a prescription gains is what was predicted, in rank",
                              f"Spearman's correlation of {len(proved)} measured and predicted gains", RANKS,
                              _ranks(proved), reference="Spearman 1904"))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """What was planted against what was found, and below it measured gains against predicted ones."""
    figure, (top, bottom) = maker.axes(2, height=11.0, gridspec_kw={"height_ratios": [1.7, 1]})
    counts, names = _counts(rows)
    draw_counts(top, counts, names, names)
    top.set(
        xlabel="found first", ylabel="planted", title=f"{_hits(rows, 1)} of {len(rows)} runs are told apart rightly"
    )
    proved = _proved(rows)
    highest = 2 * max([2.0, *proved["predicted"], *proved["measured"]])
    maker.predicted(bottom, [0.8, highest], [0.8, highest])
    first = [_found(row)[0] for row in proved]
    for place, cause in enumerate(dict.fromkeys(first)):
        ours = Rows(row for row, name in zip(proved, first, strict=True) if name == cause)
        bottom.plot(ours["predicted"], ours["measured"], linestyle="none", marker="os^Dv<>P"[place // 7],
                    color=maker.color(place), label=cause, markersize=6)  # fmt: skip
    bottom.set(xscale="log", yscale="log", xlabel="predicted gain of the prescription", ylabel="measured gain")
    if proved:
        bottom.legend(loc="upper right", bbox_to_anchor=(1.0, -0.2), ncols=2)
        bottom.set_title(f"Gains agree in rank to {_ranks(proved):.2f}")
    return figure


def draw_counts(axes: Any, counts: np.ndarray, true: list[str], told: list[str]) -> None:
    """A table of counts [true, told], shaded by their share of the row."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(np.where(counts, shares, np.nan), cmap="Blues", vmin=-0.3, vmax=1.3, aspect="auto")
    for i, j in np.argwhere(counts):
        axes.text(j, i, str(counts[i, j]), ha="center", va="center",
                  color="white" if shares[i, j] > 0.6 else "black")  # fmt: skip
    axes.set_xticks(range(len(told)), told, rotation=90)
    axes.set_yticks(range(len(true)), true)
    axes.grid(visible=False)


def caption(config: Config, rows: Rows) -> str:
    sick, healthy, proved = rows.where(planted=_is_sick), rows.where(planted="healthy"), _proved(rows)
    parts = []
    if sick:
        first, second = (_hits(sick, place) / len(sick) for place in (1, 2))
        parts.append(f"of {len(sick)} sick runs the fault is named first in {first:.1%}, within two in {second:.1%}")
    if healthy:
        parts.append(f"{len(healthy) - _hits(healthy, 1)} of {len(healthy)} healthy runs are called sick")
    if len(proved) > 2:
        parts.append(f"measured and predicted gains agree in rank to {_ranks(proved):.2f}")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def facts(config: Config, rows: Rows) -> dict[str, Any]:
    """For each cause: cases, share named first and within two, and the rank correlation of its gains."""
    table = {}
    for cause, ours in rows.by("planted").items():
        proved = _proved(ours)
        table[cause] = {
            "cases": len(ours), "first": _hits(ours, 1) / len(ours), "within two": _hits(ours, 2) / len(ours),
            "gains": [[round(row["predicted"], 3), round(row["measured"], 3)] for row in proved],
            "ranks": _ranks(proved) if len(proved) > 2 else None,
        }  # fmt: skip
    return {"by_cause": table}


def _cases(config: Config, family: str) -> Iterator[Case]:
    for cause in causes_of(family):
        if config.causes and cause not in config.causes:
            continue
        for number in range(config.num_seeds):
            severity = config.severities[number % len(config.severities)]
            yield plant(family, cause, severity, config.first_seed + number)


def _examined(config: Config, case: Case) -> Row:
    diagnosis = lab.diagnose(
        case.problem, case.rule, params=case.params, steps=case.steps, batch_size=case.batch_size, seed=case.seed,
        seconds=config.seconds,
    )  # fmt: skip
    first, planted = diagnosis.findings[0], (case.cause, *case.also)
    row = {
        "planted": "+".join(planted), "family": case.family, "severity": case.severity,
        "seed": case.seed, "found": ", ".join(diagnosis.causes), "predicted": float(first.predicted_gain.value),
        "evidence": "; ".join(f"{reading.name} {reading.value:.3g}" for reading in first.evidence),
        "spent": float(diagnosis.spent), "seconds": float(diagnosis.seconds),
        "measured": np.nan, "low": np.nan, "high": np.nan, "unit": "", "not_proved": "",
    }  # fmt: skip
    wanted = case.seed < config.first_seed + config.num_proofs and case.cause != "healthy"
    return row | (_proof(config, case, first) if wanted and first.cause in planted else {})


def _proof(config: Config, case: Case, finding: Any) -> Row:
    try:
        proof = lab.diagnosis.prove(
            case.problem, case.rule, finding, params=case.params, batch_size=case.batch_size,
            seeds=tuple(range(case.seed, case.seed + config.proof_seeds)),
        )  # fmt: skip
    except InputError as error:  # a prescription that only a person can carry out
        return {"not_proved": str(error)}
    low, high = proof.measured.interval or (np.nan, np.nan)
    return {"predicted": float(proof.predicted.value), "measured": float(proof.measured.value), "low": float(low),
            "high": float(high), "unit": proof.unit}  # fmt: skip


def _is_sick(planted: str) -> bool:
    return planted != "healthy"


def _found(row: Row) -> list[str]:
    return row["found"].split(", ")


def _hits(rows: Rows, place: int) -> int:
    """In how many one of the planted causes is among the first `place` that were found."""
    return sum(bool(set(row["planted"].split("+")) & set(_found(row)[:place])) for row in rows)


def _proved(rows: Rows) -> Rows:
    return rows.where(measured=np.isfinite, predicted=np.isfinite)


def _ranks(proved: Rows) -> float:
    """Spearman's correlation; NaN, which fails a claim, where all gains are equal."""
    predicted, measured = proved["predicted"], proved["measured"]
    several = len(set(predicted)) > 1 and len(set(measured)) > 1
    return measures.rank_correlation(predicted, measured).value if several else float("nan")


def share_of(hits: int, num: int) -> str:
    """The count with the interval of its share, in words."""
    low, high = measures.share_interval(hits, num)
    return f"{hits} in {num}, 95 % interval {low:.3f} to {high:.3f}"


def _counts(rows: Rows) -> tuple[np.ndarray, list[str]]:
    """Cases by planted and found cause; a case of two causes stands in the row of the one that was found."""
    causes = list(dict.fromkeys([*CAUSES, *(_found(row)[0] for row in rows)]))  # more are known than are planted
    counts = np.zeros((len(causes), len(causes)), int)
    for row in rows:
        found, planted = _found(row)[0], row["planted"].split("+")
        counts[causes.index(found if found in planted else planted[0]), causes.index(found)] += 1
    used = np.flatnonzero(counts.sum(0) + counts.sum(1))
    return counts[np.ix_(used, used)], [causes[place] for place in used]


if __name__ == "__main__":
    raise SystemExit(main())
