"""Every wrong word of the command line is one sentence and exit code 2, before anything is measured."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jaxopt_lab import training
from jaxopt_lab.cli import main
from jaxopt_lab.core.exits import guarded
from tests.studies.engine import make_experiments, replace_engine

ROOT = Path(__file__).parents[1]
SWEEP = ["sweep", "digits-mlp", "--space", "learning_rate=log:0.01:1", "--trials", "2", "--seeds", "1", "--steps", "2"]
COMPARE = ["compare", "digits-mlp", "--rules", "sgd,adam", "--budget", "10"]
BIG = "99999999999999999999"


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch, request):
    """Wrong words are found before the engine is asked for anything."""

    def refuse(*given, **options):
        raise AssertionError("the engine was asked to run")

    if "runs" not in request.keywords:
        monkeypatch.setattr(training.engine, "plan_run", refuse)


@pytest.mark.parametrize(
    ("words", "wording"),
    [
        ([*SWEEP, "--schedule", "cosine:end=abc"], "end of cosine must be a real number, got 'abc'"),
        ([*SWEEP, "--schedule", "cosin"], "Did you mean 'cosine'?"),
        ([*SWEEP, "--set", "fraction=abc"], "fraction must be a number, got 'abc'. By default it is 0.8"),
        ([*SWEEP, "--set", "name=x"], "an option must be one of: "),
        ([*SWEEP, "--set", "self=x"], "an option must be one of: "),
        ([*SWEEP, "--set", "widht=8"], "Did you mean 'width'?"),
        ([*SWEEP, "--rule", ":x"], "your own code is named as module:function, got ':x'"),
        ([*SWEEP, "--rule", "amsgrd"], "Did you mean 'amsgrad'?"),
        ([*SWEEP, "--seed", BIG], f"seed must be at most 2147483647, got {BIG}"),
        ([*SWEEP, "--steps", BIG], f"steps must be at most 2147483647, got {BIG}"),
        ([*SWEEP, "--space", "learning_rate=log:1:1j"], "a dimension must look like"),
        ([*SWEEP, "--space", "self=log:0.1:1"], "does not take the hyperparameters"),
        ([*SWEEP, "--sampler", "sobel"], "Did you mean 'sobol'?"),
        ([*SWEEP, "--objective", "acuracy"], "Did you mean 'accuracy'?"),
        (["sweep", "digits-mpl", *SWEEP[2:]], "Did you mean 'digits-mlp'?"),
        ([*SWEEP, "--executor", "submitit"], "--executor is not told how many workers to start. Add --workers N."),
        ([*COMPARE, "--executor", "mine:pool"], "--executor is not told how many workers to start. Add --workers N."),
        ([*SWEEP, "--workers", "2", "--slurm", "partition=gpu"], "--slurm is of the jobs that --executor submitit"),
        ([*COMPARE, "--workers", "0"], "--workers must be a whole number of at least 1, got 0"),
        ([*COMPARE[:-1], "1e30"], "buys sgd 1e+30 steps on digits-mlp. A run takes at most 2147483647"),
        ([*COMPARE[:-1], "nan"], "budget must be positive and finite"),
        ([*COMPARE, "--seed", BIG], "seed must be at most 2147483647"),
        (["compare", "digits-mlp", "--rules", "sgd,adma", "--budget", "10"], "Did you mean 'adam'?"),
        (
            ["diagnose", "digits-mlp", "--rule", "heavy_ball", "--rule-set", "rho=abc"],
            "rho must be a real number, got 'abc'",
        ),
        (["diagnose", "digits-mlp", "--rule", "adam", "--rule-set", "b1=2"], "adam: b1 must be in [0, 1), got 2"),
        (["diagnose", "digits-mlp", "--rule", "adam", "--rule-set", "b1=abc"], "adam: b1 must be a real number"),
        (["diagnose", "digits-mlp", "--rule", "adam", "--rule-set", "c1=2"], "--rule adam does not take these options"),
        (["diagnose", "digits-mlp", "--rule", "heavy-bal"], "Did you mean 'heavy_ball'?"),
        (["diagnose", "digits-mlp", "--seed", BIG], "--seed must be at most 2147483647"),
        (["diagnose", "digits-mlp", "--learning-rate", "nan"], "learning_rate must be positive and finite"),
        (["diagnose", "digits-mlp", "--set", "dtype=float13"], "dtype must be one of"),
        (["diagnose", "../nowhere/file.py:make"], "there is no module '../nowhere/file.py'"),
        (["diagnose", "nowhere.at.all:make"], "there is no module 'nowhere.at.all'"),
        (["diagnose", "math:sqrrt"], "Did you mean 'sqrt'?"),
        (["diagnose", "math:sqrt"], "math:sqrt failed with {}: TypeError"),
        (["diagnose", "builtins:dict"], "builtins:dict must return a Problem, got dict"),
        (["spectrum", "digits-mlp", "--operator", "hesian"], "Did you mean 'hessian'?"),
        (["spectrum", "digits-mlp", "--seed", BIG], "--seed must be at most 2147483647"),
        (["resume", "nofolder"], "nofolder: does not exist"),
        (["report", "nofolder"], "nofolder holds no results"),
        (["study", "zigzagg"], "Did you mean 'zigzag'?"),
        (["study", "zigzag", "--presett", "quick"], "Did you mean --preset?"),
    ],
    ids=lambda value: " ".join(value[2:])[:60] if isinstance(value, list) else "",
)
def test_a_wrong_word_is_one_sentence(words, wording, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    places = [] if words[0] in ("resume", "report", "study") else ["--out", str(tmp_path)]
    assert main([*words, *places]) == 2
    told = capsys.readouterr().err
    assert wording in told
    assert "Traceback" not in told
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [SWEEP, COMPARE, ["diagnose", "digits-mlp"], ["spectrum", "digits-mlp"], ["study", "zigzag"]],
    ids=lambda w: w[0],
)
@pytest.mark.parametrize("place", ["file", "name"])
def test_a_place_that_cannot_be_written_is_found_before_anything_is_measured(
    words, place, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    (tmp_path / "file").write_text("mine")
    out = tmp_path / ("file" if place == "file" else "x" * 300)
    assert main([*words, "--out", str(out)]) == 2
    told = capsys.readouterr().err.strip().splitlines()[-1]
    assert "is a file" in told or "cannot be written (File name too long)" in told
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (KeyboardInterrupt(), 130, "Stopped."),
        (ZeroDivisionError("division by zero"), 3, "This is an error of the program, not of your input"),
        (MemoryError(), 3, "This is an error of the program"),
        (BrokenPipeError(), 0, ""),
    ],
    ids=["stopped", "crash", "memory", "pipe"],
)
def test_exit_codes_tell_what_happened(error, code, told, capfd):
    def action():
        raise error

    assert guarded(action) == code
    assert told in capfd.readouterr().err


def run(command, **options):
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False, **options)


def test_output_into_a_pipe_that_closes_ends_quietly():
    line = f"{sys.executable} -m jaxopt_lab study --list | head -n 1; echo ${{PIPESTATUS[0]}}"
    found = run(["bash", "-c", line])
    assert found.stderr == ""
    assert found.stdout.splitlines()[-1] in ("0", "141")


def test_ctrl_c_while_packages_are_imported_is_no_traceback(tmp_path):
    program = (
        "import sys, os, signal\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell may have told to ignore it
        "class Stop:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'jax': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Stop())\n"
        "from jaxopt_lab.cli import main; sys.exit(main(['report', 'nowhere']))"
    )
    found = run([sys.executable, "-c", program])
    assert (found.returncode, found.stderr) == (128 + signal.SIGINT, "Stopped.\n")


def test_own_code_is_found_where_it_lies_by_module_and_by_file(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "mine.py").write_text("def bowl(kappa):\n    raise ValueError(f'kappa is {kappa}')\n")
    (tmp_path / "deep" / "broken.py").write_text("import jaxopt_lab\n\nmissing_name\n")
    script = Path(sys.executable).with_name("jaxopt-lab")
    for place, name, wording in (
        ("deep", "mine:bowl", "mine:bowl failed with {'kappa': 4.0}: ValueError: kappa is 4.0, "),
        (".", "deep/mine.py:bowl", "deep/mine.py:bowl failed with {'kappa': 4.0}: ValueError: kappa is 4.0, "),
        ("deep", "broken:bowl", "broken cannot be imported: NameError: name 'missing_name' is not defined, "),
    ):
        words = [script, "spectrum", name, "--set", "kappa=4.0"]
        found = subprocess.run(words, cwd=tmp_path / place, capture_output=True, text=True, check=False)
        assert found.returncode == 2
        assert wording in found.stderr
        assert re.search(r"(mine|broken)\.py:[23]\.\n$", found.stderr)


def test_the_version_is_told():
    found = [
        run([sys.executable, "-m", "jaxopt_lab", "--version"]),
        run([sys.executable, "-c", "import jaxopt_lab; print('jaxopt-lab', jaxopt_lab.__version__)"]),
    ]
    assert found[0].stdout == found[1].stdout
    assert found[0].stdout.startswith("jaxopt-lab 0.")


def test_a_crashed_study_is_not_a_claim_that_fails(tmp_path, monkeypatch):
    make_experiments(tmp_path)
    replace_engine(monkeypatch)
    monkeypatch.chdir(tmp_path)
    words = ([], ["--factor", "0.6"], ["--crash"], ["--steps", "-1"])
    assert [main(["study", "halving", *more]) for more in words] == [0, 1, 3, 2]
