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
from jaxopt_lab.storage import archives
from jaxopt_lab.training.feasibility import Feasibility
from jaxopt_lab.training.storage import Checkpoints

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
        assert any(folder.glob(".checkpoint.npz.*.writing")) == moment.startswith("write")
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
    whole = run(problem, None, execution=training.Execution(loop="chunks", segments=4))
    move, calls = training.engine.groups.move, []

    def stop_at_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return move(*arguments)

    monkeypatch.setattr(training.engine.groups, "move", stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        run(problem, tmp_path, execution=training.Execution(loop="chunks", segments=4, checkpoint_seconds=0))
    monkeypatch.setattr(training.engine.groups, "move", move)
    resumed = run(problem, tmp_path, execution=training.Execution(loop="chunks", segments=4))
    np.testing.assert_array_equal(whole["loss"], resumed["loss"])
    np.testing.assert_array_equal(whole.params, resumed.params)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rate": 0.2}, "hyperparameters"),
        ({"steps": 80}, "records"),
        ({"execution": training.Execution(width=2)}, "width"),
        ({"seeds": 1}, "seeds"),
    ],
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
    with pytest.raises(
        InputError, match=r"checkpoint\.npz: cannot be read as the checkpoint of a run .* Remove the run\'s folder"
    ):
        run(bowl, tmp_path)


def test_a_flipped_bit_in_a_checkpoint_is_found(bowl, tmp_path):
    run(bowl, tmp_path)
    path = tmp_path / "checkpoint.npz"
    content = path.read_bytes()
    place = content.index(b"leaf-1.npy") + 200  # behind the headers, in the array's bytes
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=r"cannot be read as the checkpoint of a run \(Bad CRC"):
        run(bowl, tmp_path)


def test_runs_of_a_study_keep_the_folders_that_their_caller_names(bowl, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    for name, rate in (("slow", 0.1), ("fast", 0.2)):
        training.run(bowl, rules.sgd, {"learning_rate": rate}, steps=2, folder=checkpoints.of(name))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fast", "slow"]
    assert json.loads((tmp_path / "slow" / "run.json").read_text())["problem"] == "quadratic"


def test_checkpoints_without_a_folder_keep_nothing(bowl, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    training.run(bowl, rules.sgd, {"learning_rate": 0.1}, steps=2, folder=Checkpoints().of("slow"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int32", "bool", "complex64"])
def test_every_dtype_comes_back_bit_by_bit(tmp_path, dtype):
    tree = {
        "array": jnp.asarray([0, 1, 3]).astype(dtype),
        "scalar": jnp.ones((), dtype),
        "empty": jnp.zeros((0, 2), dtype),
    }
    archives.save(tmp_path / "file.npz", tree, {"note": 1})
    stored = archives.load(tmp_path / "file.npz", tree)
    assert jax.tree.map(lambda leaf: leaf.dtype.name, stored) == dict.fromkeys(tree, dtype)
    assert jax.tree.map(lambda leaf: np.asarray(leaf).tolist(), stored) == jax.tree.map(
        lambda leaf: leaf.tolist(), tree
    )
    assert archives.load_facts(tmp_path / "file.npz") == {"note": 1}


def test_random_keys_come_back(tmp_path):
    key = jax.random.key(7)
    archives.save(tmp_path / "file.npz", key, {})
    stored = archives.load(tmp_path / "file.npz", key)
    assert jax.random.bits(stored) == jax.random.bits(key)


def test_two_processes_never_run_in_one_folder_at_once(bowl, tmp_path):
    code = (
        "import sys, time; from jaxopt_lab import objectives, rules, training; from jaxopt_lab.training import groups\n"
        "def wait(*arguments): print('held', flush=True); time.sleep(60)\n"
        "groups.move = wait\n"
        "problem = objectives.quadratic(objectives.spectra.log_uniform(20, 10.0))\n"
        "hyper = {'learning_rate': 0.1, 'rho': 0.5}\n"
        "training.run(problem, rules.heavy_ball, hyper, steps=40, folder=sys.argv[1])"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"the run in .*: process {other.pid} works on it. Let it finish"):
            run(bowl, tmp_path)
        other.kill()
    np.testing.assert_array_equal(run(bowl, tmp_path)["loss"], run(bowl, None)["loss"])


def test_a_siblings_checkpoint_or_curves_are_not_taken_for_its_own(bowl, tmp_path):
    for name, rate in (("mine", 0.1), ("other", 0.2)):
        run(bowl, tmp_path / name, rate)
    for name in ("curves/seg-00000.npz", "checkpoint.npz"):
        (tmp_path / "mine" / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(InputError, match=f"{name}: cannot be read .*it belongs to another run"):
            run(bowl, tmp_path / "mine")
    for name in ("curves/seg-00000.npz", "checkpoint.npz"):
        (tmp_path / "mine" / name).unlink()
    run(bowl, tmp_path / "mine")
    (tmp_path / "mine" / "curves/seg-00000.npz").write_bytes((tmp_path / "mine" / "curves/seg-00001.npz").read_bytes())
    with pytest.raises(InputError, match="it belongs to another segment: 1 in place of 0"):
        run(bowl, tmp_path / "mine")


def test_inside_of_a_study_a_run_of_another_rule_or_a_damaged_one_begins_anew(bowl, tmp_path, caplog):
    def inside(rate):
        place = Checkpoints(tmp_path).of("descent")
        return training.run(bowl, rules.sgd, {"learning_rate": rate}, steps=40, folder=place)

    inside(0.1)
    np.testing.assert_array_equal(
        inside(0.2)["loss"], training.run(bowl, rules.sgd, {"learning_rate": 0.2}, steps=40)["loss"]
    )
    assert "differs in hyperparameters" in caplog.text
    checkpoint = tmp_path / "descent" / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:100])
    np.testing.assert_array_equal(
        inside(0.2)["loss"], training.run(bowl, rules.sgd, {"learning_rate": 0.2}, steps=40)["loss"]
    )
    assert "The run begins anew." in caplog.messages[-1]


@pytest.mark.parametrize("limits", [{"blow_up": 10.0}, {"baseline": 1.0}])
def test_other_limits_of_divergence_are_another_run(bowl, tmp_path, limits):
    run(bowl, tmp_path)
    with pytest.raises(InputError, match="it differs in limits"):
        run(bowl, tmp_path, feasibility=Feasibility(**limits))


def test_a_number_that_the_rule_closes_over_is_another_run(bowl, tmp_path):
    import optax

    for factor, table in ((1.0, jnp.ones(60)), (0.01, 0.01 * jnp.ones(60))):
        rule = optax.chain(optax.scale_by_schedule(lambda step, table=table: table[step]), optax.sgd(0.1))
        if factor == 1.0:
            training.run(bowl, rule, steps=40, folder=tmp_path)
        else:
            with pytest.raises(InputError, match="it differs in program"):
                training.run(bowl, rule, steps=40, folder=tmp_path)
