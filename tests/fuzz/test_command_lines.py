"""Command lines put together at random: the engine is asked to run, or one sentence and exit code 2."""

import contextlib
import io
import tempfile
from unittest import mock

from hypothesis import strategies as st

from jaxopt_lab import curvature, training
from jaxopt_lab.cli import main
from tests.fuzz import cases

VALUES = st.one_of(
    st.sampled_from(["0", "1", "2", "0.1", "-1", "nan", "inf", "1e30", "99999999999999999999", "abc", "", "a=b", "x:y", ":", "=", "../x", "$x$", "\0"]),
    st.text(max_size=6),
)  # fmt: skip
PROBLEMS = st.sampled_from(
    ["digits-mlp", "digits-mpl", "wine-softmax", "tests.search.test_pages:bowl", "math:sqrt", ":", "", "a.py:b"]
)
SETTINGS = st.sampled_from(
    [
        "width=4",
        "depth=1",
        "fraction=0.5",
        "fraction=2",
        "width=-1",
        "width=abc",
        "seed=1",
        "name=x",
        "dtype=float32",
        "activation=tanh",
    ]
)
OPTIONS = {
    "sweep": ["--rule", "--space", "--schedule", "--trials", "--seeds", "--steps", "--batch-size", "--sampler", "--objective", "--every", "--seed", "--width", "--loop", "--devices", "--workers"],
    "compare": ["--rules", "--budget", "--trials", "--seeds", "--final-seeds", "--batch-size", "--baseline", "--space", "--sampler", "--measure", "--seed"],
    "diagnose": ["--rule", "--learning-rate", "--rule-set", "--batch-size", "--steps", "--checkpoint", "--train", "--budget", "--seconds", "--seed", "--proofs"],
    "spectrum": ["--checkpoint", "--train", "--learning-rate", "--operator", "--largest", "--smallest", "--probes", "--steps", "--max-products", "--seed"],
    "report": ["--tensorboard", "--wandb"],
    "resume": ["--problem", "--experiments"],
    "study": ["--preset", "--experiments"],
}  # fmt: skip
USUAL = {
    "sweep": ["--space", "learning_rate=log:0.1:1", "--trials", "2", "--steps", "2"],
    "compare": ["--rules", "sgd", "--budget", "10"],
}


class RanError(Exception):
    """The words were right: something is measured now."""


@st.composite
def lines(draw):
    verb = draw(st.sampled_from([*OPTIONS, "sweeep"]))
    words = [verb, draw(PROBLEMS), *USUAL.get(verb, [])]
    for _ in range(draw(st.integers(0, 3))):
        words += [draw(st.sampled_from(OPTIONS.get(verb, ["--x"]))), draw(VALUES)]
    if verb in ("sweep", "compare", "diagnose", "spectrum") and draw(st.booleans()):
        words += ["--set", draw(SETTINGS)]
    return words


def line(words):
    def runs(*given, **options):
        raise RanError

    said = io.StringIO()
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(contextlib.redirect_stderr(said))
        stack.enter_context(contextlib.redirect_stdout(said))
        for module, name in (
            (training.engine, "plan_run"),
            (curvature.lanczos, "start_from"),
            (curvature.densities, "lanczos_quadrature"),
        ):
            stack.enter_context(mock.patch.object(module, name, runs, create=True))
        try:
            code = main(
                [*words, *(["--out", place] if words[0] in ("sweep", "compare", "diagnose", "spectrum") else [])]
            )
        except SystemExit as stop:
            code = stop.code
    ran = "RanError" in said.getvalue()
    assert code in ((3,) if ran else (0, 2)), said.getvalue()
    assert ran or "Traceback" not in said.getvalue()


test_a_line_runs_or_is_one_sentence, test_many_lines = cases(40, line, words=lines())
