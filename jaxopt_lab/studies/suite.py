"""Many studies one after another in one process, with one report over all of them.

Everything that can be checked is checked before the first study runs; a study that raises is reported, and the rest
still run. The report is rewritten after each study, so that it is there whenever the process is stopped.
"""

import shlex
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxopt_lab import reporting
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.core.exits import CRASHED, FAILS, HOLDS
from jaxopt_lab.reporting.numbers import format_duration
from jaxopt_lab.reporting.page import Failure, StudyResult, check_page
from jaxopt_lab.storage.files import require_writable
from jaxopt_lab.studies.discovery import find_study, is_shipped, load_study
from jaxopt_lab.studies.execution import Log, check_folder, execute, log_line, place_of, prepare_engine
from jaxopt_lab.studies.study import Study


def run_suite(
    names: Sequence[str],
    out: Path | str,
    preset: str,
    *,
    experiments: Path | str = "experiments",
    command: str = "",
    log: Log | None = log_line,
) -> int:
    """Runs studies at one preset, and writes `out`/report.html over all of them.

    A study that has no such preset is left out, and said so.

    Args:
      names: the studies' names, or paths of their files, in the order in which they run; each runs once.
      out: the folder that holds all results.
      preset: the preset's name.
      experiments: the folder in which names are looked for.
      command: what redoes all of this, for the page.
      log: gets what is done and found, a line at a time; by default Python's `logging` does.

    Returns:
      The exit code: 0 when every study ran and every claim holds, 1 when a claim fails, 3 when a study could not run.

    Raises:
      InputError: there is no such study, none has the preset, or a folder or page that would be written is not ours.
    """
    scripts = [find_study(experiments, name) for name in dict.fromkeys(names)]
    prepare_engine()
    suite = _Suite(Path(out), preset, command, log or (lambda line: None))
    return suite.run(scripts)


class _Suite:
    """The studies that ran and those that could not, and the page over them."""

    def __init__(self, out: Path, preset: str, command: str, log: Log) -> None:
        self.out, self.preset, self.command, self.log = out, preset, command, log
        self.results: list[StudyResult] = []
        self.failures: list[Failure] = []

    def run(self, scripts: Sequence[Path]) -> int:
        """Loads, checks, runs; returns the exit code."""
        started = time.perf_counter()
        chosen = self._chosen(self._loaded(scripts))
        for study in chosen.values():
            check_folder(study, study.presets[self.preset], self.out)
        check_page(self.out / "report.html")
        require_writable(self.out)
        for number, (script, study) in enumerate(chosen.items(), start=1):
            self._execute(script, study, f"[{number}/{len(chosen)}] ")
            self._write_page()
        self._write_page()
        return self._conclude(time.perf_counter() - started)

    def _loaded(self, scripts: Sequence[Path]) -> dict[Path, Study]:
        studies = {}
        for script in scripts:
            try:
                studies[script] = load_study(script)
            except Exception as error:
                self._fail(script.stem, error)
        return studies

    def _chosen(self, studies: Mapping[Path, Study]) -> dict[Path, Study]:
        """Those that have the preset."""
        known = dict.fromkeys(name for study in studies.values() for name in study.presets)
        if known or not self.failures:
            require_choice("experiments", "preset", self.preset, known)
        for study in studies.values():
            if self.preset not in study.presets:
                self.log(f"{study.name} has no preset {self.preset} and is left out.")
        return {script: study for script, study in studies.items() if self.preset in study.presets}

    def _execute(self, script: Path, study: Study, place: str) -> None:
        program = ["jaxopt-lab", "study", study.name] if is_shipped(script) else ["python", place_of(script)]
        redo = shlex.join([*program, "--preset", self.preset])
        config = study.presets[self.preset]
        try:
            done = execute(study, config, self.out, preset=self.preset, command=redo, place=place, log=self.log)
            self.results.append(reporting.read_result(done.folder))
        except Exception as error:
            self._fail(study.name, error)

    def _fail(self, study: str, error: Exception) -> None:
        traceback.print_exception(error)
        self.log(f"  [FAILS] {study} could not run: {error}")
        self.failures.append(Failure(study, f"{type(error).__name__}: {error}"))

    def _write_page(self) -> None:
        reporting.write_page(self.out / "report.html", self.results, self.failures, command=self.command)

    def _conclude(self, seconds: float) -> int:
        verdicts = [verdict for result in self.results for verdict in result.verdicts]
        holding = sum(verdict.holds for verdict in verdicts)
        lost = ", ".join(failure.study for failure in self.failures)
        trouble = f"; failed to run: {lost}" if lost else ""
        took = format_duration(seconds)
        self.log(f"{holding} of {len(verdicts)} claims hold in {len(self.results)} studies, {took}{trouble}.")
        self.log(f"Report: {self.out / 'report.html'}")
        if self.failures:
            return CRASHED
        return HOLDS if holding == len(verdicts) else FAILS
