import os
import signal
import subprocess
import sys
from pathlib import Path

from jaxopt_lab.storage import read_record
from jaxopt_lab.studies import load_study
from jaxopt_lab.studies.execution import execute
from tests.studies import descent


def test_a_killed_study_continues_to_the_same_bytes(tmp_path):
    script = Path(__file__).with_name("descent.py")
    killed = subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path / "killed")],
        env=os.environ | {"KILL_AFTER": "20", "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    (folder,) = (tmp_path / "killed").iterdir()
    assert read_record(folder)["status"] == "running"
    assert list(folder.glob("checkpoints/20-steps*/*"))
    study = load_study(descent)
    continued, unbroken = (execute(study, descent.Config(), tmp_path / out, log=None) for out in ("killed", "unbroken"))
    assert continued.folder == folder
    assert continued.verdicts == unbroken.verdicts
    for name in ("configs.jsonl", "curves/rows.npz", "verdicts.json"):
        assert (folder / name).read_bytes() == (unbroken.folder / name).read_bytes()
