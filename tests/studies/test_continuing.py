import os
import signal
import subprocess
import sys
from pathlib import Path

from jaxopt_lab.storage import read_record
from jaxopt_lab.studies import execute
from tests.studies.descent import STUDY, Config


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
    continued = execute(STUDY, Config(), tmp_path / "killed", quiet=True)
    unbroken = execute(STUDY, Config(), tmp_path / "unbroken", quiet=True)
    assert continued.folder == folder
    assert continued.verdicts == unbroken.verdicts
    for name in ("configs.jsonl", "curves/rows.npz", "verdicts.json", "figure.svg"):
        assert (folder / name).read_bytes() == (unbroken.folder / name).read_bytes()
