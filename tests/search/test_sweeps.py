import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxopt_lab import objectives, rules, search, training
from jaxopt_lab.core import InputError, Status
from jaxopt_lab.search import runner, sweeps
from jaxopt_lab.storage import archives
from jaxopt_lab.storage.locks import HeldError
from tests.search.killed_sweep import bits, run

ROOT = Path(__file__).parents[2]
RATES = search.Space(learning_rate=search.log_uniform(0.1, 10.0))
AT_ENDS = search.Objective(every=40)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with an unbroken sweep."""
    folder = tmp_path_factory.mktemp("whole") / "sweep"
    run(folder)
    return folder


def child(folder, *words, check=True):
    command = [sys.executable, "-m", "tests.search.killed_sweep", str(folder), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=check)


def test_the_best_rate_of_a_quadratic_is_the_closed_form():
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    found = search.sweep(
        bowl, rules.sgd, RATES, num_trials=200, num_seeds=1, steps=40, sampler="grid", objective=AT_ENDS
    )
    # The loss after t steps is sum of lambda (1 - lr lambda)^2t / 2, least where both factors are nearly equal.
    rates = found.of().columns["learning_rate"]
    curvatures = np.array([1.0, 0.1])
    exact = 0.5 * (curvatures * (1 - rates[:, None] * curvatures) ** 80).sum(1)
    kept = found.of().feasible[:, 0]
    np.testing.assert_allclose(found.of().objective[kept, 0], exact[kept], rtol=1e-4)  # float32, 40 steps
    assert found.best()["trial"] == int(np.argmin(exact))
    np.testing.assert_array_equal(~kept, exact > 1e6 * 0.55)  # the start's loss is 0.55
    assert found.near_edge() == {}
    narrow = search.Space(learning_rate=search.log_uniform(0.1, 1.0))
    edge = search.sweep(
        bowl, rules.sgd, narrow, num_trials=200, num_seeds=1, steps=40, sampler="grid", objective=AT_ENDS
    )
    assert edge.near_edge() == {"learning_rate": "high"}
    assert "widen it before anything is concluded" in str(edge)


def test_seeds_are_paired_and_the_median_keeps_misses():
    found = run(None, num_seeds=3)
    trials = found.of()
    assert trials.objective.shape == (6, 3)
    np.testing.assert_array_equal(trials.curves["loss"][:, 0, 0], trials.curves["loss"][0, 0, 0])  # one start a seed
    values = np.where(trials.feasible, trials.objective, np.inf)
    np.testing.assert_array_equal(trials.medians, np.median(values, axis=1))
    row = found.best()
    assert row["interval"] == [min(row["objective"]), max(row["objective"])]
    assert row["level"] == 0.75


def test_a_run_in_a_sweep_is_a_run_of_the_engine():
    found = run(None)
    trials = found.of()
    problem = objectives.with_noise(objectives.quadratic([1.0, 0.1], start=1.0), "gaussian", 0.01)
    hyper = {name: column[[1, 1]] for name, column in trials.columns.items()}
    trace = training.run(
        problem, rules.heavy_ball, hyper, steps=40, every=10, seeds=[0, 1], execution=training.Execution(width=2)
    )
    np.testing.assert_allclose(trials.curves["loss"][1], trace["loss"], rtol=1e-5)  # float32, another program


def test_many_rules_share_one_sweep():
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    momentum = search.Space(learning_rate=search.effective_rate(0.1, 10.0), rho=0.5)
    lines = []
    found = search.sweep(
        bowl, {"sgd": (rules.sgd, RATES), "heavy ball": (rules.heavy_ball, momentum)}, num_trials=8, num_seeds=1, steps=40,
        objective=search.Objective(every=10), sampler="grid", execution=training.Execution(devices=1, log=lines.append),
    )  # fmt: skip
    assert set(found.trials) == {"sgd", "heavy ball"}
    assert found.best()["rule"] == "heavy ball"
    assert [row["median"] for row in found.table()] == sorted(row["median"] for row in found.table())
    assert "8 trials of sgd + 8 trials of heavy ball x 1 seeds = 16 runs of 40 steps" in lines[0]
    assert "2 compiled programs, K = 8 runs side by side, 2 chunks" in lines[1]
    assert "from a short segment" in lines[2]
    assert lines[-1].startswith("chunk 2/2: 16 runs, ")
    json.dumps(found.to_json())


def test_an_objective_may_be_a_validation_metric_and_the_baseline_is_found():
    from jaxopt_lab import problems

    problem = problems.load_problem("digits-mlp", width=4, depth=1, num_examples=60)
    found = search.sweep(
        problem, rules.sgd, search.Space(learning_rate=search.log_uniform(0.03, 1000.0)), num_trials=8, num_seeds=1, steps=30,
        objective=search.Objective("validation_accuracy", every=30), sampler="grid",
        execution=training.Execution(devices=1),
    )  # fmt: skip
    trials = found.of()
    assert trials.maximize
    assert found.best()["median"] == trials.objective[trials.feasible].max()
    assert found.config["baseline"] == pytest.approx(2.3, abs=0.1)  # ln 10
    assert Status.WORSE_THAN_BASELINE in trials.status
    assert trials.share_infeasible > 0


@pytest.mark.parametrize(("moment", "devices"), [("chunk:4", "1"), ("write:4", "4")])
def test_killed_and_continued_it_gives_the_bits_of_an_unbroken_sweep(moment, devices, whole, tmp_path):
    assert child(tmp_path / "sweep", moment, "40", devices, check=False).returncode == -9
    assert len(list((tmp_path / "sweep").glob("curves/*.npz"))) < 6
    told = []
    (tmp_path / "sweep" / "checkpoints" / "seg-00002-00005").mkdir(parents=True)  # of a long round, with more devices
    found = run(tmp_path / "sweep", log=told.append)
    assert found.complete
    assert bits(tmp_path / "sweep") == bits(whole)
    assert json.loads((tmp_path / "sweep" / "study.json").read_text())["status"] == "done"
    assert not (tmp_path / "sweep" / "checkpoints").exists()


def test_the_number_of_devices_changes_no_bit(whole, tmp_path):
    told = []
    found = run(tmp_path / "four", devices=4, log=told.append)  # six chunks: a full round and a half
    assert found.facts["devices"] == 4
    assert "K = 2 runs side by side on each of 4 devices, 6 chunks" in told[2]
    assert bits(tmp_path / "four") == bits(whole)
    assert json.loads((tmp_path / "four" / "study.json").read_text())["sessions"][0]["devices"] == 4
    one, three = (
        run(None, devices=devices, num_trials=5, num_seeds=1) for devices in (1, 3)
    )  # the last chunk holds one trial
    np.testing.assert_array_equal(one.of().curves["loss"], three.of().curves["loss"])


def test_a_long_sweep_takes_the_cheapest_of_a_few_widths_and_keeps_it(tmp_path, monkeypatch):
    seconds = {("vmap", 64): 10.0, ("vmap", 16): 1.5, ("map", 8): 9.0}  # of a round; the sweep has 64 runs
    asked = []

    def fake(of, each, repeats=1):
        asked.append((of.plan.loop, of.plan.width))
        return runner.Timing(seconds[asked[-1]], 0.1)

    for module in (runner, sweeps):
        monkeypatch.setattr(module, "timed", fake)
    told = []
    long = {"num_trials": 64, "num_seeds": 1, "steps": 4, "every": 4, "width": None}
    found = run(tmp_path / "sweep", log=told.append, **long)
    assert asked == [("vmap", 64), ("vmap", 64), ("vmap", 16), ("map", 8)]  # the first again, with more care
    assert (found.facts["loop"], found.facts["width"], found.facts["chunks"]) == ("vmap", 16, 4)
    assert "64 side by side 10 s, 16 side by side 6 s, 8 one after the other in one program 72 s" in told[3]
    assert told[4] == "about 6 s without compilation, from a short segment"
    monkeypatch.setitem(seconds, ("vmap", 64), 0.1)
    (tmp_path / "sweep" / "curves" / "seg-00001.npz").unlink()
    again = run(tmp_path / "sweep", **long)  # the folder's K stays
    assert again.facts["width"] == 16
    assert again.table() == found.table()
    assert run(None, log=told.append, **long).facts["width"] == 64  # so short a sweep is not worth timing
    assert asked[4:] == [("vmap", 16), ("vmap", 64)]
    monkeypatch.setitem(seconds, ("vmap", 64), 7.0)
    assert run(None, log=told.append, **long).facts["width"] == 64  # six seconds are not 15 % less than seven


def test_a_sweep_takes_all_devices_and_leaves_none_idle():
    found = run(None, devices=None, num_trials=4, num_seeds=1, width=None)
    assert (found.facts["devices"], found.facts["width"], found.facts["chunks"]) == (4, 1, 4)
    with pytest.raises(InputError, match="devices must be at most 4, got 5"):
        run(None, devices=5)


def test_a_torn_segment_is_computed_again(whole, tmp_path):
    run(tmp_path / "sweep")
    segment = tmp_path / "sweep" / "curves" / "seg-00005.npz"
    segment.write_bytes(segment.read_bytes()[:100])
    with pytest.raises(InputError, match=r"seg-00005\.npz: cannot be read as the curves of chunk 5"):
        search.load_sweep(tmp_path / "sweep")
    told = []
    run(tmp_path / "sweep", log=told.append)
    assert any("It is kept as seg-00005.npz.damaged-1, and computed again." in line for line in told)
    assert bits(tmp_path / "sweep") == bits(whole)


class Halted:
    """A runner whose first call fails; what it is asked for, folder by folder."""

    def __init__(self, error):
        self.error, self.asked = error, []

    def arrays(self, each, folder=None):
        self.asked.append(folder)
        if len(self.asked) == 1:
            raise self.error
        return [each]


def test_checkpoints_of_a_round_that_cannot_be_used_are_set_aside_and_it_is_computed_again(tmp_path):
    place, told = tmp_path / "seg-00002", []
    place.mkdir()
    (place / "checkpoint.npz").write_bytes(b"torn")
    halted = Halted(InputError("It is torn."))
    assert sweeps._arrays(halted, "round", place, told.append) == ["round"]
    assert halted.asked == [place, place]
    assert told == ["It is torn. They are kept as seg-00002.damaged-1, and computed again."]
    assert (tmp_path / "seg-00002.damaged-1" / "checkpoint.npz").read_bytes() == b"torn"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path / "seg", lambda path: path])
def test_a_round_that_fails_without_checkpoints_fails(make, tmp_path):
    with pytest.raises(InputError, match="The rule fails"):
        sweeps._arrays(Halted(InputError("The rule fails.")), "round", make(tmp_path), print)


def test_a_round_whose_checkpoints_another_process_holds_goes_without(tmp_path):
    held = Halted(HeldError("It is held."))
    assert sweeps._arrays(held, "round", tmp_path, print) == ["round"]
    assert held.asked == [tmp_path, None]
    assert list(tmp_path.parent.glob("*.damaged*")) == []


def test_stopped_by_hand_it_leaves_a_usable_sweep(tmp_path, monkeypatch):
    real, calls = training.run, []

    def stopping(*arguments, **options):
        calls.append(1)
        if len(calls) == 7:  # after two of the estimate and four chunks
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(training, "run", stopping)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "sweep")
    assert json.loads((tmp_path / "sweep" / "study.json").read_text())["status"] == "stopped"
    kept = search.load_sweep(tmp_path / "sweep")
    assert len(kept.table()) == len((tmp_path / "sweep" / "configs.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize(
    ("code", "message"),
    [(errno.ENOSPC, "seg-.*: the disk is full. Make room; the same command continues"),
     (errno.EROFS, r"cannot be written \(Read-only file system\). Give write access")],
)  # fmt: skip
def test_a_disk_that_fails_is_said_plainly_and_loses_nothing(code, message, whole, tmp_path, monkeypatch):
    real, calls = np.savez, []

    def failing(*arguments, **arrays):
        calls.append(1)
        if len(calls) == 3:
            raise OSError(code, os.strerror(code))
        return real(*arguments, **arrays)

    monkeypatch.setattr(archives.np, "savez", failing)
    with pytest.raises(InputError, match=message):
        run(tmp_path / "sweep")
    assert len(search.load_sweep(tmp_path / "sweep").table()) == 2
    run(tmp_path / "sweep")
    assert bits(tmp_path / "sweep") == bits(whole)


def test_folders_of_others_are_left_alone(whole, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"is not empty and holds no sweep\. Name another folder; nothing was over"):
        run(tmp_path)
    with pytest.raises(InputError, match=r"notes\.txt is a file"):
        run(tmp_path / "notes.txt" / "sweep")
    with pytest.raises(InputError, match="holds another sweep"):
        run(whole, steps=41)
    with pytest.raises(InputError, match=r"holds no study\.json"):
        search.load_sweep(tmp_path)
