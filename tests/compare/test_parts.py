import dataclasses
import types

import numpy as np
import optax
import pytest
from scipy import stats

import jaxopt_lab as lab
from jaxopt_lab import compare, objectives, rules, search
from jaxopt_lab.compare import statistics
from jaxopt_lab.compare.candidates import candidates_of
from jaxopt_lab.compare.figures import _look
from jaxopt_lab.compare.pairwise_tests import BETTER, INCONCLUSIVE, NO_DIFFERENCE, UNDER_TUNED, pairwise_results
from jaxopt_lab.compare.rule_results import FinalRuns
from jaxopt_lab.compare.splits import split_data
from jaxopt_lab.compare.statistics import paired_test, performance_profile
from jaxopt_lab.compare.step_cost import StepCost, measure_step_cost
from jaxopt_lab.core import InputError, Stateful, Status, from_loss
from jaxopt_lab.reporting.figures import PALETTE
from jaxopt_lab.training.evaluation_params import with_evaluation_params

BOWL = objectives.quadratic([1.0, 0.1], start=1.0)
NEAR = np.array([1.00, 1.10, 0.90, 1.05, 0.95])


def armijo(learning_rate):
    return optax.chain(optax.sgd(learning_rate), optax.scale_by_backtracking_linesearch(10))


@pytest.mark.parametrize(
    ("factory", "values", "expected"),
    [
        (optax.adam, {"learning_rate": 0.1}, StepCost()),
        (rules.nesterov_lookahead, {"learning_rate": 0.1, "rho": 0.9}, StepCost(2.0, source="calls")),
        (
            rules.saddle_free_newton,
            {"learning_rate": 0.5},
            StepCost(1.0, 2.0, source="state"),
        ),  # two dimensions: 2 products
    ],
)
def test_a_step_costs_the_gradients_products_and_losses_that_it_takes(factory, values, expected):
    assert measure_step_cost(BOWL, factory, values) == expected


def test_a_rule_that_is_judged_elsewhere_keeps_the_expected_loss_of_a_model_that_draws():
    at = lambda point, state, batch: point + state  # noqa: E731
    stateful = Stateful(1.0, lambda point, state, batch, key: (point, state), at, expected=at)
    problem = dataclasses.replace(from_loss(lambda w, batch, key: w, 0.0), stateful=stateful)
    assert with_evaluation_params(problem).stateful.expected((2.0, 5.0), 1.0, None) == 6.0
    plain = dataclasses.replace(problem, stateful=dataclasses.replace(stateful, expected=None))
    assert with_evaluation_params(plain).stateful.expected is None


def test_a_line_search_costs_the_losses_that_it_takes_also_where_it_is_handed_a_gauss_newton_function():
    problem = lab.load_problem("wine-softmax")
    step_cost = measure_step_cost(problem, armijo, {"learning_rate": 0.1})
    assert step_cost == StepCost(1.0, 0.0, 1.0, source="calls")  # the first step is always accepted


def test_a_budget_buys_as_many_steps_as_it_pays_for():
    assert StepCost().steps(300) == 300
    assert StepCost(2.0).steps(300) == 150
    assert StepCost(1.0, 2.0).steps(300) == 60  # a product costs 2
    assert StepCost(1.0, 0.0, 1.5).steps(300) == 200  # a loss costs 1/3


def final_runs(selection, report, *, taken=None, status=None, budget=100.0):
    selection, report = np.asarray(selection, float), np.asarray(report, float)
    num, records = selection.shape
    extra = np.zeros((num, records, 2)) if taken is None else np.asarray(taken)
    ended = np.full(num, Status.COMPLETED) if status is None else np.asarray(status)
    step_cost = StepCost() if taken is None else StepCost(1.0, 1.0, source="state")
    steps = np.arange(records) * 10
    return FinalRuns(steps, {"validation_loss": selection, "test_loss": report}, ended, extra, step_cost, budget)


def test_the_moment_is_selected_on_validation_and_the_test_is_reported():
    run = final_runs([[3, 1, 2], [3, 2, 1]], [[9, 5, 1], [9, 1, 4]])
    np.testing.assert_array_equal(run.quality("validation_loss", "test_loss"), [5, 4])  # not the lowest test loss, 1


def test_what_lies_beyond_the_budget_does_not_count():
    taken = np.zeros((1, 3, 2))
    taken[0, :, 1] = [0, 30, 60]  # products: 10 + 2 * 30 gradients at the second record, 140 at the third
    run = final_runs([[3, 2, 1]], [[3, 2, 1]], taken=taken)
    np.testing.assert_array_equal(run.spent, [[0, 70, 140]])
    assert run.quality("validation_loss", "test_loss") == 2
    assert np.isinf(run.arrivals("test_loss", 1.0)[0])


def test_a_miss_is_infinite_and_stays_in_the_median():
    run = final_runs([[3, 1, 1]] * 3, [[3, 1, 1], [3, 3, 1], [3, 3, 3]])
    gradients, steps = run.arrivals("test_loss", 1.0)
    np.testing.assert_array_equal(gradients, [10, 20, np.inf])
    np.testing.assert_array_equal(steps, [10, 20, np.inf])
    assert np.median(gradients) == 20
    ended = [Status.COMPLETED, Status.NON_FINITE, Status.WORSE_THAN_BASELINE]
    run = final_runs([[3, 1, 1]] * 3, [[3, 1, 1]] * 3, status=ended)
    np.testing.assert_array_equal(run.quality("validation_loss", "test_loss"), [1, np.inf, np.inf])
    assert np.isinf(np.median(run.arrivals("test_loss", 1.0)[0]))
    assert run.share_infeasible == pytest.approx(2 / 3)


def test_fewer_seeds_than_said_show_nothing_where_runs_miss():
    for num_rules in (2, 4, 9):
        needed, pairs = statistics.seeds_for_misses(num_rules, 0.01), num_rules * (num_rules - 1) / 2
        shown = [paired_test(np.arange(1.0, n + 1), np.full(n, np.inf))[0] * pairs < 0.01 for n in (needed - 1, needed)]
        assert shown == [False, True]


def test_the_paired_test_is_the_t_test_of_logarithms():
    second = np.array([1.2, 1.1, 1.3, 1.2, 1.15])
    p, kind = paired_test(NEAR, second)
    assert kind == "t"
    assert p == pytest.approx(stats.ttest_rel(np.log(NEAR), np.log(second)).pvalue)
    assert paired_test(NEAR, 3 * NEAR) == (0.0, "exact")
    assert paired_test(NEAR, NEAR * (1 + 1e-8)) == (1.0, "exact")  # float32's rounding is no difference
    zeros, misses = np.zeros(3), np.full(3, np.inf)  # of a problem without chance
    assert [paired_test(*pair)[0] for pair in ((zeros, zeros + 1), (zeros + 1, misses), (misses, misses))] == [
        0,
        0,
        1,
    ]


def test_misses_are_ranked_as_the_largest_differences():
    hits, misses = np.arange(1.0, 11.0), np.full(10, np.inf)
    assert paired_test(hits, misses) == (2.0**-9, "signed ranks")
    assert paired_test(misses, misses) == (1.0, "signed ranks")
    one_miss = np.append(hits[:-1] * 0.9, np.inf)
    assert paired_test(hits, one_miss)[0] == 86 / 1024  # nine small gains against one miss: its rank is 10
    with pytest.raises(InputError, match="two rows of the same two or more seeds"):
        paired_test([1.0], [1.0])


def test_rules_that_are_equal_are_rarely_called_different():
    draw = np.random.default_rng(0)
    false = 0
    for _ in range(100):
        values = {name: np.exp(draw.normal(size=10)) for name in "abcd"}
        false += any(pair.outcome == BETTER for pair in pairwise_results("x", "loss", values, {}, {}))
    assert false <= 4  # 1 is expected at p < 0.01 a family; P(more than 4) = 0.4 %


def test_each_verdict_has_its_condition():
    values = {"plain": NEAR, "general": np.array([1.6, 1.5, 1.55, 1.6, 1.4]), "noisy": NEAR[::-1]}

    def outcomes(edges=None, contains=None):
        found = pairwise_results("x", "loss", values, edges or {}, contains or {})
        return {(pair.first, pair.second): pair for pair in found}

    assert outcomes()["plain", "general"].outcome == BETTER
    assert {each.outcome for pair, each in outcomes().items() if "general" not in pair} == {NO_DIFFERENCE}
    assert "no difference shown" in str(outcomes()["plain", "noisy"])
    near = outcomes(edges={"plain": {"learning_rate": "high"}})
    assert near["plain", "general"].outcome == near["plain", "noisy"].outcome == INCONCLUSIVE
    assert near["noisy", "general"].outcome == BETTER
    assert "inconclusive, widen: plain is best with learning_rate at the high end" in str(near["plain", "general"])
    inside = outcomes(contains={"general": {"plain": "rho = 0"}, "noisy": {"plain": "rho = 0"}})
    assert inside["plain", "general"].outcome == UNDER_TUNED
    assert inside["plain", "noisy"].outcome == NO_DIFFERENCE  # it does not lose
    assert str(inside["plain", "general"]).startswith("general is under-tuned: it contains plain at rho = 0")


def test_a_profile_counts_instances_that_all_miss():
    tau, shares = performance_profile([[10.0, np.inf, 30.0], [20.0, np.inf, 10.0]])
    np.testing.assert_array_equal(tau, [1, 2, 3])
    np.testing.assert_allclose(shares, [[1 / 3, 1 / 3, 2 / 3], [1 / 3, 2 / 3, 2 / 3]])
    with pytest.raises(InputError, match="costs must be positive"):
        performance_profile([[0.0]])


def test_the_ladder_is_the_bootstrap_with_infinitely_many_draws():
    values = np.array([0.5, 2.0, 0.9, np.inf, 0.7, 1.1])
    rows = statistics.budget_ladder(values)
    assert [row["trials"] for row in rows] == [1, 2, 4]
    drawn = np.random.default_rng(0).choice(values, (200_000, 4)).min(1)
    assert rows[2]["median"] == np.quantile(drawn, 0.5, method="inverted_cdf")
    assert (rows[2]["low"], rows[2]["high"]) == tuple(np.quantile(drawn, [0.1, 0.9], method="inverted_cdf"))
    assert np.isinf(rows[2]["mean"])  # a search of four may find nothing feasible
    finite = statistics.budget_ladder(values[np.isfinite(values)])
    drawn = np.random.default_rng(0).choice(values[np.isfinite(values)], (200_000, 4)).min(1)
    assert finite[2]["mean"] == pytest.approx(drawn.mean(), abs=4 * drawn.std() / 200_000**0.5)
    with pytest.raises(InputError, match="there is no trial"):
        statistics.budget_ladder([])


def line(params, batch, key):
    del key
    inputs, targets = batch
    return ((inputs @ params - targets) ** 2).mean()


def data(num, seed=0):
    inputs = np.random.default_rng(seed).normal(size=(num, 2)).astype("float32")
    return inputs, inputs @ np.ones(2, "float32")


def test_validation_data_are_halved_and_the_halves_do_not_meet():
    problem = from_loss(line, np.zeros(2), data(20), validation=data(40, 1), name="line")
    split = split_data(problem)
    assert (split.selection, split.report) == ("validation_loss", "test_loss")
    np.testing.assert_array_equal(split.problem.data[0], problem.data[0])
    (test,) = (part for part in split.problem.metrics["test_loss"].args if isinstance(part, tuple))
    parts = np.concatenate([np.asarray(part[0]) for part in (split.problem.validation, test)])
    assert {tuple(row) for row in parts.tolist()} == {tuple(row) for row in np.asarray(problem.validation[0]).tolist()}
    assert len(test[0]) == 20
    assert "of the validation data half select and half are the test (20 and 20)" in split.text


def test_without_validation_data_a_fifth_is_held_out_and_without_data_the_loss_is_compared():
    split = split_data(from_loss(line, np.zeros(2), data(100), name="line"))
    assert (split.problem.num_examples, len(split.problem.validation[0])) == (80, 10)
    assert "80 examples train; a fifth of the examples is held out" in split.text
    asked = split_data(from_loss(line, np.zeros(2), data(100), name="line"), measure="loss")
    assert (asked.problem.num_examples, asked.report) == (100, "loss")
    assert "nothing is said about other data" in split_data(BOWL).text
    with pytest.raises(InputError, match=r"line has 2 examples to select by .*measure='loss'"):
        split_data(from_loss(line, np.zeros(2), data(10), name="line"))


def test_every_default_space_spans_five_decades_of_the_rate_and_fits_its_rule():
    for name, candidate in compare.CANDIDATES.items():
        rate = candidate.space.dimensions["learning_rate"]
        decades = np.log10(rate.high / rate.low)
        assert decades == pytest.approx(4 if name in ("saddle_free_newton", "newton_cg") else 5), name
        candidate.factory(
            **{key: float(column[0]) for key, column in candidate.space.columns([[0.5] * candidate.space.dim]).items()}
        )
        assert set(candidate.contains) <= set(compare.CANDIDATES), name


def test_sophia_pays_for_the_hessian_products_that_it_takes():
    factory, given = compare.CANDIDATES["sophia"].factory, {"learning_rate": 0.01, "gamma": 0.01}
    assert measure_step_cost(BOWL, factory, given).total == pytest.approx(1 + 2 * 2 / 12)  # at steps 0 and 10 of 12


def test_a_space_contains_the_rules_that_it_says_it_contains():
    for name in ("heavy_ball", "nesterov", "nesterov_lookahead"):
        space = compare.CANDIDATES[name].space
        assert space.dimensions["rho"].low == 0
        inner = compare.CANDIDATES["sgd"].space.dimensions["learning_rate"]
        assert (space.dimensions["learning_rate"].low, space.dimensions["learning_rate"].high) == (
            inner.low,
            inner.high,
        )
    assert (
        compare.CANDIDATES["adamw"].edges({"learning_rate": 0.01, "b1": 0.9, "weight_decay": 1e-5}) == {}
    )  # Adam itself
    assert compare.CANDIDATES["adamw"].edges({"learning_rate": 0.9, "b1": 0.9, "weight_decay": 0.9}) == {
        "learning_rate": "high", "weight_decay": "high",
    }  # fmt: skip


def test_rules_are_named_or_come_with_a_space():
    own = candidates_of({"mine": (optax.adam, search.Space(learning_rate=search.log_uniform(1e-4, 1.0)))})
    assert own["mine"].factory is optax.adam
    with pytest.raises(InputError, match=r"a rule must be one of: sgd, .*Did you mean 'adam'"):
        candidates_of("adm")
    with pytest.raises(InputError, match=r"rule mine must be a Candidate or \(factory, Space\), got .*Example"):
        candidates_of({"mine": optax.adam})
    with pytest.raises(InputError, match="a rule is named twice: sgd, sgd"):
        candidates_of(["sgd", "sgd"])


def test_no_two_rules_look_alike_in_a_figure():
    comparison = types.SimpleNamespace(rules=[f"rule {place}" for place in range(18)])
    looks = [_look(comparison, rule) for rule in comparison.rules]
    assert len(set(looks)) == 18
    assert len({PALETTE[color] for color, _ in looks[:6]}) == 6  # up to six differ by colour alone
