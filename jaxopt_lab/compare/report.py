"""A comparison as text, and as one HTML page: verdict first, a sortable table, figures, claims, how to redo it."""

import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxopt_lab.compare.comparison import GRADIENTS, Comparison, load_comparison
from jaxopt_lab.compare.figures import draw_curves, draw_ladder, draw_profiles, draw_sensitivity
from jaxopt_lab.compare.pairwise_tests import BETTER, INCONCLUSIVE, NO_DIFFERENCE, UNDER_TUNED, edge_words
from jaxopt_lab.compare.statistics import seeds_for_misses
from jaxopt_lab.reporting.outcomes import Draw, command_of, inline_figures, record_of, shortened, write_folder_page
from jaxopt_lab.reporting.page import render_template
from jaxopt_lab.search.trials import settings_of


def write_comparison_page(folder: str | os.PathLike[str], log: Callable[[str], None] | None = None) -> Path:
    """Writes `report.html` into a comparison's folder, from what is stored there.

    Args:
      folder: a comparison's folder, finished or not.
      log: gets a sentence for each damaged file, without which the page is made; None: that is an error.

    Returns:
      The page.

    Raises:
      InputError: the folder holds no comparison, or a file in it is damaged.
    """
    load = functools.partial(load_comparison, log=log)
    return write_folder_page(folder, "comparison", load, page_of, "What lies beside it is untouched.")


def lines_of(comparison: Comparison) -> list[str]:
    """The comparison as text of at most 40 lines: the verdict, then the table."""
    rows = []
    for row in comparison.table():
        low, high = row["interval"]
        rows.append(
            f"{row['problem']}  {row['rule']:<18} {row['median']:<9.4g} [{low:.4g}, {high:.4g}]  {_arrival(row)};"
            f"  infeasible {row['infeasible']:.0%};  good rates {row['good_decades']:.1f} decades; "
            f" {settings_of(row)}"
        )
    return shortened([*verdict_of(comparison), "", *rows])


def verdict_of(comparison: Comparison) -> list[str]:
    """The verdict in words: first over all problems, then problem by problem."""
    return [_overall(comparison), *(line for problem in comparison.problems for line in _on(comparison, problem))]


def page_of(comparison: Comparison, record: dict[str, Any] | None = None) -> str:
    """The page as HTML that asks for nothing from elsewhere.

    Args:
      comparison: what was found.
      record: the `study.json` of its folder; None reads it, or does without where nothing was kept.
    """
    if record is None:
        record = record_of(comparison.folder, "comparison", lambda: {"config": comparison.config})
    rows = [row | {"settings": settings_of(row), "measure": comparison.measure(row["problem"])}
            for row in comparison.table()]  # fmt: skip
    measures = {problem: (comparison.measure(problem), GRADIENTS) for problem in comparison.problems}
    return render_template(
        "comparison.html.j2", comparison=comparison, record=record, rows=rows, command=command_of(record, "compare"),
        needed=seeds_for_misses(len(comparison.rules), record["config"]["level"]), verdict=comparison.verdict(),
        figures=inline_figures(draws_of(comparison)) if rows else [], measures=measures,
        space_of={name: rule["space"] for name, rule in record["config"]["rules"].items()},
    )  # fmt: skip


def draws_of(comparison: Comparison) -> list[Draw]:
    """The figures of the page: profiles, then for each problem curves, ladder and sensitivity."""
    draws: list[Draw] = [functools.partial(draw_profiles, comparison)]
    for problem in comparison.problems:
        draws += [functools.partial(draw, comparison, problem) for draw in (draw_curves, draw_ladder, draw_sensitivity)]
    return draws


def _overall(comparison: Comparison) -> str:
    if not comparison.complete:
        return "Not finished: what follows may change."
    if len(comparison.rules) == 1:
        return f"{comparison.rules[0]} alone was run: there is nothing to compare it with."
    where = f"all {len(comparison.problems)} problems" if len(comparison.problems) > 1 else comparison.problems[0]
    for rule in comparison.rules:
        outcomes = [_outcomes(comparison, rule, problem) for problem in comparison.problems]
        if all(BETTER in each and each <= {BETTER, UNDER_TUNED} for each in outcomes):
            aside = ", under-tuned ones aside" if any(UNDER_TUNED in each for each in outcomes) else ""
            return f"{rule} is shown better than every other rule on {where}{aside}."
    return f"No rule is shown better than every other on {where}."


def _outcomes(comparison: Comparison, rule: str, problem: str) -> set[str]:
    """The verdicts between a rule and each other one on a problem; "" where it is the other that is ahead."""
    mine = [pair for pair in comparison.pairs_on(problem) if rule in (pair.first, pair.second)]
    return {pair.outcome if pair.first == rule else "" for pair in mine}


def _on(comparison: Comparison, problem: str) -> list[str]:
    """The lowest rule of a problem, and how it stands to the others; then what is to be doubted."""
    rules = comparison.of(problem)
    if not rules:
        return [f"{problem}: no rule is finished."]
    medians = {rule: float(np.median(comparison.quality(problem, rule))) for rule in rules}
    leader = min(medians, key=lambda rule: medians[rule])
    if not np.isfinite(medians[leader]):
        return [f"{problem}: no rule has a feasible setting; search other values, for learning rates smaller ones."]
    pairs = comparison.pairs_on(problem)
    words = [f"{problem}: {leader} has the lowest {comparison.measure(problem)}, {medians[leader]:.4g}"]
    by = {outcome: [pair.second for pair in pairs if pair.first == leader and pair.outcome == outcome]
          for outcome in (BETTER, UNDER_TUNED, NO_DIFFERENCE, INCONCLUSIVE)}  # fmt: skip
    said = {BETTER: "better than", UNDER_TUNED: "ahead of the under-tuned", NO_DIFFERENCE: "no difference shown to",
            INCONCLUSIVE: "inconclusive against"}  # fmt: skip
    words += [f"{said[outcome]} {', '.join(others)}" for outcome, others in by.items() if others]
    lines = ["; ".join(words) + "."]
    lines += [f"  under-tuned: {pair.second}, {pair.why}." for pair in pairs if pair.outcome == UNDER_TUNED]
    lines += [f"  inconclusive, widen: {rule} is best with {edge_words(each.edges)}."
              for rule, each in rules.items() if each.edges]  # fmt: skip
    if problem in comparison.targets and not np.isfinite(comparison.targets[problem].report):
        lines.append(f"  no target: {comparison.config['baseline']['name']}, the baseline, has no feasible setting.")
    return lines


def _arrival(row: Mapping[str, Any]) -> str:
    """How many seeds of a row reach the target, and what the median one needs."""
    reached = f"target {row['reached']}/{len(row['seeds'])}"
    if not np.isfinite(row["gradients_to_target"]):
        return f"{reached}, the median seed never"
    return f"{reached} in {row['gradients_to_target']:.4g} gradients, {row['seconds_to_target']:.3g} s"
