"""Every kind of file of a results folder, damaged in every way: one sentence, exit code 2, nothing lost, the rest goes on."""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

from jaxopt_lab import curvature, objectives, rules, training
from jaxopt_lab.cli import main
from jaxopt_lab.core import InputError
from jaxopt_lab.reporting import figures
from jaxopt_lab.reporting.figure_data import figure_data
from tests.fuzz import cases
from tests.studies.engine import make_experiments

BOWL = "tests.fuzz.test_damage:bowl"
SWEEP = [
    "sweep",
    BOWL,
    "--space",
    "learning_rate=log:0.1:1",
    "--trials",
    "2",
    "--seeds",
    "2",
    "--steps",
    "4",
    "--width",
    "2",
]
COMPARE = ["compare", BOWL, "--rules", "sgd,heavy_ball", "--budget", "8", "--trials", "2", "--final-seeds", "2"]


def bowl():
    return objectives.quadratic([1.0, 0.1], start=1.0)


def quiet(words):
    """(exit code, what was said) of a command line."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        code = main(words)
    return code, said.getvalue()


def descended(folder):
    return training.run(
        bowl(),
        rules.sgd,
        {"learning_rate": [0.1, 0.5]},
        steps=40,
        folder=folder,
        execution=training.Execution(checkpoint_seconds=0),
    )


def searched(path):
    operator = curvature.from_diagonal(jnp.linspace(1.0, 2.0, 30))
    return curvature.eigenpairs(operator, 2, checkpoint=path).largest.values


@pytest.fixture(scope="module")
def made():
    """A folder with a study, a sweep, a comparison, a run, a search and parameters, and a sibling of each."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        make_experiments(Path(place), "doubling")
        for study in ("halving", "doubling"):
            assert quiet(["study", study])[0] == 0
        assert quiet([*SWEEP, "--out", "sweeps"])[0] == 0
        assert quiet([*COMPARE, "--out", "comparisons"])[0] == 0
        for name in ("run", "other"):
            descended(Path(name))
        searched("search.npz")
        training.save_params("params.npz", {"w": jnp.arange(3.0)})
        yield Path(place)


def kinds(root):
    """Every file of our own, relative to the root, without pages of several folders and locks."""
    found = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    return [
        path
        for path in found
        if "locks" not in path.parts and "experiments" not in path.parts and path.parts != ("results", "report.html")
    ]


def damage(path, how, siblings, place):
    """Damages a file in one way; False where that way does not exist for it."""
    content = path.read_bytes()
    changed = {
        "empty": b"",
        "cut": content[: int(place * len(content))],
        "flipped": _flipped(content, place),
        "foreign": b"my thesis, chapter one\n",
        "other json": b'{"kind": "jaxopt_lab sweep", "study": 3, "config": [], "status": null}',
        "a list": b"[1, 2, {}]",
        "sibling": siblings[int(place * len(siblings))].read_bytes() if siblings else content,
    }[how]
    path.write_bytes(changed)
    return changed != content


def _flipped(content, place):
    if not content:
        return content
    at = min(int(place * len(content)), len(content) - 1)
    return content[:at] + bytes([content[at] ^ (1 << (at % 8))]) + content[at + 1 :]


def use(root, path):
    """What a user does with a file, as (exit code, what was said)."""
    top = path.parts[0]
    if top == "search.npz":
        return _guarded(lambda: searched(root / path))
    if top == "params.npz":
        return _guarded(lambda: training.load_params(root / path, {"w": jnp.zeros(3)}))
    if top in ("run", "other"):
        return _guarded(lambda: descended(root / top))
    folder = root / path.parts[0] / path.parts[1]
    reported = quiet(["report", str(folder)])
    resumed = quiet(["resume", str(folder), "--problem", BOWL])
    return max(reported[0], resumed[0]), reported[1] + resumed[1]


def _guarded(action):
    try:
        action()
    except InputError as error:
        return 2, str(error)
    return 0, ""


@pytest.fixture(scope="module")
def copies(made):
    """Makes a fresh copy of what was made for each case."""
    whole = tempfile.mkdtemp()
    yield lambda: shutil.copytree(made, tempfile.mkdtemp(dir=whole) + "/copy", symlinks=True)
    shutil.rmtree(whole)


@pytest.fixture(scope="module", autouse=True)
def rendered_once():
    """A figure whose numbers and words were rendered before is not rendered again: most damage changes none of them."""
    from matplotlib.text import Text

    rendered, render = {}, figures._rendered

    def render_once(figure, kind, **options):
        areas = [
            path.vertices.tobytes() for axes in figure.axes for area in axes.collections for path in area.get_paths()
        ]
        pictures = [np.ma.getdata(image.get_array()).tobytes() for axes in figure.axes for image in axes.images]
        words = [text.get_text() for text in figure.findobj(Text)]
        drawn = repr((kind, options, figure_data(figure), areas, pictures, words))
        if drawn not in rendered:
            rendered[drawn] = render(figure, kind, **options)
        return rendered[drawn]

    with mock.patch.object(figures, "_rendered", render_once):
        yield


WAYS = ["empty", "cut", "flipped", "foreign", "other json", "a list", "sibling"]
_state = {}


@pytest.fixture(scope="module", autouse=True)
def prepared(made, copies):
    _state["made"], _state["copies"], _state["kinds"] = made, copies, kinds(made)


def damaged(which, how, place):
    root, names = Path(_state["copies"]()), _state["kinds"]
    try:
        name = names[int(which * len(names))]
        siblings = [
            root / each
            for each in names
            if each.name[:4] == name.name[:4] and each.suffix == name.suffix and each != name
        ]
        before = {each: (root / each).read_bytes() for each in names if each != name}
        damage(root / name, how, siblings, place)
        with contextlib.chdir(root):
            code, said = use(root, name)
        assert code in (0, 2), f"{name}, {how}: {said}"
        assert "Traceback" not in said, f"{name}, {how}: {said}"
        for each, content in before.items():
            kept = [root / each, *(root / each).parent.glob(f"{each.name}.damaged-*")]
            same = any(path.exists() and path.read_bytes() == content for path in kept)
            assert same or each.name in ("report.html", "study.json", "configs.jsonl", "verdicts.json"), (
                f"{each} was lost"
            )
    finally:
        shutil.rmtree(root)


test_a_damaged_file_is_one_sentence_and_nothing_is_lost, test_many_damaged_files = cases(
    60, damaged, which=st.floats(0, 0.999), how=st.sampled_from(WAYS), place=st.floats(0, 0.999)
)
