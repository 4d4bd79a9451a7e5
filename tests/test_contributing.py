"""The study that CONTRIBUTING shows is taken out of it and run, from a folder that holds nothing else."""

import pathlib
import re

import pytest

from jaxopt_lab.cli import main
from jaxopt_lab.storage import read_record, read_verdicts
from jaxopt_lab.studies.suite import run_suite

TEXT = (pathlib.Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The study in a folder of its own, and another folder, from which it runs."""
    (source,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "halving.py").write_text(source, encoding="utf-8")
    (tmp_path / "bench").mkdir()
    monkeypatch.chdir(tmp_path / "bench")
    return tmp_path


def test_the_study_has_forty_lines_or_so(place):
    assert len((place / "mine" / "halving.py").read_text().splitlines()) <= 45


def test_the_study_runs_from_any_folder_and_its_redo_line_is_complete(place, capsys):
    file = place / "mine" / "halving.py"
    assert main(["study", "../mine/halving.py", "--steps", "30"]) == 0
    assert "The steps are ln 2 / -ln(1 - lr)" in capsys.readouterr().out
    (folder,) = (place / "bench" / "results").iterdir()
    assert read_record(folder)["command"] == f"jaxopt-lab study {file} --steps 30"
    assert read_record(folder)["config"]["steps"] == 30
    assert all(verdict.holds for verdict in read_verdicts(folder))


def test_a_wrong_field_of_the_study_is_one_sentence(place, capsys):
    assert main(["study", "../mine/halving.py", "--rates", "1.5"]) == 2
    assert "halving: rates must be in (0, 1), got 1.5. Beyond, it overshoots." in capsys.readouterr().err


def test_a_stopped_study_goes_on_where_its_file_is_named(place, capsys):
    file = place / "mine" / "halving.py"
    source = file.read_text()
    file.write_text(source.replace("def run(config):", "def run(config):\n    raise KeyboardInterrupt"))
    assert main(["study", str(file), "--steps", "20"]) == 130
    file.write_text(source)
    (folder,) = (place / "bench" / "results").iterdir()
    assert main(["resume", str(folder)]) == 2
    assert f"add --study {file}" in capsys.readouterr().err
    assert main(["resume", str(folder), "--study", str(file)]) == 0
    assert (read_record(folder)["status"], read_record(folder)["config"]["steps"]) == ("done", 20)


def test_a_suite_records_the_whole_path_of_a_file(place):
    assert run_suite(["../mine/halving.py"], "out", "quick", log=None) == 0
    (folder,) = (path for path in (place / "bench" / "out").iterdir() if path.is_dir())
    assert read_record(folder)["command"] == f"python {place / 'mine' / 'halving.py'} --preset quick"
