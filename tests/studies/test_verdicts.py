import math

import pytest

from jaxopt_lab.core.verdict import judge
from jaxopt_lab.studies import Rows
from jaxopt_lab.studies.verdicts import absolute, at_least, at_most, everywhere, relative, within


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (relative("c", "q", 2.0, 2.1, 0.1, unit="u", reference="r"), judge("c", "q", 2.0, 2.1, 0.1, unit="u", reference="r")),
        (absolute("c", "q", 2.0, 2.1), judge("c", "q", 2.0, 2.1, 0.0, kind="absolute")),
        (within("c", "q", 2.0, 2.1, 0.03, beyond=0.5), judge("c", "q", 2.0, 2.1, 4 * 0.03 + 0.5, kind="within")),
        (at_most("c", "q", 2.0, 2.1, tolerance=0.2), judge("c", "q", 2.0, 2.1, 0.2, kind="at-most")),
        (at_least("c", "q", 2.0, 2.1), judge("c", "q", 2.0, 2.1, 0.0, kind="at-least")),
    ],
    ids=lambda verdict: verdict.kind,
)  # fmt: skip
def test_a_form_is_its_kind_of_verdict(ours, expected):
    assert ours == expected


def test_a_claim_about_many_rows_hangs_on_the_one_that_is_furthest_off():
    rows = Rows([{"n": 1, "mean": 1.0, "law": 1.1, "error": 1.0}, {"n": 2, "mean": 5.5, "law": 5.0, "error": 0.1}])
    assert not everywhere("c", "mean at {n}", rows, "mean", "law", errors="error").holds
    assert everywhere("c", "mean at {n}", rows, "mean", "law", absolutely=0.5) == absolute(
        "c", "mean at 2", 5.0, 5.5, 0.5
    )
    near = Rows([{"n": 1, "mean": 1.0, "law": 1.3}, {"n": 2, "mean": 5.5, "law": 5.0}])
    assert everywhere("c", "mean at {n}", near, "mean", "law", relatively=0.2).quantity == "mean at 1"


def test_a_measurement_that_is_no_number_holds_nowhere():
    assert not within("c", "q", 1.0, math.nan, 1.0).holds
    assert not at_least("c", "q", 1.0, math.inf).holds
