import json
import pathlib
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import objectives, rules, training
from jaxopt_lab.core import InputError, Problem
from jaxopt_lab.storage import files

CHILD = pathlib.Path(__file__).with_name("killed_run.py")


def child(folder: pathlib.Path, moment: str, result: pathlib.Path) -> int:
    return subprocess.run([sys.executable, str(CHILD), str(folder), moment, str(result)], check=False).returncode


def bits(path: pathlib.Path) -> dict[str, bytes]:
    with np.load(path) as stored:
        return {name: stored[name].tobytes() for name in stored.files}


def test_killed_at_any_moment_and_resumed_it_gives_the_bits_of_an_unbroken_run(tmp_path):
    assert child(tmp_path / "unbroken", "never", tmp_path / "unbroken.npz") == 0
    expected = bits(tmp_path / "unbroken.npz")
    folder, result = tmp_path / "broken", tmp_path / "broken.npz"
    for moment in ("segment:2", "write:2", "segment:5"):
        assert child(folder, moment, result) == -signal.SIGKILL
        assert not result.exists()
        assert (folder / "checkpoint.npz.writing").exists() == moment.startswith("write")
    assert child(folder, "never", result) == 0
    assert bits(result) == expected


@pytest.fixture(scope="module")
def bowl() -> Problem:
    return objectives.quadratic(objectives.spectra.log_uniform(20, 10.0))


def run(problem, folder, rate=0.1, steps=40, **more):
    hyper = {"learning_rate": rate, "rho": 0.5}
    return training.run(problem, rules.heavy_ball, hyper, steps=steps, folder=folder, **more)


def test_a_finished_run_is_read_back_without_computing(bowl, tmp_path, monkeypatch):
    first = run(bowl, tmp_path)
    monkeypatch.setattr(training.engine.groups, "move", None)
    second = run(bowl, tmp_path)
    np.testing.assert_array_equal(first["loss"], second["loss"])
    np.testing.assert_array_equal(first.params, second.params)


def test_a_run_in_chunks_resumes_bit_by_bit(tmp_path, monkeypatch):
    problem = objectives.quadratic(objectives.spectra.log_uniform(3 * 16_384 + 7, 10.0))
    whole = run(problem, None, loop="chunks", segments=4)
    move, calls = training.engine.groups.move, []

    def stop_at_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return move(*arguments)

    monkeypatch.setattr(training.engine.groups, "move", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path, loop="chunks", segments=4, checkpoint_seconds=0)
    monkeypatch.setattr(training.engine.groups, "move", move)
    resumed = run(problem, tmp_path, loop="chunks", segments=4)
    np.testing.assert_array_equal(whole["loss"], resumed["loss"])
    np.testing.assert_array_equal(whole.params, resumed.params)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"rate": 0.2}, "hyperparameters"), ({"steps": 80}, "records"), ({"width": 2}, "width"), ({"seeds": 1}, "seeds")],
)
def test_another_run_in_the_folder_is_refused_by_name_and_nothing_is_lost(bowl, tmp_path, change, named):
    run(bowl, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=rf"holds another run: it differs in .*{named}"):
        run(bowl, tmp_path, **change)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_a_folder_that_is_not_ours_is_left_alone(bowl, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match=r"not empty and holds no run of jaxopt_lab\. Name another folder"):
        run(bowl, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("keep", [0, 100, -10])
def test_a_torn_checkpoint_is_named(bowl, tmp_path, keep):
    run(bowl, tmp_path)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"checkpoint\.npz: the checkpoint cannot be read .* Remove this file"):
        run(bowl, tmp_path)


def test_a_flipped_bit_in_a_checkpoint_is_found(bowl, tmp_path):
    run(bowl, tmp_path)
    path = tmp_path / "checkpoint.npz"
    content = path.read_bytes()
    place = content.index(b"leaf-1.npy") + 200  # behind the headers, in the array's bytes
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=r"the checkpoint cannot be read"):
        run(bowl, tmp_path)


def test_runs_in_a_session_number_their_folders(bowl, tmp_path):
    with training.checkpoints_in(tmp_path):
        for rate in (0.1, 0.2):
            training.run(bowl, rules.sgd, {"learning_rate": rate}, steps=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-000", "run-001"]
    assert json.loads((tmp_path / "run-000" / "run.json").read_text())["problem"] == "quadratic"


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int32", "bool", "complex64"])
def test_every_dtype_comes_back_bit_by_bit(tmp_path, dtype):
    tree = {
        "array": jnp.asarray([0, 1, 3]).astype(dtype),
        "scalar": jnp.ones((), dtype),
        "empty": jnp.zeros((0, 2), dtype),
    }
    files.save(tmp_path / "file.npz", tree, {"note": 1})
    stored = files.load(tmp_path / "file.npz", tree)
    assert jax.tree.map(lambda leaf: leaf.dtype.name, stored) == dict.fromkeys(tree, dtype)
    assert jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), stored) == jax.tree.map(
        lambda leaf: leaf.tolist(), tree
    )
    assert files.load_facts(tmp_path / "file.npz") == {"note": 1}


def test_random_keys_come_back(tmp_path):
    key = jax.random.key(7)
    files.save(tmp_path / "file.npz", key, {})
    stored = files.load(tmp_path / "file.npz", key)
    assert jax.random.bits(stored) == jax.random.bits(key)
