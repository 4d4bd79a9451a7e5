import chex
import numpy as np
import pytest

from jaxopt_lab.studies import Rows
from jaxopt_lab.studies.rows import with_effective_rate

ROWS = Rows([
    {"kind": "run", "rule": "sgd", "loss": 2.0, "law": 1.0, "error": 2.0},
    {"kind": "run", "rule": "adam", "loss": 1.2, "law": 1.0, "error": 0.1},
    {"kind": "path", "rule": "sgd", "path": np.zeros((3, 2))},
])  # fmt: skip


def test_rows_are_selected_by_value_and_by_name():
    assert [row["rule"] for row in ROWS.where(kind="run")] == ["sgd", "adam"]
    assert ROWS.where(kind="run", rule="adam")[0] is ROWS[1]
    assert len(ROWS.where(rule="sgd", loss=3.0)) == len(ROWS.where(edge=1.0)) == 0
    assert len(ROWS.having("kind", "path")) == 1


def test_an_array_equals_no_value():
    assert len(ROWS.where(path=0.0)) == 0


def test_a_name_gives_a_column_and_a_slice_gives_rows():
    chex.assert_trees_all_equal(ROWS.where(kind="run")["loss"], np.array([2.0, 1.2]))
    chex.assert_shape(ROWS[2:]["path"], (1, 3, 2))
    assert isinstance(ROWS[1:], Rows)
    with pytest.raises(KeyError, match="loss"):
        _ = ROWS["loss"]


@pytest.mark.parametrize(("rule", "count"), [("sgd", 2), ("rmsprop", 0)])
def test_one_row_is_asked_for_and_another_number_is_an_error(rule, count):
    with pytest.raises(ValueError, match=rf"there must be one row with rule = '{rule}', but there are {count}"):
        ROWS.only(rule=rule)
    assert ROWS.only(rule="sgd", kind="run")["loss"] == 2.0


def test_rows_are_grouped_in_the_order_in_which_they_come():
    groups = ROWS.by("rule")
    assert list(groups) == ["sgd", "adam"]
    assert [len(rows) for rows in groups.values()] == [2, 1]
    assert list(ROWS.by("loss")) == [2.0, 1.2]


def test_the_furthest_row_is_that_in_its_own_errors_or_relatively_or_plainly():
    runs = ROWS.where(kind="run")
    assert runs.furthest("loss", "law")["rule"] == "sgd"
    assert runs.furthest("loss", "law", errors="error")["rule"] == "adam"
    scaled = Rows([{"at": 0, "x": 101.0, "p": 100.0}, {"at": 1, "x": 1.5, "p": 1.0}])
    assert [scaled.furthest("x", "p", relative=how)["at"] for how in (False, True)] == [0, 1]


@pytest.mark.parametrize(
    ("row", "effective"),
    [
        ({"learning_rate": 0.5}, 0.5),
        ({"learning_rate": 0.5, "rho": 0.75}, 2.0),
        ({"learning_rate": np.array([0.1, 0.2]), "rho": 0.5}, np.array([0.2, 0.4])),
        ({"learning_rate": 0.5, "rho": 0.75, "effective_rate": 7.0}, 7.0),
    ],
)
def test_the_effective_rate_stands_beside_the_learning_rate(row, effective):
    chex.assert_trees_all_close(with_effective_rate(row)["effective_rate"], effective, rtol=1e-15)  # one rounding


@pytest.mark.parametrize(
    "row", [{"loss": 1.0}, {"learning_rate": np.ones(3), "rho": np.zeros(2)}, {"learning_rate": "cosine"}]
)
def test_where_no_effective_rate_can_be_told_none_is(row):
    assert "effective_rate" not in with_effective_rate(row)


def test_rows_are_selected_by_a_condition_and_each_number_once():
    rows = Rows(
        [{"loss": loss, "kind": kind} for loss, kind in ((0.5, "a"), (0.2, "b"), (0.5 + 1e-12, "a"), (0.9, "a"))]
    )
    assert rows.where(loss=lambda loss: loss > 0.3, kind="a")["loss"].tolist() == [0.5, 0.5 + 1e-12, 0.9]
    assert len(rows.where(missing=lambda value: True)) == 0
    assert rows.distinct("loss", 1e-9)["loss"].tolist() == [0.2, 0.5, 0.9]
    assert len(Rows().distinct("loss", 1e-9)) == 0
