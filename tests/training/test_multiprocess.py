"""Two local processes under `jax.distributed` (gloo) find the digits of one, return, and go on after a kill."""

import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import jax
import pytest
from jax.sharding import AxisType

from jaxopt_lab.core import InputError
from jaxopt_lab.storage import archives
from jaxopt_lab.training import shared_storage
from tests.training import two_processes

ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 240  # after which something that does not return is ended; a child takes about ten seconds
needs_two = pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")


def started(what, *folder, devices=1):
    """Both processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    given = os.environ.get("XLA_FLAGS", "")  # other optimizations are other digits
    flags = {"XLA_FLAGS": f"{given} --xla_force_host_platform_device_count={devices}", "JAX_PLATFORMS": "cpu"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tests.training.two_processes", str(rank), "2", str(port), what, *map(str, folder)],
            cwd=ROOT, env=os.environ | flags, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip


def told(team):
    """What each process printed, name -> bits; those that do not return are killed, and fail."""
    found = []
    try:
        for each in team:
            out, errors = each.communicate(timeout=SECONDS)
            assert each.returncode == 0, errors
            found.append(dict(line.split() for line in out.splitlines() if line[:1] != "["))
    finally:
        for each in team:
            each.kill()
            each.wait()
    return found


def alone(words):
    """The same, from this process."""
    kinds = {"": AxisType.Auto, "explicit": AxisType.Explicit}
    return {word: two_processes.WHAT[word.partition(":")[0]](kinds[word.partition(":")[2]]) for word in words}


@needs_two
def test_two_processes_find_the_digits_of_one():
    words = ["hessian", "trace", "run", "hessian:explicit", "run:explicit"]
    assert told(started(",".join(words))) == [alone(words)] * 2


@needs_two
@pytest.mark.slow
def test_two_processes_find_the_digits_of_one_in_every_estimate():
    words = [f"{name}{kind}" for name in two_processes.WHAT for kind in ("", ":explicit")]
    assert told(started(",".join(words))) == [alone(words)] * 2


@pytest.mark.slow
def test_a_trace_on_several_devices_of_each_process_returns():
    """Two sums over the devices of a CPU that are under way at once can take all of its threads, and neither ends."""
    one, other = told(started(",".join(["trace"] * 5), devices=2))
    assert one == other


@needs_two
@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_of_two_processes_is_killed_and_both_go_on_to_the_same_digits(victim, tmp_path):
    team = started("run", tmp_path, "1.0")
    mine = tmp_path / f"process-{victim}-of-2"
    while not (mine / "checkpoint-0.npz").exists():
        assert team[victim].poll() is None
        time.sleep(0.01)
    time.sleep(random.Random(victim).uniform(0.0, 1.5))
    team[victim].send_signal(signal.SIGKILL)
    time.sleep(0.5)
    for each in team:  # the other one waits for sums that never come
        each.kill()
        each.communicate()
    assert team[victim].returncode == -signal.SIGKILL
    first = (mine / "curves" / "seg-00000.npz").stat().st_mtime_ns
    assert told(started("run", tmp_path)) == [alone(["run"])] * 2
    assert (mine / "curves" / "seg-00000.npz").stat().st_mtime_ns == first  # it did not begin anew


@needs_two
@pytest.mark.slow
def test_a_search_that_was_killed_goes_on_in_both_processes(tmp_path):
    """Each writes what it holds of the basis, in two files in turn, and both go on from the newest that both have."""
    team = started("journal", tmp_path, "0.2")
    files = [tmp_path / f"search.npz.process-{rank}-of-2.{slot}" for rank in (0, 1) for slot in (0, 1)]
    while not all(file.exists() for file in files):
        assert team[1].poll() is None
        time.sleep(0.01)
    for each in reversed(team):
        each.kill()
        each.communicate()
    one, other = told(started("journal", tmp_path))
    assert one == other == {"journal": alone(["eigenpairs"])["eigenpairs"]}
    first = [archives.load_facts(file)["products"] for file in files]
    assert min(first) > 4


@pytest.mark.slow
def test_where_one_process_cannot_go_on_both_say_so(tmp_path):
    (tmp_path / "process-1-of-2").mkdir()
    (tmp_path / "process-1-of-2" / "notes.txt").write_text("mine")
    team = started("run", tmp_path)
    errors = [each.communicate(timeout=SECONDS)[1] for each in team]
    assert "run: process 1 cannot go on. It says why." in errors[0]
    assert "the folder is not empty and holds no run of jaxopt_lab" in errors[1]


def test_a_folder_of_another_number_of_processes_is_refused(tmp_path):
    (tmp_path / "process-0-of-3").mkdir()
    with pytest.raises(InputError, match=r"the run in it was carried out by 3 processes, not 2\. Go on with as many"):
        shared_storage._require_same_number(tmp_path, 2)
    (tmp_path / "process-0-of-3").rmdir()
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(InputError, match="carried out by 1 process, not 2"):
        shared_storage._require_same_number(tmp_path, 2)
