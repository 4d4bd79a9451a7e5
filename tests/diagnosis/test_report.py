"""A diagnosis in words: the verdict, the first two findings with their numbers, the others in a line each."""

import dataclasses

import numpy as np
import pytest

from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.findings import Diagnosis, Prescription, make_finding, measured
from jaxopt_lab.diagnosis.proving import Proof
from jaxopt_lab.diagnosis.report import _prediction, lines_of, page_of, verdict_of
from jaxopt_lab.diagnosis.trials import Trial

CURE = Prescription("Do it.", lambda problem, rule: (problem, rule))


def found(cause, gain=8.0, cure=CURE, **more):
    return make_finding(cause, f"Because of {cause}.", [measured("number", 1.0)], cure, gain, **more)


def told(*findings, missing=None):
    return Diagnosis("net", "gradient descent", findings, missing or {}, 100.0, 2.0)


@pytest.mark.parametrize(
    ("cause", "verdict"),
    [
        ("healthy", "Verdict: healthy."),
        ("nothing-found", "Verdict: nothing found; not examined: saddle, plateau."),
        (
            "unexplained",
            "Verdict: unexplained: the run learns next to nothing, and no cause that was examined holds.",
        ),
    ],
)
def test_the_verdict_where_no_cause_holds(cause, verdict):
    assert verdict_of(told(found(cause), missing={"saddle": "time", "plateau": "time"})) == verdict


def trial(before, after):
    return Trial("saddle", CURE, 100, before, after, None, 1.0, 1.0, True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "saddle (removing it: 8 times fewer steps)"),
        ({"trial": trial(1.0, 0.25)}, "saddle (removed in a short run: 4 times better)"),
        ({"trial": trial(np.inf, 0.25)}, "saddle (removed in a short run: it trains)"),
        ({"trial": trial(1.0, 1.0)}, "saddle"),  # what did not help is no prediction either
        ({"prescription": Prescription("Do it.")}, "saddle"),
    ],
)
def test_the_verdict_tells_what_was_seen_before_what_is_predicted(changes, says):
    assert verdict_of(told(dataclasses.replace(found("saddle"), **changes))) == f"Verdict: {says}."


def test_two_findings_are_told_in_full_and_the_others_in_a_line_each():
    lines = lines_of(told(found("saddle"), found("plateau"), found("underfitting"), missing={"overfitting": "time"}))
    text = "\n".join(lines)
    assert "Because of plateau." in text
    assert "Because of underfitting." not in text
    assert "3. underfitting: Do it." in lines
    assert "Not examined: overfitting." in lines
    assert "overfitting: time." in lines


def test_a_finding_with_a_proof_is_told_in_full_wherever_it_stands():
    none = np.ones((1, 2))
    proof = Proof("underfitting", Estimate(np.nan), Estimate(2.0), "steps", np.arange(2), none, none)
    text = "\n".join(lines_of(told(found("saddle"), found("plateau"), found("underfitting")), (proof,)))
    assert "Because of underfitting." in text
    assert "underfitting: no result" in text
    assert "underfitting (no result)" in text


def test_of_more_than_five_numbers_the_first_are_told():
    many = make_finding("saddle", "", [measured(f"number {k}", k) for k in range(7)], CURE, 2.0)
    text = "\n".join(lines_of(told(many)))
    assert "number 4" in text
    assert "number 5" not in text
    assert "and 2 more numbers" in text


@pytest.mark.parametrize(
    ("seen", "text"), [(7.4, "8 times fewer steps"), (4.0, "8 times fewer steps; 4 in runs of 50 steps")]
)
def test_a_prediction_tells_what_runs_of_the_proofs_length_show(seen, text):
    assert _prediction(found("saddle", horizon=50, forecast=lambda count: seen)) == text


@pytest.mark.parametrize(("gain", "text"), [(np.inf, "it trains at all"), (3.0, "3 times fewer steps")])
def test_an_infinite_gain_is_said_in_words(gain, text):
    assert _prediction(found("saddle", gain, forecast=lambda count: gain)) == text
    assert text in page_of(told(found("saddle", gain)))
