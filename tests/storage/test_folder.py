import json
import math
import os

import numpy as np
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.core.verdict import judge
from jaxopt_lab.storage import read_rows, read_verdicts
from jaxopt_lab.storage.files import write_json, write_text
from jaxopt_lab.storage.folder import check_folder, folder_name, open_folder, write_rows, write_verdicts

CONFIG = {"kappa": 10.0}


def record(config=CONFIG, study="zigzag"):
    return {"kind": "jaxopt_lab study", "study": study, "config": config, "status": "done"}


def test_a_folder_is_named_by_the_study_and_its_config(tmp_path):
    folder = open_folder(tmp_path, "zigzag", CONFIG)
    assert folder.name == folder_name("zigzag", CONFIG)
    assert folder.name != folder_name("zigzag", {"kappa": 11.0})
    assert len(folder.name.removeprefix("zigzag-")) == 12


def test_the_folder_of_the_same_run_is_found_again(tmp_path):
    folder = open_folder(tmp_path, "zigzag", CONFIG)
    write_json(folder / "study.json", record())
    assert open_folder(tmp_path, "zigzag", CONFIG) == folder


@pytest.mark.parametrize(
    ("files", "wording"),
    [
        ({"notes.txt": "mine"}, "is not empty and holds no study"),
        ({"study.json": '{"kind": "jaxopt_lab st'}, "cannot be read as the record of a study"),
        ({"study.json": "[1, 2]"}, "it is not of a study of jaxopt_lab"),
        ({"study.json": '{"kind": "jaxopt_lab study"}'}, "there is no 'study'"),
        ({"study.json": json.dumps(record(config={"kappa": 11.0}))}, "holds another study: it differs in kappa"),
        ({"study.json": json.dumps(record(study="overshoot"))}, "holds another study: it differs in its name"),
    ],
    ids=["foreign", "torn", "other JSON", "incomplete", "other config", "other study"],
)
def test_a_folder_that_is_not_this_run_is_refused_and_left_as_it_is(tmp_path, files, wording):
    folder = tmp_path / folder_name("zigzag", CONFIG)
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    with pytest.raises(InputError, match=wording):
        open_folder(tmp_path, "zigzag", CONFIG)
    assert {path.name: path.read_text() for path in folder.iterdir()} == files


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(InputError, match="out is a file"):
        open_folder(tmp_path / "out", "zigzag", CONFIG)


def test_a_folder_whose_first_write_was_killed_is_free(tmp_path):
    folder = open_folder(tmp_path, "zigzag", CONFIG)
    folder.mkdir()
    (folder / ".study.json.12-0.writing").write_text('{"kind": "jaxo')
    check_folder(folder, "study", CONFIG, "zigzag")


def test_a_write_that_is_killed_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_text(path, "new")
    assert path.read_text() == "old"


def test_rows_survive_the_way_to_disk_and_back(tmp_path):
    folder = open_folder(tmp_path, "zigzag", CONFIG)
    rows = [
        {"rule": "heavy_ball", "rate": np.float32(0.5), "diverged": np.bool_(True), "curve": np.arange(3.0)},
        {"rule": "sgd", "rate": math.inf, "diverged": False},
    ]
    write_rows(folder, rows)
    first, second = read_rows(folder)
    np.testing.assert_array_equal(first.pop("curve"), np.arange(3.0))
    assert first == {"rule": "heavy_ball", "rate": 0.5, "diverged": True}
    assert second == {"rule": "sgd", "rate": math.inf, "diverged": False}


def test_verdicts_that_are_not_finite_are_valid_json_and_survive(tmp_path):
    verdicts = [
        judge("it stays finite", "loss", 1.0, math.inf, 0.1, unit="nats", reference="nobody"),
        judge("zero", "rate", 0.0, 1.0, 0.1),
    ]
    write_verdicts(tmp_path, verdicts)

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    stored = json.loads((tmp_path / "verdicts.json").read_text(), parse_constant=refuse)
    assert stored[0]["measured"] == "inf"
    names = ["claim", "quantity", "predicted", "measured", "error", "tolerance", "holds", "unit", "reference", "kind"]
    assert list(stored[0]) == names
    assert read_verdicts(tmp_path) == verdicts


def test_torn_verdicts_are_refused(tmp_path):
    (tmp_path / "verdicts.json").write_text('[{"claim": "x"')
    with pytest.raises(InputError, match=r"verdicts\.json: cannot be read as the verdicts of a study"):
        read_verdicts(tmp_path)
