"""What the figures and the words of a comparison say where something is missing; of parts made by hand."""

import types

import numpy as np
import pytest

from jaxopt_lab import search
from jaxopt_lab.compare.comparison import Target
from jaxopt_lab.compare.figures import _floor, _widths, draw_curves, draw_ladder, draw_profiles, draw_sensitivity
from jaxopt_lab.compare.report import _on
from jaxopt_lab.compare.rule_results import RuleResult
from jaxopt_lab.compare.step_cost import StepCost
from jaxopt_lab.core import Status
from jaxopt_lab.reporting.figures import house_style
from jaxopt_lab.search.trials import Trials


def result_of(space, **columns):
    """A rule whose trials, of one seed, all end at 1, and whose winner was not run again."""
    ends = np.ones((len(next(iter(columns.values()))), 1))
    columns = {name: np.asarray(values) for name, values in columns.items()}
    trials = Trials("sgd", space, columns, ends, np.full_like(ends, Status.COMPLETED), {"loss": ends[..., None]})
    return RuleResult("bowl", "sgd", StepCost(), 10, trials)


def comparison_of(**parts):
    entry = {"selection": "loss", "report": "loss"}
    config = {"problems": {"bowl": entry}, "baseline": {"name": "the setter"}}
    return types.SimpleNamespace(**{"config": config, "rules": ["sgd", "adam"], "targets": {}, **parts})


@pytest.mark.parametrize(("last", "scale"), [(9.0, "linear"), (9.2, "log")])
def test_a_profile_beyond_tenfold_is_drawn_on_a_logarithmic_axis(last, scale):
    """The axis ends a tenth behind the last ratio: at 9.9 and at 10.12."""
    shares = {"sgd": np.array([0.25, 1.0]), "adam": np.array([0.75, 0.75])}
    with house_style() as maker:
        figure, told = draw_profiles(comparison_of(profile=lambda: (np.array([1.0, last]), shares)), maker)
    assert figure.axes[0].get_xscale() == scale
    assert figure.axes[0].get_xlim() == pytest.approx((1, 1.1 * last))
    assert told.startswith("adam is the first at the target most often, on 75% of problems")


def test_nothing_is_drawn_of_rules_that_never_get_there_or_are_not_finished():
    parts = {
        "profile": lambda: (np.ones(1), {"sgd": np.zeros(1)}), "of": lambda problem: {"sgd": RuleResult("bowl", "sgd", StepCost(), 10)},
        "ladder": lambda problem, rule: [{"trials": 1, "low": np.inf, "median": np.inf, "high": np.inf}],
    }  # fmt: skip
    with house_style() as maker:
        assert draw_profiles(comparison_of(**parts), maker) is None
        for draw in (draw_curves, draw_ladder):
            assert draw(comparison_of(**parts), "bowl", maker) is None


def test_a_loss_below_zero_has_no_sensitivity_on_a_logarithmic_axis():
    found = result_of(search.Space(learning_rate=search.log_uniform(0.1, 1.0)), learning_rate=[0.1, 1.0])
    level = {"bowl": Target(-1.0, -1.0)}
    with house_style() as maker:
        assert draw_sensitivity(comparison_of(of=lambda problem: {"sgd": found}, targets=level), "bowl", maker) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [([2.0, 3.0, np.inf], 2.0), ([0.0, 3.0], 1.0), ([-1e-9, 3.0], -np.inf), ([0.0], -np.inf), ([np.nan], -np.inf)],
)
def test_a_logarithmic_axis_begins_at_the_least_value_or_a_third_below_where_there_are_zeros(values, expected):
    assert _floor(np.array(values)) == expected


@pytest.mark.parametrize(
    ("widths", "level", "said"),
    [
        ({"sgd": 1.0}, float("nan"), "there is no target."),
        ({"sgd": 0.0}, 1.0, "no rule reaches the target (dashed) at more than one of the learning rates tried."),
        ({"sgd": 1.0, "adam": 2.5}, 1.0, "span 2.5 decades with adam, 1.0 with sgd (green)."),
        ({"sgd": 1.0}, 1.0, "span 1.0 decades with sgd (green)."),
    ],
)
def test_the_widths_of_the_good_intervals_are_told(widths, level, said):
    assert _widths(widths, level).endswith(said)


@pytest.mark.parametrize(("report", "said"), [(float("nan"), True), (0.5, False)])
def test_a_baseline_without_a_feasible_setting_is_told(report, said):
    parts = {
        "of": lambda problem: {"sgd": RuleResult("bowl", "sgd", StepCost(), 10)}, "measure": lambda problem: "loss",
        "quality": lambda problem, rule: np.ones(2), "pairs_on": lambda problem: [], "targets": {"bowl": Target(report, report)},
    }  # fmt: skip
    first, *rest = _on(comparison_of(**parts), "bowl")
    assert first == "bowl: sgd has the lowest loss, 1."
    assert rest == ["  no target: the setter, the baseline, has no feasible setting."] * said


def test_a_momentum_that_is_searched_near_one_is_told_by_its_distance_to_one():
    """Decades of 1 - rho: from 0.1 to 0.001 two; of an effective rate those of lr / (1 - rho)."""
    alone = result_of(search.Space(rho=search.one_minus_log_uniform(0.9, 0.999)), rho=[0.9, 0.999])
    np.testing.assert_allclose(alone.rates, [0.1, 0.001])
    assert alone.decades(1.0) == pytest.approx(2.0)
    space = search.Space(learning_rate=search.effective_rate(0.1, 10.0), rho=search.uniform(0.0, 0.9))
    both = result_of(space, learning_rate=[0.1, 1.0], rho=[0.0, 0.9])
    np.testing.assert_allclose(both.rates, [0.1, 10.0])
    assert both.decades(0.9) == 0.0  # none ends so low
