import jax
import numpy as np
import pytest

from experiments.diagnosis import confusion_matrix
from experiments.diagnosis.planting import CAUSES, FAMILIES, causes_of, curved, digits, plant, quadratics, regressions
from jaxopt_lab.core import InputError
from jaxopt_lab.studies import Rows

CHEAP = [(family, cause) for family in ("quadratics", "regressions") for cause in causes_of(family)]


@pytest.fixture
def untrained(monkeypatch):
    """Cases of a trained point stand at their start instead, so that nothing is compiled."""

    def start(problem, rule, params, steps, batch_size, seed):
        return problem.init(jax.random.key(seed)) if params is None else params

    for module in (quadratics, regressions, curved, digits):
        monkeypatch.setattr(module, "trained", start)


def test_fifteen_causes_and_health_are_planted_in_five_families():
    planted = {cause for family in FAMILIES for pair in causes_of(family) for cause in pair.split("+")}
    assert planted == set(CAUSES)
    assert all("healthy" in causes_of(family) for family in FAMILIES)
    assert len(FAMILIES) == 5


@pytest.mark.parametrize(("family", "cause"), CHEAP)
def test_every_case_is_built_and_has_a_cure(untrained, family, cause):
    for severity in (0.0, 0.5, 1.0):
        case = plant(family, cause, severity, 3)
        assert "+".join((case.cause, *case.also)) == cause
        assert bool(case.cure) == (cause != "healthy")
        assert case.cured().cause == "healthy"


def test_seeds_draw_other_examples_and_share_the_program():
    first, again, other = (plant("perceptrons", "healthy", 0.0, seed) for seed in (0, 0, 1))
    leaves = [jax.tree.leaves(case.problem.data) for case in (first, again, other)]
    assert all((one == two).all() for one, two in zip(leaves[0], leaves[1], strict=True))
    assert any((one != two).any() for one, two in zip(leaves[0], leaves[2], strict=True))
    assert first.rule is other.rule
    assert jax.tree.structure(first.problem.loss) == jax.tree.structure(other.problem.loss)


@pytest.mark.parametrize("cause", ["ill-conditioned", "learning-rate-too-low", "learning-rate-too-high"])
def test_the_cure_alone_makes_the_run_train_well(cause):
    case = plant("quadratics", cause, 0.0, 0)
    before, after, *_ = case.losses()
    cured = case.cured().losses()
    assert cured[1] < cured[0]
    assert not after - cured[1] < 0.05 * abs(before - cured[1])  # a run that has diverged gives NaN


def test_ill_conditioned_features_are_normalized_and_unnormalized_ones_are_independent():
    for cause, severity, low, high in (("ill-conditioned", 1.0, 3e5, 3e6), ("unnormalized-inputs", 0.0, 1.0, 1.01)):
        features = np.asarray(plant("regressions", cause, severity, 0).problem.data[0], np.float64)[:, :-1]
        spread = features.std(0)
        assert (np.ptp(np.log(spread)) < 1e-3) == (cause == "ill-conditioned")
        eigenvalues = np.linalg.eigvalsh(np.corrcoef(features.T))
        assert low <= eigenvalues[-1] / eigenvalues[0] < high


def test_the_saddle_of_two_layers_is_one():
    case = plant("regressions", "saddle", 0.5, 0)
    features, targets = (np.asarray(part, np.float64) for part in case.problem.data)
    wanted = targets.T @ features / len(targets)  # the features are uncorrelated
    first, second = (np.asarray(leaf, np.float64) for leaf in case.params)
    error = second @ first - wanted
    assert max(np.linalg.norm(second.T @ error), np.linalg.norm(error @ first.T)) < 1e-4
    left, values, right = np.linalg.svd(-error)
    np.testing.assert_allclose(values[:3], [0.5, 0.25, 0.0], atol=1e-4)
    unused = np.linalg.svd(first.T)[2][-1]  # a hidden direction that no weight uses
    way = np.outer(unused, right[0]), np.outer(left[:, 0], unused)

    def loss(step):
        product = (second + step * way[1]) @ (first + step * way[0])
        return 0.5 * np.sum((product - wanted) ** 2)

    curvature = (loss(1e-3) + loss(-1e-3) - 2 * loss(0.0)) / (1e-6 * 2)  # the direction's square is 2
    np.testing.assert_allclose(curvature, -0.5, rtol=1e-3)


def test_a_plateau_has_neither_slope_nor_curvature_though_the_loss_is_high():
    case = plant("regressions", "plateau", 0.0, 0)
    features, targets = (np.asarray(part, np.float64) for part in case.problem.data)
    output = 1 / (1 + np.exp(-features @ np.asarray(case.params, np.float64)))
    slope = output * (1 - output)
    assert 0.5 * np.mean((output - targets) ** 2) > 0.1
    assert np.linalg.norm(features.T @ ((output - targets) * slope)) / len(targets) < 1e-3
    assert np.max(slope) < 2e-2


@pytest.mark.parametrize(
    ("make", "wording"),
    [
        (lambda: plant("cubics", "saddle", 0.5, 0), "plant: family must be one of: quadratics"),
        (lambda: plant("quadratics", "dead-units", 0.5, 0), "plant: cause must be one of: healthy"),
        (lambda: plant("quadratics", "saddle", 1.5, 0), r"severity must be in \[0, 1\], got 1.5"),
        (lambda: plant("quadratics", "saddle", 0.5, -1), "seed must be a whole number of at least 0, got -1"),
        (lambda: confusion_matrix.Config(families=()), "families must hold at least one family, got none"),
        (lambda: confusion_matrix.Config(causes=("boredom",)), "a cause must be one of: healthy"),
        (lambda: confusion_matrix.Config(severities=(2.0,)), r"a severity must be in \[0, 1\], got 2.0"),
        (lambda: confusion_matrix.Config(proof_seeds=1), "at least 2, got 1. One pair has no interval"),
    ],
)
def test_wrong_arguments_are_refused(make, wording):
    with pytest.raises(InputError, match=wording):
        make()


def row(planted, found, predicted=np.nan, measured=np.nan):
    return {"planted": planted, "found": found, "predicted": predicted, "measured": measured}


def test_two_causes_are_right_when_either_is_named():
    pair = row("saddle+gradient-noise", "plateau, gradient-noise, saddle")
    assert [confusion_matrix._hits([pair], place) for place in (1, 2)] == [0, 1]
    assert confusion_matrix._hits([row("saddle", "saddle")], 1) == 1


def test_gains_in_the_wrong_order_fail_their_claim():
    rows = [row("saddle", "saddle", predicted, 100 / predicted) for predicted in (2.0, 5.0, 40.0)]
    *_, gains = confusion_matrix.judge(confusion_matrix.Config(), Rows(rows))
    assert gains.measured == -1
    assert not gains.holds
    same = [row("saddle", "saddle", 5.0, measured) for measured in (1.0, 2.0, 3.0)]
    assert not confusion_matrix.judge(confusion_matrix.Config(), Rows(same))[-1].holds
