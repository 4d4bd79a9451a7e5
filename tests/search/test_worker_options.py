"""Whose the workers of a command line are."""

import concurrent.futures
import json

import pytest

from jaxopt_lab.cli import main

SWEEP = [
    "sweep", "digits-linear", "--space", "learning_rate=log:0.01:0.1", "--trials", "4", "--seeds", "1", "--steps", "4",
    "--batch-size", "32", "--width", "2", "--devices", "1",
]  # fmt: skip
COMPARE = [
    "compare", "digits-linear", "--rules", "sgd", "--budget", "3", "--trials", "2", "--final-seeds", "2",
    "--batch-size", "64",
]  # fmt: skip


def threads():
    return concurrent.futures.ThreadPoolExecutor(1)


def sessions(folder):
    (found,) = folder.glob("*/study.json")
    return json.loads(found.read_text())


@pytest.mark.parametrize("words", [SWEEP, COMPARE], ids=["sweep", "compare"])
def test_workers_of_any_executor_do_what_one_process_does(words, tmp_path, capsys):
    main([*words, "--out", str(tmp_path / "alone")])
    alone = capsys.readouterr().out.partition("Report:")[0]
    more = ["--workers", "1", "--executor", "tests.search.test_worker_options:threads"]
    main([*words, "--out", str(tmp_path / "shared"), *more])
    assert _without_seconds(capsys.readouterr().out.partition("Report:")[0]) == _without_seconds(alone)
    assert sessions(tmp_path / "shared")["argv"] == sessions(tmp_path / "alone")["argv"]


def _without_seconds(text):
    return [line.partition(" gradients,")[0] for line in text.splitlines() if "workers" not in line]


def test_jobs_of_submitit_are_started_beside_the_sweep(tmp_path):
    pytest.importorskip("submitit")
    words = [*SWEEP, "--out", str(tmp_path), "--workers", "1", "--executor", "submitit"]
    assert main([*words, "--slurm", "nonsense=1"]) == 2
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith("-jobs")] == []
    assert main([*words, "--slurm", "timeout_min=5"]) == 0
    jobs, folder = sorted(tmp_path.iterdir(), key=lambda path: not path.name.endswith("-jobs"))
    assert list(jobs.glob("*_submitted.pkl")) or list(jobs.glob("*_result.pkl"))
    assert json.loads((folder / "study.json").read_text())["status"] == "done"
