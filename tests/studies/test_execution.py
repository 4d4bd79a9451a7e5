import dataclasses
import io
import json

import jax
import jax.numpy as jnp
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.reporting import find_results, sliders
from jaxopt_lab.reporting.page import render_page
from jaxopt_lab.storage import read_record, read_rows, read_verdicts
from jaxopt_lab.storage.folder import folder_name
from jaxopt_lab.studies import load_study
from jaxopt_lab.studies.execution import execute, print_line
from tests.studies import halving
from tests.studies.engine import replace_engine
from tests.studies.halving import Config

STUDY = load_study(halving)
FILES = {"study.json", "configs.jsonl", "curves", "verdicts.json", "figure.svg", "figure.csv", "report.html"}


@pytest.fixture(autouse=True)
def engine(monkeypatch):
    return replace_engine(monkeypatch)


@dataclasses.dataclass(frozen=True)
class Typed:
    dtype: str = "float32"


def test_a_study_with_a_slider_keeps_it_in_its_record(tmp_path):
    ends = sliders.axis("x", 0.0, 1.0)

    def slider(config, rows):
        return sliders.slider("heavy_ball_steps", x=ends, y=ends, dots=[], steps=config.steps, rows=len(rows))

    for given, steps in ((slider, 8), (None, 3)):
        study = dataclasses.replace(STUDY, slider=given, draw=None)
        folder, _ = execute(study, Config(steps=steps), tmp_path, preset="quick", command="redo me", log=None)
        kept = read_record(folder).get("slider")
        assert (kept and kept["constants"]) == (given and {"steps": 8, "rows": 2})


def test_everything_lands_in_the_folder(tmp_path, engine):
    folder, verdicts = execute(STUDY, Config(), tmp_path, preset="quick", command="redo me", log=None)
    assert folder == tmp_path / folder_name("halving", Config())
    assert {path.name for path in folder.iterdir()} == FILES
    assert engine == [folder / "checkpoints"]
    assert read_verdicts(folder) == verdicts
    assert [row["start"] for row in read_rows(folder)] == [1.0, 3.0]
    record = read_record(folder)
    assert (record["status"], record["preset"], record["command"]) == ("done", "quick", "redo me")
    assert (record["belief"], record["truth"]) == ("It gets smaller.", "It is exactly 2^-t of its start.")
    assert record["config"] == {"steps": 8, "starts": [1.0, 3.0], "factor": 0.5, "crash": False}
    assert set(record["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "numpy", "jaxopt_lab"}
    assert (record["device"]["count"], record["prng"], record["dtype"]) == (
        jax.device_count(),
        "threefry2x32",
        "float64",
    )
    assert record["facts"] == {"side by side (K)": 2}
    assert record["wall_seconds"] >= 0


def test_verdict_lines_are_printed_or_logged_or_nothing_is_said(tmp_path, capsys, caplog):
    with caplog.at_level("INFO", "jaxopt_lab"):
        execute(STUDY, Config(), tmp_path, place="[3/11] ")
    logged = caplog.messages
    assert capsys.readouterr().out == ""
    execute(STUDY, Config(), tmp_path, place="[3/11] ", log=print_line)
    printed = capsys.readouterr().out
    assert logged[:-1] == printed.splitlines()[:-1]
    assert printed.startswith(
        "[3/11] halving: Does x halve?\n  [holds] x halves at every step: x after 8 steps, measured"
    )
    lines = []
    execute(STUDY, Config(), tmp_path, place="[3/11] ", log=lines.append)
    assert [*lines[:-1]] == printed.splitlines()[:-1]  # the last one tells the time
    execute(STUDY, Config(), tmp_path, log=None)
    assert capsys.readouterr().out == ""


def test_a_terminal_without_greek_letters_does_not_stop_a_run(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    print_line("κ = 10")
    assert stream.buffer.getvalue() == b"? = 10\n"


def test_two_executions_differ_in_their_times_alone(tmp_path):
    pages = []
    for out in ("a", "b"):
        folder = execute(STUDY, Config(), tmp_path / out, log=None).folder
        ((result,), _) = find_results(folder)
        pages.append(
            render_page([dataclasses.replace(result, record=result.record | {"wall_seconds": 1, "cpu_seconds": 1})])
        )
        for name in ("configs.jsonl", "curves/rows.npz", "verdicts.json", "figure.svg"):
            assert (tmp_path / "a" / folder.name / name).read_bytes() == (folder / name).read_bytes()
    assert pages[0] == pages[1]


def test_a_run_that_raises_is_kept_as_not_finished_and_its_time_counts(tmp_path):
    def stop(config, checkpoints):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        execute(dataclasses.replace(STUDY, run=stop), Config(), tmp_path, log=None)
    folder = tmp_path / folder_name("halving", Config())
    record = read_record(folder)
    assert record["status"] == "running"
    (folder / "study.json").write_text(json.dumps(record | {"wall_seconds": 1000.0}))
    execute(STUDY, Config(), tmp_path, log=None)
    assert read_record(folder)["wall_seconds"] >= 1000.0


def test_checkpoints_go_only_when_the_study_is_finished(tmp_path, engine):
    with pytest.raises(RuntimeError, match="caught fire"):
        execute(STUDY, Config(crash=True), tmp_path, log=None)
    assert engine[0].is_dir()
    execute(STUDY, Config(), tmp_path, log=None)
    assert not engine[1].exists()


def test_a_folder_of_someone_else_stops_it_before_it_runs(tmp_path):
    folder = tmp_path / folder_name("halving", Config())
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and holds no study"):
        execute(dataclasses.replace(STUDY, run=None), Config(), tmp_path)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_a_study_without_verdicts_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="a study ends in at least one"):
        execute(dataclasses.replace(STUDY, judge=lambda config, rows: []), Config(), tmp_path, log=None)


@pytest.mark.parametrize("config", [Config(), Typed()], ids=["float64", "float32"])
def test_arrays_have_the_precision_that_is_recorded(tmp_path, config):
    seen = []

    def run(config, checkpoints):
        seen.append(str(jnp.zeros(()).dtype))
        return [{"start": 1.0, "x": [1.0, 0.5]}]

    study = dataclasses.replace(
        STUDY,
        config=type(config),
        presets={"quick": config},
        run=run,
        judge=lambda config, rows: STUDY.judge(Config(steps=1), [{"start": 1.0, "x": [0.5]}]),
        draw=lambda config, rows, maker: maker.axes()[0],
    )
    folder = execute(study, config, tmp_path, log=None).folder
    assert seen == [read_record(folder)["dtype"]]


def test_a_precision_that_does_not_exist_is_refused(tmp_path):
    config = Typed("float128")
    study = dataclasses.replace(STUDY, config=Typed, presets={"quick": config})
    with pytest.raises(InputError, match="dtype must be one of: float32, float64"):
        execute(study, config, tmp_path)
    assert list(tmp_path.iterdir()) == []
