import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxopt_lab.cli import main
from jaxopt_lab.storage import read_record
from jaxopt_lab.storage.folder import folder_name
from tests.studies.engine import make_experiments, replace_engine
from tests.studies.halving import Config


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    return replace_engine(monkeypatch)


@pytest.fixture
def bench(tmp_path, monkeypatch):
    make_experiments(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_alone_it_prints_its_help(capsys):
    assert main([]) == 0
    alone = capsys.readouterr().out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == alone
    assert "study" in alone


def test_help_imports_nothing_heavy():
    program = (
        "import sys, json; from jaxopt_lab.cli import main; main(['--help']); print(json.dumps(sorted(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout
    loaded = set(json.loads(output.splitlines()[-1]))
    assert loaded.isdisjoint({"jax", "numpy", "matplotlib", "jinja2", "flax", "optax"})


def test_an_unknown_verb_gets_the_nearest_one(capsys):
    assert main(["studdy"]) == 2
    assert capsys.readouterr().err == "jaxopt-lab: there is no verb 'studdy'. Did you mean 'study'?\n"


def test_a_verb_unlike_all_others_gets_the_list(capsys):
    assert main(["xxxxx"]) == 2
    assert "There are: diagnose, spectrum, sweep, compare, study, report, resume." in capsys.readouterr().err


def test_a_study_runs_like_its_script(bench, capsys):
    assert main(["study", "halving", "--steps", "3"]) == 0
    assert "x after 3 steps" in capsys.readouterr().out
    (folder,) = (bench / "results").iterdir()
    assert read_record(folder)["command"] == "jaxopt-lab study halving --steps 3"
    assert main(["study", "halving", "--factor", "0.6"]) == 1
    assert main(["study", "halving", "--stepz", "3"]) == 2


def test_studies_lie_where_they_are_said_to_be(bench, monkeypatch, capsys):
    (bench / "elsewhere").mkdir()
    monkeypatch.chdir(bench / "elsewhere")
    assert main(["study", "--list", "--experiments", "experiments"]) == 2
    assert "holds no studies" in capsys.readouterr().err
    assert main(["study", "--list", "--experiments", "../experiments"]) == 0
    assert capsys.readouterr().out == "toys/halving\n"
    assert main(["study", "halving", "--experiments", "../experiments"]) == 0


def test_where_no_studies_lie_those_of_the_package_are_found(bench, monkeypatch, capsys):
    (bench / "elsewhere").mkdir()
    monkeypatch.chdir(bench / "elsewhere")
    assert main(["study", "--list"]) == 0
    assert "conditioning/convergence_rates\n" in capsys.readouterr().out
    assert main(["study", "convergence_rates", "--dim", "many"]) == 2
    assert "--dim must be a whole number, got 'many'" in capsys.readouterr().err


def test_an_unknown_study_gets_the_nearest_name(bench, capsys):
    assert main(["study", "halfing"]) == 2
    assert "Did you mean 'halving'?" in capsys.readouterr().err


@pytest.mark.parametrize(("words", "shown"), [(["study"], "NAME"), (["study", "halving"], "Number of halvings.")])
def test_help_is_that_of_the_verb_or_of_the_study(bench, capsys, words, shown):
    with pytest.raises(SystemExit) as stop:
        main([*words, "--help"])
    assert stop.value.code == 0
    assert shown in capsys.readouterr().out


@pytest.mark.parametrize("place", ["results", "results/{name}"], ids=["all", "one"])
def test_a_report_is_rebuilt_from_what_is_there(bench, place):
    main(["study", "halving"])
    folder = Path(place.format(name=folder_name("halving", Config())))
    page = folder / "report.html"
    page.unlink(missing_ok=True)
    assert main(["report", str(folder)]) == 0
    assert "2 of 2 claims hold" in page.read_text(encoding="utf-8")


def test_a_report_of_nothing_is_wrong_input(bench, capsys):
    assert main(["report", "experiments"]) == 2
    assert "holds no results" in capsys.readouterr().err


def stopped(bench, words=()):
    path = bench / "experiments" / "toys" / "halving.py"
    text = path.read_text()
    path.write_text(text.replace("def run(config):", "def run(config):\n    raise KeyboardInterrupt"))
    assert main(["study", "halving", *words]) == 130
    path.write_text(text)
    (folder,) = (bench / "results").iterdir()
    return folder


def test_a_stopped_study_is_resumed_with_its_config(bench, capsys):
    folder = stopped(bench, ["--steps", "5", "--starts", "7"])
    command = read_record(folder)["command"]
    assert main(["resume", str(folder)]) == 0
    record = read_record(folder)
    assert (record["status"], record["config"]["starts"], record["command"]) == ("done", [7.0], command)
    assert main(["resume", str(folder)]) == 0
    assert "is finished; there is nothing to continue" in capsys.readouterr().out


def test_resuming_from_inside_the_folder_works(bench, monkeypatch):
    folder = stopped(bench)
    monkeypatch.chdir(folder)
    assert main(["resume", ".", "--experiments", "../../experiments"]) == 0


def test_a_renamed_folder_is_continued_in_place(bench, capsys):
    folder = stopped(bench)
    renamed = folder.rename(folder.with_name("mine"))
    assert main(["resume", "results/mine"]) == 0
    assert read_record(renamed)["status"] == "done"
    assert [path.name for path in renamed.parent.iterdir()] == ["mine"]


@pytest.mark.parametrize(("place", "why"), [("nowhere", "does not exist"), ("experiments", "holds no study.json")])
def test_resuming_what_is_not_ours_is_wrong_input(bench, capsys, place, why):
    assert main(["resume", place]) == 2
    assert why in capsys.readouterr().err
