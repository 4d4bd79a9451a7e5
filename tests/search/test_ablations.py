import shutil

import numpy as np
import optax
import pytest
from scipy import stats

from jaxopt_lab import objectives, rules, search
from jaxopt_lab.core import InputError, from_loss
from jaxopt_lab.core.estimate import holm
from jaxopt_lab.search.ablations import effects_of, fractional_design

EIGHT = tuple("abcdefgh")
HELPFUL = (0, 3, 5)


@pytest.mark.parametrize(("num", "runs"), [(1, 2), (2, 4), (3, 8), (4, 8), (8, 16), (9, 32), (16, 32), (32, 64)])
def test_no_effect_of_a_technique_is_mixed_with_another_or_with_one_of_a_pair(num, runs):
    design = fractional_design(num)
    assert design.shape == (runs, num)
    assert not design[0].any()
    assert design[-1].all()
    signs = 2 * design - 1
    np.testing.assert_array_equal(signs.T @ signs, runs * np.eye(num))
    pairs = np.array([signs[:, i] * signs[:, j] for i in range(num) for j in range(i)]).reshape(-1, runs)
    assert not (pairs @ signs).any()


def outcomes(generator, noise=1.0, seeds=8, gain=1.0, helpful=HELPFUL):
    """Logarithms of what 16 runs of eight techniques end with: three help, seeds differ far more than techniques."""
    design = fractional_design(8)
    offsets = 3 * generator.standard_normal(seeds)
    return noise * generator.standard_normal((16, seeds)) + offsets - gain * design[:, list(helpful)].sum(1)[:, None]


def test_effects_are_those_that_were_planted_whatever_pairs_do():
    design, generator = fractional_design(8), np.random.default_rng(0)
    logs = outcomes(generator, noise=0.0) + 0.7 * (design[:, 1] & design[:, 2])[:, None]
    found = effects_of(EIGHT, design, np.exp(logs), False)
    expected = np.exp([-1, 0.35, 0.35, -1, 0, -1, 0, 0])  # a pair's effect is half of it on average over the other
    np.testing.assert_allclose([each.change.value for each in found], expected, rtol=1e-6)
    assert [each.verdict for each in found] == [
        "helps", "harms", "harms", "helps", "no effect shown", "helps", "no effect shown", "no effect shown",
    ]  # fmt: skip


def test_false_discoveries_stay_below_their_level():
    design, generator, repeats = fractional_design(8), np.random.default_rng(1), 2000
    rest = [place for place in range(8) if place not in HELPFUL]
    false = 0
    for _ in range(repeats):
        found = effects_of(EIGHT, design, np.exp(outcomes(generator)), False)
        false += any(found[place].verdict != "no effect shown" for place in rest)
    assert false / repeats < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_a_design_needs_two_fifths_of_the_runs_of_one_at_a_time():
    """At the same chance to find all that helps: 8 seeds of 16 runs, against as many of 9 runs as cost 2.5 times it."""
    design, generator, repeats, most = fractional_design(8), np.random.default_rng(2), 1000, int(8 * 16 / 0.4 / 9)
    together = apart = 0
    for _ in range(repeats):
        found = effects_of(EIGHT, design, np.exp(outcomes(generator)), False)
        together += all(found[place].verdict == "helps" for place in HELPFUL)
        one = generator.standard_normal((9, most))
        one[1 + np.array(HELPFUL)] -= 1.0
        ps = holm(stats.ttest_1samp(one[1:] - one[0], 0.0, axis=1).pvalue.tolist())
        apart += all(ps[place] < 0.05 for place in HELPFUL)
    assert together / repeats > apart / repeats - 3 * np.sqrt(0.5 / repeats)
    assert together / repeats > 0.75


def test_an_effect_below_the_smallest_of_interest_is_not_told():
    """Seeds that show a change of 1 % beyond doubt: it counts from half of a percent on, not from two."""
    design, generator = fractional_design(4), np.random.default_rng(5)
    logs = (
        3 * generator.standard_normal(200) + 1e-3 * generator.standard_normal((8, 200)) - np.log(1.01) * design[:, [1]]
    )
    for smallest, verdict in [(0.0, "helps"), (0.005, "helps"), (0.02, "no effect shown")]:
        found = effects_of("abcd", design, np.exp(logs), False, smallest=smallest)
        assert found[1].verdict == verdict
        assert found[1].change.value == pytest.approx(1 / 1.01, rel=1e-3)
        added = effects_of("abcd", design, -logs, True, smallest=np.log1p(smallest))
        assert added[1].verdict == verdict
    exact = effects_of("ab", fractional_design(2), np.array([[1.0], [0.9]] * 2) * [1.0, 2.0], False, smallest=0.2)
    assert not any(each.verdict == "helps" for each in exact)


def test_effects_at_the_smallest_of_interest_are_told_no_more_often_than_their_level():
    design, generator, repeats = fractional_design(8), np.random.default_rng(6), 2000
    rest = [place for place in range(8) if place not in HELPFUL]
    told = 0
    for _ in range(repeats):
        values = np.exp(outcomes(generator, gain=0.5))
        values = np.exp(np.log(values) - 0.2 * design[:, rest].sum(1)[:, None])
        found = effects_of(EIGHT, design, values, False, smallest=np.expm1(0.2))
        told += any(found[place].verdict != "no effect shown" for place in rest)
    assert told / repeats < 0.05 + 3 * np.sqrt(0.05 * 0.95 / repeats)


def test_a_run_that_missed_is_behind_all_others():
    design, generator = fractional_design(4), np.random.default_rng(3)
    values = np.exp(0.01 * generator.standard_normal((8, 6)))
    values[design[:, 2]] = np.inf
    found = effects_of("abcd", design, values, False)
    assert [each.verdict for each in found] == ["no effect shown"] * 2 + ["harms", "no effect shown"]
    assert all(np.isnan(each.change.value) for each in found)
    upside_down = effects_of("abcd", design, -values, True)
    assert [each.verdict for each in upside_down] == [each.verdict for each in found]


def recipe(momentum, larger, nothing):
    """Steps of twice the size, momentum, and a rule that is wrapped to no effect, on a long valley."""
    bowl = objectives.quadratic([1.0, 0.01])
    rule = rules.heavy_ball(1.0 if larger else 0.5, rho=0.8 if momentum else 0.0)
    return bowl, optax.chain(rule, optax.identity()) if nothing else rule


NAMES = ["momentum", "larger", "nothing"]


def test_what_helps_a_recipe_is_found_and_printed():
    found = search.ablate(recipe, NAMES, steps=40, seeds=5)
    assert found.helpful == ("momentum", "larger")
    nothing = found.effects[2]
    assert nothing.change.value == pytest.approx(1.0, abs=1e-4)
    assert nothing.verdict == "no effect shown"
    text = str(found)
    assert "3 techniques, 8 combinations x 5 seeds: loss at the end" in text
    assert text.count("\n") == 3
    assert "helps" in text
    assert "[" in text
    assert repr(found) == "<Ablation of 3 techniques, 40 runs>"


def test_what_a_folder_holds_is_not_run_again(tmp_path):
    first = search.ablate(recipe, [*NAMES[:2], "nothing"], steps=20, seeds=[3, 5], out=tmp_path)
    places = sorted(path.name for path in tmp_path.iterdir())
    assert places == [f"{place:02d}" for place in range(8)]
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "02" / "curves").iterdir()}
    shutil.rmtree(tmp_path / "05")
    again = search.ablate(recipe, NAMES, steps=20, seeds=[3, 5], out=tmp_path)
    np.testing.assert_array_equal(first.values, again.values)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(InputError, match="another run"):
        search.ablate(recipe, NAMES, steps=21, seeds=[3, 5], out=tmp_path)


def test_a_metric_that_grows_helps_where_it_is_higher():
    loss = lambda params, batch, key: (params**2).sum()  # noqa: E731
    score = lambda params, batch: -abs(params).sum()  # noqa: E731
    ones = np.ones((4, 1), np.float32)
    problem = from_loss(loss, lambda key: np.ones(3, np.float32), ones, metrics={"score": score})
    goal = search.Objective("score", maximize=True)
    found = search.ablate(
        lambda faster: (problem, optax.sgd(0.4 if faster else 0.1)), ["faster"], steps=2, seeds=2, objective=goal
    )
    assert found.helpful == ("faster",)
    assert found.effects[0].change.value == pytest.approx(3 * (0.64 - 0.04))
    assert "+1.8 [" in str(found)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"techniques": [*NAMES, "warmup"]}, r"recipe cannot be called .*warmup.*a name a technique"),
        ({"techniques": ["momentum", "larger"]}, r"recipe cannot be called .*missing a required argument: 'nothing'"),
        ({"techniques": []}, "the number of techniques"),
        ({"techniques": ["momentum", "momentum"]}, "named twice"),
        ({"recipe": lambda **flags: optax.sgd(1.0)}, r"recipe gave GradientTransformation.* with no technique"),
        ({"seeds": 1}, "the number of seeds must be .* at least 2"),
        ({"level": 2.0}, "level"),
        ({"smallest": -0.1}, "smallest must be in"),
        ({"objective": "accuracy"}, "objective must be one of"),
        ({"objective": "validation_loss"}, "no validation data|must be one of|has none"),
    ],
)
def test_what_is_no_recipe_is_refused_before_anything_runs(changed, message, monkeypatch):
    monkeypatch.setattr("jaxopt_lab.training.run", lambda *args, **options: pytest.fail("it ran"))
    with pytest.raises(InputError, match=message):
        search.ablate(**({"recipe": recipe, "techniques": NAMES, "steps": 5} | changed))
