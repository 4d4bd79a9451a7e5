"""Several processes at one sweep: the chunks of those that die go to the others, and the bits are those of one process."""

import concurrent.futures
import contextlib
import functools
import itertools
import json
import multiprocessing
import os
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

import jax
import pytest

from jaxopt_lab import objectives, rules, search, training
from jaxopt_lab.core import InputError
from tests.search.killed_sweep import bits, problem, run

ROOT = pathlib.Path(__file__).parents[2]
NAME = "tests.search.killed_sweep:problem"
SPACE = search.Space(learning_rate=search.log_uniform(0.1, 10.0), rho=search.uniform(0.0, 0.9))
GIVEN = {
    "num_trials": 6, "num_seeds": 2, "steps": 40, "sampler": "sobol", "objective": search.Objective(every=10),
}  # fmt: skip
NARROW = training.Execution(width=2, devices=1)


def narrow(executor):
    return training.Execution(width=2, devices=1, executor=executor)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with the sweep of one process."""
    return search.sweep(
        problem(), rules.heavy_ball, SPACE, **GIVEN, execution=NARROW, out=tmp_path_factory.mktemp("one")
    )


def started(folder, *words, **options):
    command = [sys.executable, "-m", "tests.search.killed_sweep", str(folder), *words]
    return subprocess.Popen(command, cwd=ROOT, text=True, **options)


def require_whole(folder, like):
    """No chunk lost, none doubled, none damaged, and every file byte for byte that of one process."""
    assert bits(folder) == bits(like)
    assert json.loads((folder / "study.json").read_text())["status"] == "done"
    assert not list(folder.glob("curves/*damaged*"))
    assert not [file for file in folder.rglob("*") if file.name.endswith(".writing")]


def sessions(folder):
    return json.loads((folder / "study.json").read_text())["sessions"]


def test_the_chunk_of_a_killed_process_goes_to_a_living_one(alone, tmp_path):
    """One process dies within its third chunk while another one waits for nothing: it takes the chunk at once."""
    folder = tmp_path / "sweep"
    with started(folder, "wait:4", stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "waiting\n"  # it holds a chunk, and two are done
        lines = []
        threading.Timer(2.0, other.kill).start()
        found = run(folder, log=lines.append)
    assert found.complete
    require_whole(folder, alone.folder)
    assert [session["chunks"] for session in sessions(folder)] == [5]  # all but the one that was stored
    assert "the last 1 chunks are with other processes, which this one waits for" in lines


@pytest.mark.slow
def test_processes_at_one_folder_share_the_chunks(alone, tmp_path):
    folder = tmp_path / "sweep"
    with started(folder, "never"), started(folder, "never"):
        pass
    require_whole(folder, alone.folder)
    assert sum(session["chunks"] for session in sessions(folder)) == 6


@pytest.mark.parametrize(("workers", "kills"), [(2, 1), pytest.param(8, 3, marks=pytest.mark.slow)])
def test_workers_that_are_killed_at_random_lose_and_double_nothing(workers, kills, tmp_path):
    """Each kill hits a process at work: between study.json, which comes first, and the last chunk."""
    steps, moments = "20000", random.Random(workers)
    run(tmp_path / "one", steps=int(steps), every=int(steps) // 4)
    folder = tmp_path / "many"
    with contextlib.ExitStack() as stack:
        team = [stack.enter_context(started(folder, "never", steps)) for _ in range(workers)]
        while not (folder / "study.json").exists():
            time.sleep(0.01)
        for victim in moments.sample(team, kills):
            time.sleep(moments.uniform(0.0, 2.0))
            victim.kill()
    assert sum(process.returncode == -signal.SIGKILL for process in team) <= kills
    assert all(process.returncode in (0, -signal.SIGKILL) for process in team)
    require_whole(folder, tmp_path / "one")


@pytest.mark.slow
def test_a_process_that_sleeps_is_taken_for_dead_and_may_wake_up(alone, tmp_path, monkeypatch):
    """Its lock is held, but its heart does not beat: its chunk is computed twice, to the same bits."""
    monkeypatch.setattr(search.store, "Claims", functools.partial(search.store.Claims, patience=2.0))
    folder = tmp_path / "sweep"
    with started(folder, "wait:3", stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == "waiting\n"
        other.send_signal(signal.SIGSTOP)
        assert run(folder).complete
        require_whole(folder, alone.folder)
        other.send_signal(signal.SIGCONT)
        other.kill()


@pytest.mark.parametrize("kind", ["processes", "threads", pytest.param("own", marks=pytest.mark.slow)])
def test_an_executors_workers_give_the_bits_of_one_process(kind, alone, tmp_path):
    spawn = multiprocessing.get_context("spawn")
    pools = {
        "processes": lambda: concurrent.futures.ProcessPoolExecutor(2, spawn),
        "threads": lambda: concurrent.futures.ThreadPoolExecutor(2),
        "own": contextlib.nullcontext,
    }
    lines = []
    with pools[kind]() as executor:
        execution = training.Execution(width=2, devices=1, executor=executor, workers=2, log=lines.append)
        found = search.sweep(NAME, "heavy_ball", SPACE, **GIVEN, execution=execution, out=tmp_path)
    assert found.config["rules"].keys() == {"heavy_ball"}
    assert found.of().curves["loss"].tobytes() == alone.of().curves["loss"].tobytes()
    assert "chunk 6/6 by 2 workers" in lines
    assert sum(session["chunks"] for session in sessions(found.folder)) == 6
    assert sessions(found.folder)[-1]["chunks"] == 0  # this process computed none


def test_workers_work_in_the_precision_of_their_sender(tmp_path):
    bowl = objectives.quadratic([1.0, 0.1], start=1.0)
    space = search.Space(learning_rate=search.log_uniform(0.1, 1.0))
    given = {"num_trials": 4, "num_seeds": 1, "steps": 8, "objective": search.Objective(every=8)}
    with jax.enable_x64(True):
        one = search.sweep(bowl, rules.sgd, space, **given)
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            execution = training.Execution(executor=pool)
            found = search.sweep(bowl, rules.sgd, space, **given, execution=execution, out=tmp_path)
    assert found.config["dtype"] == "float64"
    assert found.of().curves["loss"].tobytes() == one.of().curves["loss"].tobytes()


def test_what_cannot_be_sent_is_said_with_the_way_out(tmp_path):
    with (
        concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(
            InputError, match=r'sweep: the problem or a rule cannot be sent .*Name it as "module:function", in quotes'
        ),
    ):
        search.sweep(problem(), rules.heavy_ball, SPACE, **GIVEN, execution=narrow(pool), out=tmp_path)


def another(starts=itertools.count(1)):  # noqa: B008
    """A problem that is another one each time that it is made."""
    return objectives.quadratic([1.0, 0.1], start=float(next(starts)))


def test_a_worker_that_makes_another_problem_is_refused(tmp_path):
    with (
        concurrent.futures.ThreadPoolExecutor(1) as pool,
        pytest.raises(InputError, match="the folder holds another sweep: it differs in problem_fingerprint"),
    ):
        search.sweep(
            "tests.search.test_workers:another",
            "heavy_ball",
            SPACE,
            **GIVEN,
            execution=narrow(pool),
            out=tmp_path,
        )


class Dead:
    """An executor whose scheduler is gone."""

    def submit(self, task):
        raise ConnectionRefusedError(111, "Connection refused")


@pytest.mark.parametrize(
    ("executor", "options", "message"),
    [
        (Dead(), {"workers": 2}, r"Dead takes no work \(ConnectionRefusedError.*Look whether its scheduler is up"),
        (Dead(), {}, r"Dead does not tell how many workers it has\. Give execution=Execution\(workers=N\)"),
        ("slurm", {}, r"an executor has submit\(\), got str\. Give one of concurrent\.futures"),
    ],
)
def test_an_executor_that_takes_no_work_is_refused(executor, options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        search.sweep(
            problem(), rules.heavy_ball, SPACE, **GIVEN, out=tmp_path,
            execution=training.Execution(width=2, devices=1, executor=executor, **options),
        )  # fmt: skip


def test_workers_need_a_folder():
    with pytest.raises(InputError, match=r"sweep: workers need a folder that they share\. Give out="):
        search.sweep(problem(), rules.heavy_ball, SPACE, **GIVEN, execution=training.Execution(workers=2))


def die(folder, given):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_pool_that_breaks_is_told_and_the_same_call_continues(alone, tmp_path, monkeypatch):
    monkeypatch.setattr("jaxopt_lab.search.sweeps.take_part", die)
    pool = concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with (
        pool,
        pytest.raises(InputError, match=r"no worker came to its end \(BrokenProcessPool.*the same call continues"),
    ):
        search.sweep(NAME, "heavy_ball", SPACE, **GIVEN, execution=narrow(pool), out=tmp_path)
    found = search.sweep(NAME, "heavy_ball", SPACE, **GIVEN, execution=NARROW, out=tmp_path)
    assert found.of().curves["loss"].tobytes() == alone.of().curves["loss"].tobytes()


def test_the_local_executor_of_submitit_carries_a_sweep_out(alone, tmp_path):
    submitit = pytest.importorskip("submitit")
    executor = submitit.AutoExecutor(folder=tmp_path / "jobs", cluster="local")
    executor.update_parameters(timeout_min=5)
    execution = training.Execution(width=2, devices=1, executor=executor, workers=2)
    found = search.sweep(NAME, "heavy_ball", SPACE, **GIVEN, execution=execution, out=tmp_path)
    assert found.of().curves["loss"].tobytes() == alone.of().curves["loss"].tobytes()
    assert sessions(found.folder)[-1]["chunks"] == 0


def test_a_job_whose_time_is_over_is_queued_again():
    helpers = pytest.importorskip("submitit.helpers")
    task = training.workers.Task(die, {"folder": 1}, {}, "here")
    again = task.checkpoint()
    assert isinstance(again, helpers.DelayedSubmission)
    assert again.function is task


def test_the_executor_of_dask_carries_a_sweep_out(alone, tmp_path):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        client.get_executor() as executor,
    ):
        execution = training.Execution(width=2, devices=1, executor=executor, workers=2)
        found = search.sweep(NAME, "heavy_ball", SPACE, **GIVEN, execution=execution, out=tmp_path)
    assert found.of().curves["loss"].tobytes() == alone.of().curves["loss"].tobytes()
