"""docs/lecture.md: every claim has a study, and the page is what the table gives."""

import pathlib

import pytest

from experiments import lecture
from experiments.lecture_claim import IF, RIGHT, WRONG
from jaxopt_lab.studies import list_studies

ROOT = pathlib.Path(__file__).parents[1]


def test_all_67_claims_are_answered():
    assert sorted(lecture.CLAIMS) == list(range(1, 68))
    assert {claim.verdict for claim in lecture.CLAIMS.values()} == {RIGHT, IF, WRONG}


def test_every_claim_has_a_study():
    assert {claim.study for claim in lecture.CLAIMS.values()} <= set(list_studies(ROOT / "experiments"))


def test_a_claim_without_a_study_gives_no_page(monkeypatch):
    without = lecture.CLAIMS[1]._replace(study="no_such_study")
    monkeypatch.setattr(lecture, "CLAIMS", lecture.CLAIMS | {1: without})
    with pytest.raises(KeyError, match="no_such_study"):
        lecture.page()


def test_the_page_is_up_to_date():
    assert lecture.PAGE.read_text(encoding="utf-8") == lecture.page(), "run: python -m experiments.lecture"


def test_the_page_has_a_line_a_claim_whose_links_lead_somewhere():
    lines = lecture.page().splitlines()
    rows = [line for line in lines if line.startswith("| ") and line[2].isdigit()]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, 68))
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
    links = {row.rpartition("](")[2].removesuffix(") |") for row in rows}
    assert all((lecture.PAGE.parent / link).is_file() for link in links)
    assert sum("CS231n" in line for line in lines) == 1


def test_numbers_stand_as_people_write_them_and_signs_are_no_markup():
    assert lecture._cell("6.9e+06 steps, 2.3% of |w*|, 5e-07, 1e12") == r"6.9e6 steps, 2.3 % of \|w\*\|, 5e-7, 1e12"
