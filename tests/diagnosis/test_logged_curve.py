import json
import sys
import types

import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError

STEPS = np.arange(100)
FALLING = np.exp(-STEPS / 10) + 0.1
READER = "tensorboard.backend.event_processing.event_accumulator"


def write(path, **columns):
    names = list(columns)
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(names), *(",".join("" if cell is None else str(cell) for cell in row) for row in rows)]
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize(
    ("loss", "held", "cause"),
    [
        (FALLING, None, "nothing-found"),
        (np.where(STEPS < 60, FALLING, np.nan), None, "non-finite"),
        (FALLING + STEPS / 50, None, "learning-rate-too-high"),
        (np.where(STEPS == 60, 0.0, FALLING + STEPS / 50), None, "learning-rate-too-high"),
        (FALLING - STEPS / 1010, FALLING + np.maximum(STEPS - 30, 0) / 100, "overfitting"),
        (3 - STEPS / 100, None, "schedule"),
        (3 - (STEPS / 100) ** 3, None, "schedule"),
    ],
    ids=["sound", "nan", "climbs", "climbs-from-zero", "overfits", "straight", "falls-at-the-end"],
)
def test_a_curve_tells_what_it_shows(loss, held, cause, tmp_path):
    columns = {"step": STEPS, "train_loss": loss} | ({} if held is None else {"val_loss": held})
    assert lab.diagnose(log=write(tmp_path / "run.csv", **columns)).causes == (cause,)


def test_what_the_curve_cannot_tell_names_the_measurement_that_would(tmp_path):
    found = lab.diagnose(log=write(tmp_path / "run.csv", loss=FALLING))
    assert "spectrum" in found.not_examined["ill-conditioned"]
    assert "validation loss" in found.not_examined["overfitting"]
    assert str(found)


def test_losses_of_two_lengths_in_json_lines_are_put_side_by_side(tmp_path):
    rows = [{"step": int(k), "loss": float(FALLING[k] - k / 1010)} for k in STEPS]
    for k in STEPS[::10]:
        rows[k]["eval/loss"] = float(FALLING[k] + max(k - 30, 0) / 100)
    path = tmp_path / "run.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    (finding,) = lab.diagnose(log=path).findings
    assert finding.cause == "overfitting"
    assert "record 30" in finding.explanation


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step,accuracy\n0,1\n", "no column of training losses among: step, accuracy"),
        ("loss\n1\n2\n", "a curve of 2 losses tells nothing"),
        ('{"loss": 1}\n{"loss"', "a line of it is no JSON"),
    ],
)
def test_a_file_without_a_curve_says_what_is_wanted(text, message, tmp_path):
    path = tmp_path / "run.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        lab.diagnose(log=path)
    with pytest.raises(InputError, match="no such file"):
        lab.diagnose(log=tmp_path / "none.csv")


def test_a_curve_beside_a_problem_is_refused():
    with pytest.raises(InputError, match="Give the curve alone"):
        lab.diagnose(lab.objectives.quadratic([1.0, 2.0], start=1.0), log="run.csv")


@pytest.mark.parametrize("cell", ["", "n/a", "-"])
def test_a_cell_that_holds_no_number_is_no_loss(cell, tmp_path):
    rows = [f"{k},{cell if k % 2 else FALLING[k]}" for k in STEPS]
    path = tmp_path / "run.csv"
    path.write_text("\n".join(["step,loss", *rows]))
    found = lab.diagnose(log=path)
    assert found.causes == ("nothing-found",)
    assert [each.value for each in found.findings[0].evidence] == [FALLING[0], FALLING[98]]


@pytest.mark.parametrize("name", ["runs", "events.out.tfevents.1"])
def test_events_need_their_reader(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, READER, None)
    place = tmp_path / name
    place.mkdir() if name == "runs" else place.write_bytes(b"")
    with pytest.raises(InputError, match=r"TensorBoard events need its reader. Install tensorboard, or export"):
        lab.diagnose(log=place)


def test_events_are_read_at_their_steps(tmp_path, monkeypatch):
    class Accumulator:
        def __init__(self, place):
            self.place, self.is_loaded = place, False

        def Reload(self):  # noqa: N802
            self.is_loaded = True

        def Tags(self):  # noqa: N802
            return {"scalars": ["train/loss", "val/loss"] if self.is_loaded else []}

        def Scalars(self, tag):  # noqa: N802
            rows = STEPS if tag == "train/loss" else STEPS[::10]
            values = (
                FALLING - STEPS / 1010 if tag == "train/loss" else (FALLING + np.maximum(STEPS - 30, 0) / 100)[::10]
            )
            return [types.SimpleNamespace(step=int(k), value=float(each)) for k, each in zip(rows, values, strict=True)]

    monkeypatch.setitem(sys.modules, READER, types.SimpleNamespace(EventAccumulator=Accumulator))
    (finding,) = lab.diagnose(log=tmp_path).findings
    assert finding.cause == "overfitting"
    assert "record 30" in finding.explanation
