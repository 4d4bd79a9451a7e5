"""Does the diagnosis name what people really had wrong, in programs that nobody made to be diagnosed?

What the lecture says: look at the loss, and sanity-check: the loss at the start, twenty examples that must be fitted, a
regularization that must raise it.

What is true: of the faults that people report, four in ten are in activation, loss and preprocessing, and an eighth in
optimization proper (Humbatova et al. 2020). A loss curve shows none of them; interventions on the program do: outputs
that are free, neighbours that are exchanged, labels that a probe cannot predict, a rule that is asked twice.

How it is tested: faults that were reported with a number (`field`), each rebuilt small, sick and mended, beside sound
programs that look suspicious. The true cause counts as named first, and among the first two; a sick program that is
called healthy and a sound one that is called sick are counted apart. Where asked, the first prescription that a program
can carry out is carried out, and the score on validation data is compared with that of the mended program.

Where the thresholds are from: theory, the planted cases, and the kinds in `field.data`, `field.outputs` and
`field.rules` with seed 0, which were looked at while they were set, as were the sound programs. The kinds in
`field.layers` and `field.modes` were written apart and are counted alone as well.

Source: Humbatova et al. 2020, Taxonomy of real faults in deep learning systems; Wardat et al. 2022 (DeepDiagnosis).
"""

from typing import Any

import jax
import numpy as np

import jaxopt_lab as lab
from experiments.diagnosis.confusion_matrix import draw_counts, share_of
from experiments.diagnosis.field import PROGRAMS, Program, Setup
from jaxopt_lab import training
from jaxopt_lab.core import InputError, Problem, Verdict, require_choice
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.studies import Row, Rows, main
from jaxopt_lab.studies.fields import Seed, configclass
from jaxopt_lab.studies.verdicts import at_least, at_most

REFERENCE = "Humbatova et al. 2020"
TOP_ONE, TOP_TWO, MISSED, FALSE_ALARMS, MENDED = 0.75, 0.85, 0.03, 0.03, 0.6
NEAR = 0.1
APART = ("layers", "modes")
_CALM = ("healthy", "nothing-found")


@configclass
class Config:
    """All that can change a number."""

    names: tuple[str, ...] = ()
    """Programs of `field.PROGRAMS`; nothing: all."""
    seeds: tuple[int, ...] = (0,)
    """Of data and start."""
    prescribe: bool = False
    """Whether the first prescription that a program can carry out is carried out, which takes three trainings."""
    seconds: float = 600.0
    """Wall seconds for one diagnosis: so many that the machine's load decides nothing."""
    first_seed: Seed = 0
    """Added to the seeds."""
    dtype: str = "float32"
    """What arrays default to, as in practice."""

    def __post_init__(self) -> None:
        for name in self.names:
            require_choice("reported_faults", "a program", name, PROGRAMS)


PRESETS = {
    "quick": Config(
        names=("softmax-twice", "column-minus-row", "labels-from-one", "negated-cross-entropy", "logistic")
    ),
    "full": Config(first_seed=100),
    "huge": Config(seeds=tuple(range(5)), first_seed=200, prescribe=True),
}


def run(config: Config) -> list[dict[str, Any]]:
    """One row a program and seed: what is true, what is told, and the scores where they are asked for."""
    rows = []
    for name in config.names or PROGRAMS:
        for seed in config.seeds:
            rows.append(_examined(config, PROGRAMS[name], config.first_seed + seed))
        jax.clear_caches()  # a program's compiled functions are of no use to the next one
    return rows


def judge(config: Config, rows: Rows) -> list[Verdict]:
    """How often the true cause is named, how often a sick program is called healthy, and a sound one sick."""
    sick, sound = rows.where(is_sound=False), rows.where(is_sound=True)
    found = []
    if sick:
        first, second, missed = _hits(sick, 1), _hits(sick, 2), sum(_told(row)[0] in _CALM for row in sick)
        found += [
            at_least("The reported fault is named first", f"share of {share_of(first, len(sick))}", TOP_ONE,
                     first / len(sick), reference=REFERENCE),
            at_least("The reported fault is among the first two", f"share of {share_of(second, len(sick))}", TOP_TWO,
                     second / len(sick), reference=REFERENCE),
            at_most("A sick program is not called healthy", f"share of {share_of(missed, len(sick))}", MISSED,
                    missed / len(sick), reference=REFERENCE),
        ]  # fmt: skip
    if sound:
        alarms = sum(_told(row)[0] != "healthy" for row in sound)
        found.append(at_most("A sound program is not called sick", f"share of {share_of(alarms, len(sound))}",
                             FALSE_ALARMS, alarms / len(sound), reference=REFERENCE))  # fmt: skip
    tried = sick.where(prescribed=np.isfinite)
    if tried:
        mended = sum(_is_mended(row) for row in tried)
        found.append(at_least("The first prescription mends the program",
                              f"share within {NEAR:.0%} of the mended score, {share_of(mended, len(tried))}", MENDED,
                              mended / len(tried), reference=REFERENCE))  # fmt: skip
    return found


def draw(config: Config, rows: Rows, maker: FigureMaker) -> Any:
    """What was told first, against what is true."""
    figure, axes = maker.axes(1, height=9.0)
    causes = [row["causes"].split(", ")[0] for row in rows]
    names = list(dict.fromkeys([*causes, *(_told(row)[0] for row in rows)]))
    counts = np.zeros((len(names), len(names)), int)
    for row, cause in zip(rows, causes, strict=True):
        told = _told(row)[0]
        counts[names.index(told if told in row["causes"].split(", ") else cause), names.index(told)] += 1
    draw_counts(axes, counts, names, names)
    axes.set(xlabel="told first", ylabel="true", title=f"{_hits(rows, 1)} of {len(rows)} programs are told rightly")
    return figure


def caption(config: Config, rows: Rows) -> str:
    sick, sound = rows.where(is_sound=False), rows.where(is_sound=True)
    parts = []
    if sick:
        parts.append(f"of {len(sick)} reported faults {_hits(sick, 1)} are named first, {_hits(sick, 2)} within two")
    if sound:
        alarms = sum(_told(row)[0] != "healthy" for row in sound)
        parts.append(f"{alarms} of {len(sound)} sound programs are called sick")
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def facts(config: Config, rows: Rows) -> dict[str, Any]:
    """The counts of the kinds that were written apart."""
    apart = rows.where(is_sound=False, module=lambda module: module in APART)
    return {"apart": {"cases": len(apart), "first": _hits(apart, 1), "within two": _hits(apart, 2)}}


def _examined(config: Config, program: Program, seed: int) -> Row:
    setup = program.build(False, seed)
    diagnosis = lab.diagnose(
        setup.problem, setup.rule, batch_size=setup.batch_size, total_steps=setup.steps, seed=seed,
        seconds=config.seconds,
    )  # fmt: skip
    row = {
        "name": program.name, "causes": ", ".join(program.causes), "told": ", ".join(diagnosis.causes),
        "is_sound": program.is_sound, "module": program.build.__module__.rpartition(".")[2], "seed": seed,
        "seconds": float(diagnosis.seconds), "sick": np.nan, "mended": np.nan, "prescribed": np.nan,
    }  # fmt: skip
    return row | (_scores(program, setup, diagnosis, seed) if config.prescribe and not program.is_sound else {})


def _scores(program: Program, setup: Setup, diagnosis: Any, seed: int) -> Row:
    mended = program.build(True, seed)
    found = {"sick": _score(setup, setup.problem, setup.rule, seed),
             "mended": _score(mended, mended.problem, mended.rule, seed)}  # fmt: skip
    for finding in diagnosis.findings:
        if finding.prescription.change is not None:
            try:
                changed = finding.prescription.apply(setup.problem, setup.rule)
                return found | {"prescribed": _score(setup, changed[0], changed[1], seed)}
            except InputError:
                continue
    return found


def _score(setup: Setup, problem: Problem, rule: Any, seed: int) -> float:
    size = min(setup.batch_size, problem.num_examples or setup.batch_size)
    trace = training.run(
        problem, rule, steps=setup.steps, every=setup.steps, batch_size=size, seeds=seed,
        execution=training.Execution(progress=False),
    )  # fmt: skip
    state = () if trace.model_state is None else (trace.model_state_of(),)
    score = float(problem.metrics["score"](trace.params_of(), problem.validation, *state))
    return score if np.isfinite(score) else -1.0


def _told(row: Row) -> list[str]:
    return row["told"].split(", ")


def _hits(rows: Rows, place: int) -> int:
    """In how many a true cause is among the first `place` that were told."""
    return sum(bool(set(row["causes"].split(", ")) & set(_told(row)[:place])) for row in rows)


def _is_mended(row: Row) -> bool:
    return row["prescribed"] >= row["mended"] - NEAR * abs(row["mended"])


if __name__ == "__main__":
    raise SystemExit(main())
