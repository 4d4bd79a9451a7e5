import json
import re
import shutil
import sys
import types

import pytest

from jaxopt_lab import objectives, rules, search
from jaxopt_lab.cli import main
from jaxopt_lab.core import InputError
from jaxopt_lab.reporting.figures import house_style, svg_text
from jaxopt_lab.reporting.page import page_body
from jaxopt_lab.search import report, schedules
from jaxopt_lab.search.figures import draw_parallels, draw_slices
from jaxopt_lab.storage.folder import folder_name

WORDS = [
    "sweep", "tests.search.test_pages:bowl", "--rule", "sgd", "--rule", "heavy_ball", "--space", "learning_rate=log:0.1:100",
    "--space", "heavy_ball.rho=one-minus:0:0.9", "--trials", "6", "--seeds", "2", "--steps", "20", "--every", "20",
    "--width", "6", "--devices", "2",
]  # fmt: skip
AT_ENDS = search.Objective(every=20)
TRUST = ["--problem", "tests.search.test_pages:bowl"]


def bowl():
    return objectives.quadratic([1.0, 0.1], start=1.0)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    out = tmp_path_factory.mktemp("results")
    assert main([*WORDS, "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return folder


def test_the_verb_leaves_a_folder_named_by_its_config_and_a_page(swept):
    record = json.loads((swept / "study.json").read_text())
    assert swept.name == folder_name("sweep-quadratic", record["config"])
    assert record["status"] == "done"
    assert record["argv"] == WORDS[1:-2]  # the number of devices changes nothing
    assert record["facts"]["devices"] == 2
    page = (swept / "report.html").read_text()
    assert page.count("<tr>") > 12
    assert "All 12 trials" in page
    assert "6 on each of 2 devices, loop vmap, 4 chunks" in page
    assert "jaxopt-lab sweep tests.search.test_pages:bowl" in page
    assert page.count("<svg") == 4  # curves, slices of each rule, parallel coordinates of the one with two dimensions
    assert not re.search(r"""(src|href)=["'](?!#|data:)""", page)  # nothing comes from elsewhere
    assert "diverged or ended worse than a constant predictor" in page


def test_report_and_resume_know_sweeps(swept, capsys):
    before = (swept / "report.html").read_text()
    (swept / "report.html").unlink()
    assert main(["report", str(swept)]) == 0
    assert (swept / "report.html").read_text() == before
    assert main(["resume", str(swept), *TRUST]) == 0
    assert "4 of 4 chunks are already there" in capsys.readouterr().err


def test_a_renamed_folder_is_continued_in_place(swept, tmp_path, capsys):
    mine = tmp_path / "mine"
    shutil.copytree(swept, mine)
    (mine / "curves" / "seg-00002.npz").unlink()
    assert main(["resume", str(mine), *TRUST]) == 0
    assert "3 of 4 chunks are already there" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    for name in ("curves/seg-00002.npz", "configs.jsonl"):
        assert (mine / name).read_bytes() == (swept / name).read_bytes()


def test_code_that_a_folder_names_is_run_only_where_the_user_names_it_too(swept, tmp_path, capsys):
    strange = tmp_path / "strange"
    shutil.copytree(swept, strange)
    record = json.loads((strange / "study.json").read_text())
    command = f"touch {tmp_path / 'taken'}"
    record["argv"] = ["os:system", "--set", f"command={command}", "--space", "learning_rate=log:0.1:1"]
    (strange / "study.json").write_text(json.dumps(record))
    assert main(["resume", str(strange), *TRUST]) == 2
    told = capsys.readouterr().err
    assert "names code that would be run: os:system. If you trust it, name it yourself:" in told
    assert "--problem os:system" in told
    assert not (tmp_path / "taken").exists()
    record["argv"] = [*WORDS[1:-2], "--rule", "os:system"]
    (strange / "study.json").write_text(json.dumps(record))
    assert main(["resume", str(strange), *TRUST]) == 2
    assert "--rule os:system" in capsys.readouterr().err


@pytest.mark.parametrize("chunks", [(0, 1), (1, 0), (0, 2), (2, 3), (3, 0)])
def test_a_chunk_copied_over_its_sibling_is_not_taken_for_it(swept, tmp_path, capsys, chunks):
    mine = tmp_path / "mine"
    shutil.copytree(swept, mine)
    source, target = (mine / "curves" / f"seg-{number:05d}.npz" for number in chunks)
    shutil.copy(source, target)
    assert main(["report", str(mine)]) == 2
    assert f"it belongs to another chunk: {chunks[0]} in place of {chunks[1]}" in capsys.readouterr().err
    assert main(["resume", str(mine), *TRUST]) == 0
    assert f"It is kept as {target.name}.damaged-1, and computed again" in capsys.readouterr().err
    assert target.read_bytes() == (swept / "curves" / target.name).read_bytes()


def test_a_chunk_of_another_sweep_is_not_taken_for_its_own(swept, tmp_path):
    other, mine = tmp_path / "other", tmp_path / "mine"
    shutil.copytree(swept, mine)
    assert main([*WORDS, "--steps", "8", "--out", str(other)]) == 0
    (folder,) = other.iterdir()
    shutil.copy(folder / "curves" / "seg-00000.npz", mine / "curves" / "seg-00000.npz")
    with pytest.raises(InputError, match=r"belongs to another sweep|has the shape"):
        search.load_sweep(mine)


def test_workers_of_the_command_line_share_a_folder_and_leave_a_page(swept, tmp_path, capsys):
    assert main([*WORDS, "--out", str(tmp_path), "--workers", "2"]) == 0
    (folder,) = tmp_path.iterdir()
    assert (folder / "configs.jsonl").read_bytes() == (swept / "configs.jsonl").read_bytes()
    assert "chunk 4/4 by 2 workers" in capsys.readouterr().err
    record = json.loads((folder / "study.json").read_text())
    assert record["argv"] == WORDS[1:-2]
    assert sum(session["chunks"] for session in record["sessions"]) == 4
    assert record["sessions"][-1]["chunks"] == 0  # the one that started them
    assert (folder / "report.html").exists()


def test_a_page_of_studies_leaves_sweeps_out(swept):
    assert main(["report", str(swept.parent)]) == 2  # there is no study beside it


def test_a_sweep_from_python_is_continued_from_python(tmp_path, capsys):
    space = search.Space(learning_rate=search.log_uniform(0.1, 1.0))
    found = search.sweep(bowl(), rules.sgd, space, num_trials=2, num_seeds=1, steps=2, out=tmp_path)
    assert found.folder.parent == tmp_path
    assert main(["resume", str(found.folder)]) == 2
    assert "was begun by a Python program. Run that program again: it continues." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--space", "learning_rate"], "a hyperparameter must be NAME=DIMENSION, got 'learning_rate'"),
        ([], "there is no --space. Example: --space learning_rate=log:1e-4:1."),
        (["--rule", "adm", "--space", "learning_rate=log:0.1:1"], "Did you mean 'adam'?"),
        (["--space", "adam.learning_rate=log:0.1:1"], "the rule in --space must be one of: sgd; got 'adam'"),
        (
            ["--space", "learning_rate=log:0.1:1", "--workers", "0"],
            "--workers must be a whole number of at least 1, got 0",
        ),
        (["--space", "learning_rate=log:0.1:1", "--schedule", "cosin"], "Did you mean 'cosine'?"),
        (["--space", "learning_rate=log:0.1:1", "--set", "width"], "an option must be NAME=VALUE, got 'width'"),
        (["--space", "learning_rate=log:0.1:1", "--objective", "accuracy"], "objective must be one of: loss"),
    ],
)
def test_wrong_words_are_refused(words, message, tmp_path, capsys):
    assert main(["sweep", "tests.search.test_pages:bowl", *words, "--out", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_schedule_on_the_command_line_fills_its_steps_in(tmp_path):
    words = [
        "--space",
        "learning_rate=log:0.1:1",
        "--schedule",
        "warmup_cosine:warmup=2",
        "--trials",
        "2",
        "--seeds",
        "1",
    ]
    assert main(["sweep", "tests.search.test_pages:bowl", *words, "--steps", "8", "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    kept = search.load_sweep(folder).of()
    factory = schedules.Scheduled(rules.sgd, "warmup_cosine", warmup=2, steps=8)
    again = search.sweep(bowl(), factory, kept.space, num_trials=2, num_seeds=1, steps=8)
    assert (again.of().objective == kept.objective).all()


def test_parallel_coordinates_say_what_the_best_trials_agree_on():
    def rule(learning_rate, kind, rho, idle, wait):
        return rules.heavy_ball(learning_rate, rho)

    space = search.Space(
        learning_rate=search.log_uniform(1e-3, 100.0), kind=search.choices(0, 1), idle=search.uniform(0.0, 1.0),
        rho=search.when("kind", 1, search.one_minus_log_uniform(0.0, 0.9), 0.0), wait=search.integers(1, 3),
    )  # fmt: skip
    found = search.sweep(bowl(), rule, space, num_trials=60, num_seeds=1, steps=20, objective=AT_ENDS)
    svg, captions = [], []
    for _ in range(2):
        with house_style() as maker:
            figure, caption = draw_parallels(found, found.of(), maker)
            svg.append(svg_text(figure))
            captions.append(caption)
            assert draw_slices(found, found.of(), maker) is None  # five hyperparameters are too many
    assert svg[0] == svg[1]
    assert (
        "the best 6 of 60 trials (dark; circles on the best of all) agree most on learning rate: they span"
        in captions[0]
    )
    for text in ("0.001", "100", "off", "or worse", "idle"):
        assert f">{text}<" in svg[0] or f"{text}<" in svg[0]


def test_a_sweep_shows_itself_kept_or_not(swept, tmp_path, monkeypatch):
    kept = search.load_sweep(swept)
    kept.save(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == (swept / "report.html").read_text()
    assert repr(kept) == "<Sweep of quadratic: 6 trials of sgd, 6 trials of heavy_ball x 2 seeds>"
    assert len(str(kept).splitlines()) <= 40
    monkeypatch.setitem(sys.modules, "pandas", types.SimpleNamespace(DataFrame=list))
    first = kept.to_dataframe()[0]
    best = kept.best()
    assert first["median"] == best["median"]
    assert (first["low"], first["high"]) == tuple(best["interval"])
    assert first["learning_rate"] == best["hyperparameters"]["learning_rate"]
    space = search.Space(learning_rate=search.log_uniform(0.1, 1.0))
    free = search.sweep(bowl(), rules.sgd, space, num_trials=2, num_seeds=1, steps=2)
    free.save(tmp_path / "free.html")
    page = (tmp_path / "free.html").read_text()
    assert "All 2 trials" in page
    assert "jaxopt-lab sweep tests" not in page  # there is no command that redoes it
    assert free._repr_html_() == page_body(page)
    assert free.plot().axes[0].get_xlabel() == "steps"


def test_a_sweep_in_which_all_diverged_says_so(tmp_path):
    space = search.Space(learning_rate=search.log_uniform(20.0, 40.0))
    found = search.sweep(bowl(), rules.sgd, space, num_trials=6, num_seeds=1, steps=20, objective=AT_ENDS, out=tmp_path)
    assert "no trial is feasible: search other values, for learning rates smaller ones" in str(found)
    page = report.write_sweep_page(found.folder).read_text()
    assert "no trial is feasible; 100% of its runs diverged" in page
    assert "<svg" not in page
