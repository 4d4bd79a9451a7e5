"""Many studies one after another in one process, with one report over all of them.

Everything that can be checked is checked before the first study runs; a study that raises is reported, and the rest
still run. The report is rewritten after each study, so that it is there whenever the process is stopped.
"""

import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxopt_lab import reporting, storage
from jaxopt_lab.core import require_choice
from jaxopt_lab.core.exits import CRASHED, FAILS, HOLDS
from jaxopt_lab.studies.discovery import load_study
from jaxopt_lab.studies.execution import execute, log
from jaxopt_lab.studies.study import Study


def run_suite(scripts: Sequence[Path], out: Path | str, preset: str, *, command: str = "") -> int:
    """Runs studies at one preset, and writes `out`/report.html over all of them.

    A study that has no such preset is left out, and said so.

    Args:
      scripts: the studies' files, in the order in which they run.
      out: the folder that holds all results.
      preset: the preset's name.
      command: what redoes all of this, for the page.

    Returns:
      The exit code: 0 when every study ran and every claim holds, 1 when a claim fails, 3 when a study could not run.

    Raises:
      InputError: no study has the preset, or a folder or page that would be written is not ours.
    """
    out, started = Path(out), time.perf_counter()
    studies, failures = _loaded(scripts)
    known = dict.fromkeys(name for study in studies.values() for name in study.presets)
    if known or not failures:
        require_choice("experiments", "preset", preset, known)
    chosen = {script: study for script, study in studies.items() if preset in study.presets}
    for study in studies.values():
        if preset not in study.presets:
            log(f"{study.name} has no preset {preset} and is left out.")
    for study in chosen.values():
        config = study.presets[preset]
        storage.check_folder(out / storage.folder_name(study.name, config), "study", config, study.name)
    reporting.check_page(out / "report.html")
    storage.require_writable(out)
    results = _executed(chosen, failures, out, preset, command)
    reporting.write_page(out / "report.html", results, failures, command=command)
    verdicts = [verdict for result in results for verdict in result.verdicts]
    holding = sum(verdict.holds for verdict in verdicts)
    trouble = f"; failed to run: {', '.join(failure.study for failure in failures)}" if failures else ""
    took = reporting.format_duration(time.perf_counter() - started)
    log(f"{holding} of {len(verdicts)} claims hold in {len(results)} studies, {took}{trouble}.")
    log(f"Report: {out / 'report.html'}")
    if failures:
        return CRASHED
    return HOLDS if holding == len(verdicts) else FAILS


def _loaded(scripts: Sequence[Path]) -> tuple[dict[Path, Study], list[reporting.Failure]]:
    studies, failures = {}, []
    for script in scripts:
        try:
            studies[script] = load_study(script)
        except Exception as error:
            failures.append(_failure(script.stem, error))
    return studies, failures


def _executed(
    chosen: Mapping[Path, Study], failures: list[reporting.Failure], out: Path, preset: str, command: str
) -> list[reporting.StudyResult]:
    results: list[reporting.StudyResult] = []
    for number, (script, study) in enumerate(chosen.items(), start=1):
        redo = f"python {'/'.join(script.parts[-3:])} --preset {preset}"
        try:
            outcome = execute(
                study, study.presets[preset], out, preset=preset, command=redo, place=f"[{number}/{len(chosen)}] "
            )
            results.append(reporting.read_result(outcome.folder))
        except Exception as error:
            failures.append(_failure(study.name, error))
        reporting.write_page(out / "report.html", results, failures, command=command)
    return results


def _failure(study: str, error: Exception) -> reporting.Failure:
    traceback.print_exception(error)
    log(f"  [FAILS] {study} could not run: {error}")
    return reporting.Failure(study, f"{type(error).__name__}: {error}")
