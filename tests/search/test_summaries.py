import sys
import types
from typing import ClassVar

import pytest

from jaxopt_lab import search
from jaxopt_lab.cli import main
from jaxopt_lab.core import InputError
from jaxopt_lab.search.report import write_summaries
from tests.search.killed_sweep import run


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """Six trials with two seeds, of which one diverges."""
    folder = tmp_path_factory.mktemp("swept") / "bowl"
    space = search.Space(learning_rate=search.log_uniform(0.1, 100.0), rho=search.uniform(0.0, 0.9))
    return run(folder, space=space, width=6)


class Log:
    """What TensorBoard's writer was asked for."""

    made, written = [], []

    def __init__(self, folder, write_to_disk):
        self.made.append((folder, write_to_disk))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def add_hparams(self, hyperparameters, ends, name):
        self.written.append((name, hyperparameters, ends))


class Run:
    """A run of Weights & Biases."""

    runs: ClassVar[list] = []

    def __init__(self, **options):
        self.options, self.summary, self.finished = options, {}, False
        self.runs.append(self)

    def finish(self):
        self.finished = True


def test_each_trial_gives_tensorboard_its_settings_and_its_end_once(swept, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Log))
    best = swept.best()
    name = f"heavy-ball-{best['trial']:05d}"
    assert write_summaries(swept.folder, tensorboard=tmp_path) == 6
    assert Log.made[0] == (str(tmp_path / "bowl"), False)  # only the trials' own folders
    assert Log.written[0] == (
        name, {"rule": "heavy-ball"} | best["hyperparameters"], {"loss": best["median"], "share_infeasible": 0.0},
    )  # fmt: skip
    diverged = [ends for _, _, ends in Log.written if ends["share_infeasible"] == 1]
    assert diverged
    assert all(list(ends) == ["share_infeasible"] for ends in diverged)  # an infinite loss is not plotted
    (tmp_path / "bowl" / name).mkdir(parents=True)
    Log.written.clear()
    assert main(["report", str(swept.folder), "--tensorboard", str(tmp_path)]) == 0
    assert name not in [written[0] for written in Log.written]
    assert len(Log.written) == 5


def test_each_trial_becomes_a_run_of_the_group(swept, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=Run))
    assert write_summaries(swept.folder, wandb="momentum", most=2) == 2
    best = swept.best()
    first = Run.runs[0]
    name = f"heavy-ball-{best['trial']:05d}"
    assert first.options == {
        "project": "momentum", "group": "bowl", "name": name, "id": f"bowl-{name}", "resume": "allow",
        "config": {"rule": "heavy-ball"} | best["hyperparameters"],
    }  # fmt: skip
    assert first.summary["loss"] == best["median"]
    assert all(each.finished for each in Run.runs)


def test_a_real_tensorboard_writer_makes_a_run_for_each_trial(swept, tmp_path):
    pytest.importorskip("tensorboardX")
    assert write_summaries(swept.folder, tensorboard=tmp_path, most=3) == 3
    assert len(list(tmp_path.glob("bowl/heavy-ball-*/events.*"))) == 3


@pytest.mark.parametrize(
    ("module", "asked", "message"),
    [
        ("tensorboardX", {"tensorboard": "logs"}, r"tensorboardX is not installed. .*pip install 'jaxopt_lab\[tensorboard\]'"),
        ("wandb", {"wandb": "momentum"}, r"wandb is not installed. Install it: pip install 'jaxopt_lab\[wandb\]'"),
        ("wandb", {}, "neither tensorboard nor wandb was asked for"),
        ("wandb", {"wandb": "momentum", "most": 0}, "most must be a whole number of at least 1, got 0"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(module, asked, message, swept, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=message):
        write_summaries(swept.folder, **asked)
