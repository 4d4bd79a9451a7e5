"""Words of spaces, schedules and settings: a dimension that keeps its promises, or one sentence."""

import chex
import numpy as np
from hypothesis import strategies as st

from jaxopt_lab import search
from jaxopt_lab.problems.parsing import parse_settings
from jaxopt_lab.search.schedules import SHAPES, Scheduled, arguments_of
from jaxopt_lab.search.spaces import parse_space
from tests.fuzz import REFUSED, cases, tried

NUMBERS = st.one_of(
    st.floats(), st.floats(1e-6, 1e3), st.integers(-10, 10), st.sampled_from([0, 1, -1, 1e-320, 1e308, 2**53, 2**70])
)
WORDS = st.one_of(NUMBERS.map(str), st.text(max_size=8), st.sampled_from(["", "nan", "inf", "1e", "0x1", "1_0", "½"]))
KINDS = st.sampled_from(["log", "uniform", "one-minus", "integers", "effective", "choices", "lgo", ""])


@st.composite
def dimensions(draw):
    kind, ends = draw(KINDS), draw(st.lists(WORDS, max_size=4))
    return draw(st.sampled_from([f"{kind}:{':'.join(ends)}", f"{kind}:{','.join(ends)}", draw(WORDS)]))


def space(word, unit, share):
    found = tried(parse_space, [f"x={word}", "rho=0.5"])
    if found is REFUSED:
        return
    assert search.Space.from_json(found.to_json()) == found
    columns = found.columns([[unit] * found.dim])
    chex.assert_tree_all_finite(columns["x"])
    if not found.dim:
        return
    low, high = (found.columns([[end]])["x"][0] for end in (0.0, 1.0))
    assert word.startswith("choices:") or min(low, high) <= columns["x"][0] <= max(low, high)
    values = {name: float(column[0]) for name, column in columns.items()}
    for other in (found.narrowed(values, share), found.widened("x", "low"), found.widened("x", "high")):
        assert np.isfinite(other.columns([[0.0], [0.5], [1.0]])["x"]).all()


def schedule(shape, argument, value):
    names = arguments_of(shape) if shape in SHAPES else ()
    usual = {"factor": 0.5, "end": 0.1}
    given = {name: usual.get(name, 10.0) for name in names} | {argument: value}

    def rates():
        rate = Scheduled(lambda learning_rate: learning_rate, shape, **given)
        return np.asarray([rate(learning_rate=0.5)(step) for step in (0, 3, 100)])

    found = tried(rates)
    assert found is REFUSED or np.isfinite(found).all()


def settings(words):
    found = tried(parse_settings, words, "--set")
    assert found is REFUSED or all(isinstance(name, str) and name for name in found)


test_a_space_keeps_its_promises_or_says_why_not, test_many_spaces = cases(
    40, space, word=dimensions(), unit=st.floats(0, 1), share=st.floats(1e-6, 1)
)
test_a_schedule_is_finite_or_says_why_not, test_many_schedules = cases(
    25, schedule, shape=st.sampled_from([*SHAPES, "cosin"]), argument=st.sampled_from(["steps", "warmup", "every", "factor", "scale", "decay", "end", "x"]),
    value=st.one_of(NUMBERS, st.text(max_size=3), st.none(), st.complex_numbers()),
)  # fmt: skip
test_settings_are_names_and_values, test_many_settings = cases(
    15,
    settings,
    words=st.lists(st.one_of(st.text(max_size=12), dimensions().map(lambda word: f"x={word}")), max_size=3),
)
