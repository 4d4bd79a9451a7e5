"""The examples are short, open as notebooks, and run from an empty folder without a warning."""

import os
import pathlib
import subprocess
import sys

import pytest

EXAMPLES = sorted((pathlib.Path(__file__).parents[1] / "examples").glob("*.py"))
LEAVES = {"practitioner": "convnet.html", "linen_model": "deep.png", "sweep": "sweep.html", "spectrum": "spectrum.html"}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_opens_as_a_notebook(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 60
    assert lines[0] == "# %% [markdown]"
    assert lines[1].startswith("# # ")
    assert sum(line.startswith("# %%") for line in lines) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_in_an_empty_folder(path, tmp_path):
    cache = {"JAX_COMPILATION_CACHE_DIR": str(path.parents[1] / ".cache" / "xla")}
    words = [sys.executable, "-W", "error", str(path)]
    done = subprocess.run(words, cwd=tmp_path, env=os.environ | cache, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    if path.stem in LEAVES:
        assert (tmp_path / LEAVES[path.stem]).stat().st_size > 1000
