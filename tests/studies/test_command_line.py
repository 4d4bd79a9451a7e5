import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from jaxopt_lab.core.exits import guarded
from jaxopt_lab.reporting import find_results
from jaxopt_lab.studies import load_study
from jaxopt_lab.studies.command_line import run_study
from tests.studies import halving
from tests.studies.engine import replace_engine

STUDY = load_study(halving)


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    return replace_engine(monkeypatch)


def main(*words):
    return guarded(lambda: run_study(STUDY, words, ["python", "halving.py"]))


def run(tmp_path, *words):
    return main(*words, "--out", str(tmp_path / "out"))


def config_of(tmp_path):
    ((result,), _) = find_results(tmp_path / "out")
    return result.record["config"]


def test_it_exits_with_0_when_all_claims_hold(tmp_path):
    assert run(tmp_path) == 0
    ((result,), _) = find_results(tmp_path / "out")
    assert result.record["command"] == "python halving.py"


def test_it_exits_with_1_when_a_claim_fails(tmp_path, capsys):
    assert run(tmp_path, "--factor", "0.6") == 1
    assert "[FAILS]" in capsys.readouterr().out


def test_a_preset_gives_the_defaults_and_options_change_them(tmp_path):
    assert run(tmp_path, "--preset", "full", "--starts", "2", "5e-1") == 0
    assert config_of(tmp_path) == {"steps": 20, "starts": [2.0, 0.5], "factor": 0.5, "crash": False}


def test_the_command_is_recorded_without_the_place_of_the_results(tmp_path):
    main(f"--out={tmp_path / 'out'}", "--starts", "2", "--preset", "full")
    ((result,), _) = find_results(tmp_path / "out")
    assert result.record["command"] == "python halving.py --starts 2 --preset full"


@pytest.mark.parametrize(
    ("words", "wording"),
    [
        (["--preset", "quik"], "halving: preset must be one of: quick, full; got 'quik'. Did you mean 'quick'?"),
        (["--stepz", "3"], "halving: unknown option --stepz. Did you mean --steps?"),
        (["surprise"], "halving: unknown option surprise. There are: --preset, --out, --steps"),
        (["--steps", "abc"], "halving: --steps must be a whole number, got 'abc'. See --help."),
        (["--steps", "-1"], "halving: steps must be positive and finite, got -1. Nothing happens in no steps."),
    ],
)
def test_wrong_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, words, wording):
    assert run(tmp_path, *words) == 2
    said = capsys.readouterr().err
    assert said.startswith(wording)
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_preset_without_a_name_is_wrong_input(capsys):
    assert main("--preset") == 2
    assert capsys.readouterr().err == "halving: --preset needs a name. There are: quick, full.\n"


def test_a_file_in_place_of_the_results_is_wrong_input(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    assert run(tmp_path) == 2
    assert "is a file" in capsys.readouterr().err


def test_help_shows_the_fields_with_their_meaning(capsys):
    with pytest.raises(SystemExit) as stop:
        main("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for shown in ("--preset", "quick | full", "--out", "--steps", "Number of halvings."):
        assert shown in text


def test_stopping_says_what_is_kept(tmp_path, capsys, monkeypatch):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("jaxopt_lab.studies.command_line.execute", stop)
    assert run(tmp_path) == 130
    assert "the same command continues" in capsys.readouterr().err


def test_importing_studies_and_reporting_imports_nothing_that_draws_or_parses():
    program = "import sys, json, jaxopt_lab.studies, jaxopt_lab.reporting; print(json.dumps(sorted(sys.modules)))"
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert set(json.loads(output)).isdisjoint({"matplotlib", "jinja2", "flax", "sklearn"})
