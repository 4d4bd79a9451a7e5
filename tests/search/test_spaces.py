import numpy as np
import pytest

from jaxopt_lab import search
from jaxopt_lab.core import InputError
from jaxopt_lab.search import spaces

POINTS = np.random.default_rng(0).random((2000, 4))


@pytest.fixture(scope="module")
def space():
    return search.Space(
        learning_rate=search.effective_rate(1e-3, 10.0),
        rho=search.one_minus_log_uniform(0.0, 0.999),
        wait=search.integers(2, 5),
        nesterov=search.choices(0, 1),
        decay=0.5,
    )


def test_values_stay_in_their_ranges_and_come_back(space):
    columns = space.columns(POINTS)
    assert list(columns) == list(space.dimensions)
    rate = columns["learning_rate"] / (1 - columns["rho"])
    assert rate.min() >= 1e-3 * (1 - 1e-12)
    assert rate.max() <= 10.0 * (1 + 1e-12)
    assert columns["rho"].min() >= 0
    assert columns["rho"].max() <= 0.999
    assert set(columns["wait"].tolist()) == {2, 3, 4, 5}
    assert set(columns["nesterov"].tolist()) == {0, 1}
    assert (columns["decay"] == 0.5).all()
    np.testing.assert_allclose(space.points(columns)[:, :2], POINTS[:, :2], atol=1e-9)  # rounding of two logarithms


def test_logarithmic_ranges_are_uniform_in_the_exponent():
    space = search.Space(a=search.log_uniform(1e-4, 1.0), b=search.one_minus_log_uniform(0.9, 0.999))
    columns = space.columns([[0.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    np.testing.assert_allclose(columns["a"], [1e-4, 1e-2, 1.0], rtol=1e-12)
    np.testing.assert_allclose(columns["b"], [0.9, 0.99, 0.999], rtol=1e-12)


def test_a_conditional_part_counts_only_where_its_condition_holds():
    space = search.Space(
        learning_rate=search.log_uniform(1e-3, 1.0),
        kind=search.choices(0, 1),
        rho=search.when("kind", 1, search.uniform(0.5, 0.9), otherwise=0.0),
    )
    columns = space.columns(POINTS[:, :3])
    on = columns["kind"] == 1
    assert (columns["rho"][~on] == 0).all()
    assert columns["rho"][on].min() >= 0.5
    np.testing.assert_array_equal(space.active(columns)["rho"], on)
    assert np.isnan(space.points(columns)[~on, 2]).all()
    assert space.near_edge({"learning_rate": 0.03, "kind": 0, "rho": 0.0}) == {}


def test_a_best_value_near_an_edge_is_named_on_the_scale_of_its_range(space):
    inside = {"learning_rate": 0.01, "rho": 0.9, "wait": 3, "nesterov": 1, "decay": 0.5}
    assert space.near_edge(inside) == {}
    assert space.near_edge(inside | {"learning_rate": 0.9}) == {"learning_rate": "high"}  # 0.9 / (1 - 0.9) = 9
    assert space.near_edge(inside | {"learning_rate": 1e-4, "wait": 2, "rho": 0.9989}) == {"wait": "low", "rho": "high"}
    assert space.near_edge(inside | {"rho": 0.0}) == {}  # there is no momentum below 0


def test_boxes_narrow_and_widen_on_their_scale():
    space = search.Space(rate=search.log_uniform(1e-4, 1.0), rho=search.one_minus_log_uniform(0.0, 0.9))
    inner = space.narrowed({"rate": 1e-2, "rho": 0.0}, 0.5)
    np.testing.assert_allclose([inner.dimensions["rate"].low, inner.dimensions["rate"].high], [1e-3, 1e-1])
    assert inner.dimensions["rho"].low == 0.0
    wider = space.widened("rate", "low").widened("rho", "high", 1.0)
    np.testing.assert_allclose([wider.dimensions["rate"].low, wider.dimensions["rho"].high], [1e-8, 0.99])


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.25, 0.5, (4, 5)), (0.5, 0.5, (6, 7)), (0.3, 0.7, (4, 7)), (-0.25, 1.25, (0, 11))]
)
def test_a_part_of_whole_numbers_has_whole_ends_and_two_of_them_at_least(low, high, expected):
    part = search.integers(2, 9).part(low, high)
    assert (part.low, part.high) == expected


def test_a_conditional_part_narrows_and_moves_as_what_it_holds_does():
    rate = search.when("kind", 1, search.log_uniform(1e-4, 1.0), otherwise=0.5)
    assert rate.movable == (True, True)
    assert search.when("kind", 1, search.one_minus_log_uniform(0.0, 0.9), otherwise=0.0).movable == (False, True)
    part = rate.part(0.25, 0.5)
    assert (part.name, part.value, part.otherwise) == ("kind", 1, 0.5)
    assert (part.inner.low, part.inner.high) == pytest.approx((1e-3, 1e-2))


def test_a_space_survives_json(space):
    conditional = search.Space(a=search.choices(1, 2), b=search.when("a", 2, search.choices(3.0, 4.0), otherwise=0.0))
    for each in (space, conditional):
        assert search.Space.from_json(each.to_json()) == each
    assert hash(search.Space.from_json(space.to_json())) == hash(space)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search.uniform(1.0, 1.0), "uniform: low must be below high, got 1.0 and 1.0"),
        (lambda: search.log_uniform(0.0, 1.0), r"log_uniform: low must be in \(0, inf\), got 0.0. A logarithm"),
        (lambda: search.one_minus_log_uniform(0.5, 1.0), r"high must be in \[0, 1\), got 1.0"),
        (lambda: search.integers(0.5, 2), "integers: low must be a whole number, got 0.5"),
        (lambda: search.choices("adam", "sgd"), "at least two numbers.*as a mapping to sweep"),
        (lambda: search.uniform(0.0, float("inf")), "high must be finite"),
        (lambda: search.Space(a="0.1"), "Space: a must be a number or a dimension"),
        (lambda: search.Space(a=search.effective_rate(0.1, 1.0)), "what a depends on must be one of: a; got 'rho'"),
        (lambda: search.Space(a=search.when("b", 1, 0.5, 0.0)), "when: the conditional part must be a dimension"),
        (lambda: search.Space(a=search.uniform(0.0, 1.0)).columns([[1.5]]), "points must lie in the unit cube"),
        (lambda: spaces.parse_dimension("lug:1:2"), "got 'lug'. Did you mean 'log'?"),
        (lambda: spaces.parse_dimension("log:1"), "a dimension must look like log:1e-4:1"),
    ],
)  # fmt: skip
def test_wrong_spaces_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_words_of_the_command_line_become_dimensions():
    assert spaces.parse_dimension("log:1e-4:1") == search.log_uniform(1e-4, 1.0)
    assert spaces.parse_dimension("one-minus:0:.99") == search.one_minus_log_uniform(0.0, 0.99)
    assert spaces.parse_dimension("effective:.1:1") == search.effective_rate(0.1, 1.0)
    assert spaces.parse_dimension("integers:2:5") == search.integers(2, 5)
    assert spaces.parse_dimension("choices:0,.9") == search.choices(0.0, 0.9)
    assert spaces.parse_dimension("0.9") == 0.9
