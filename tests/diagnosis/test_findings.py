"""The order in which causes are told."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis import pipeline
from jaxopt_lab.diagnosis.budget import Budget, loss_size
from jaxopt_lab.diagnosis.findings import Prescription, make_finding
from jaxopt_lab.diagnosis.predicted_gain import rank
from jaxopt_lab.diagnosis.probe_runs import Scores
from jaxopt_lab.diagnosis.trials import Trial, _judged_by, _try
from jaxopt_lab.diagnosis.validation import Validation
from tests.diagnosis.pieces import evidence


def found(cause, predicted=2.0, gain=None, helps=True, follows=(), before=1.0, after=0.5, speed=1.0, scale=2.0):
    finding = make_finding(cause, "", [], Prescription(""), predicted, follows_from=follows)
    trial = (
        None
        if gain is None
        else types.SimpleNamespace(
            gain=gain,
            weight=gain,
            helps=helps,
            harms=after > 1.2 * before,
            before=before,
            after=after,
            speed=speed,
            scale=scale,
            learned=1.0,
        )
    )
    return type(finding)(**{**vars(finding), "trial": trial})


FOLLOWS, RATE = ("unnormalized-inputs",), ("learning-rate-too-high",)


@pytest.mark.parametrize(
    ("findings", "order"),
    [
        # What was measured comes before what was predicted, and what helped before what did not.
        ([found("plateau", 300.0, 1.0, False), found("dead-units", 3.0, 2.0)], ["dead-units", "plateau"]),
        ([found("plateau", 300.0, 5.0), found("dead-units", 3.0, 50.0)], ["dead-units", "plateau"]),
        # A cause explains another one as long as the other's change did not help more.
        (
            [found("learning-rate-too-low", 9.0, 4.0, follows=FOLLOWS), found("unnormalized-inputs", 2.0, 9.0)],
            ["unnormalized-inputs", "learning-rate-too-low"],
        ),
        (
            [found("learning-rate-too-low", 9.0, 26.0, follows=FOLLOWS), found("unnormalized-inputs", 2.0, 1.4)],
            ["learning-rate-too-low", "unnormalized-inputs"],
        ),
        (
            [found("learning-rate-too-low", 9.0, follows=FOLLOWS), found("unnormalized-inputs", 2.0, 1.4)],
            ["unnormalized-inputs", "learning-rate-too-low"],
        ),
        # Gains that short runs cannot tell apart leave the order to the prediction.
        (
            [found("bad-initialization", 900.0, 1.3, follows=FOLLOWS), found("unnormalized-inputs", 2.0, 1.4)],
            ["bad-initialization", "unnormalized-inputs"],
        ),
        # A model that learns better, or sooner, with another change does not underfit.
        *(
            (
                [
                    found("underfitting", 9.0, follows=("dead-units",)),
                    found("dead-units", 2.0, gain, speed=speed, scale=scale),
                ],
                order,
            )
            for gain, speed, scale, order in (
                (1.4, 4.0, 2.0, ["underfitting", "dead-units"]),
                (1.4, 5.0, 2.0, ["dead-units", "underfitting"]),
                (1.6, 1.0, 2.0, ["dead-units", "underfitting"]),
                (1.4, 1.0, 1.0, ["dead-units", "underfitting"]),
            )
        ),
        # What was tried in vain explains nothing, but for a start, of which only one other was tried.
        ([found("underfitting", 15.0), found("bad-initialization", 4.0, 4.0)], ["bad-initialization", "underfitting"]),
        (
            [found("unnormalized-inputs", 15.0, 1.0, False), found("underfitting", 2.0, follows=FOLLOWS)],
            ["underfitting", "unnormalized-inputs"],
        ),
        (
            [found("vanishing-signal", 15.0, 1.0, False), found("underfitting", 2.0, follows=("vanishing-signal",))],
            ["vanishing-signal", "underfitting"],
        ),
        (
            [found("unnormalized-inputs", 900.0, 1.0, False), found("vanishing-signal", 15.0, 1.0, False)],
            ["vanishing-signal", "unnormalized-inputs"],
        ),
        # A lower rate makes a run finite too whose signal explodes.
        *(
            (
                [
                    found("learning-rate-too-high", np.inf, 9e9, follows=("exploding-signal",), before=before),
                    found("exploding-signal", 99.0, 9e6, before=before),
                ],
                order,
            )
            for before, order in (
                (np.inf, ["exploding-signal", "learning-rate-too-high"]),
                (1.0, ["learning-rate-too-high", "exploding-signal"]),
            )
        ),
        *(
            (
                [
                    found("ill-conditioned", 7.0, 5.3, follows=("learning-rate-too-high",)),
                    found("learning-rate-too-high", 9.0, gain),
                ],
                ["learning-rate-too-high", "ill-conditioned"][::order],
            )
            for gain, order in ((3.6, 1), (2.0, -1))
        ),
        # What is as it was meant to be comes behind what helps.
        (
            [found("train-eval-mismatch", 300.0, 1.0, False), found("learning-rate-too-low", 3.0, 7.0)],
            ["learning-rate-too-low", "train-eval-mismatch"],
        ),
        # So does what helps a little, where another change than a higher rate gives three times as much.
        (
            [found("train-eval-mismatch", 300.0, 1.7), found("dead-units", 3.0, 5.2)],
            ["dead-units", "train-eval-mismatch"],
        ),
        (
            [found("train-eval-mismatch", 300.0, 1.7), found("dead-units", 3.0, 5.0)],
            ["train-eval-mismatch", "dead-units"],
        ),
        (
            [found("lost-updates", 300.0, 1.7), found("learning-rate-too-low", 3.0, 9.0)],
            ["lost-updates", "learning-rate-too-low"],
        ),
        # So is what was tried and makes things worse, where another change helps much.
        (
            [found("unreachable-loss", 99.0, 0.1, False, after=9.0), found("unnormalized-inputs", 3.0, 7.0)],
            ["unnormalized-inputs", "unreachable-loss"],
        ),
        (
            [found("unreachable-loss", 99.0, 0.1, False, after=9.0), found("unnormalized-inputs", 3.0, 1.5)],
            ["unreachable-loss", "unnormalized-inputs"],
        ),
        # Raw inputs come behind what helps a little more, but for what follows from them.
        (
            [found("unnormalized-inputs", 15.0, 1.25), found("underfitting", 1.1, 1.3)],
            ["underfitting", "unnormalized-inputs"],
        ),
        (
            [found("unnormalized-inputs", 15.0, 1.25), found("underfitting", 1.1, 1.2)],
            ["unnormalized-inputs", "underfitting"],
        ),
        (
            [found("unnormalized-inputs", 15.0, 1.25), found("learning-rate-too-high", 2.0, 1.3, follows=FOLLOWS)],
            ["unnormalized-inputs", "learning-rate-too-high"],
        ),
        # A rate at which the run goes nowhere comes before what follows from it, whatever that gains.
        *(
            (
                [
                    found("ill-conditioned", 9.0, 90.0, follows=RATE),
                    found("learning-rate-too-high", 2.0, 5.0, before=start),
                ],
                order,
            )
            for start, order in (
                (np.nan, ["learning-rate-too-high", "ill-conditioned"]),
                (1.0, ["ill-conditioned", "learning-rate-too-high"]),
            )
        ),
        *(
            (
                [found("unreachable-loss", 50.0, 90.0, follows=RATE), found("learning-rate-too-high", 2.0, gain)],
                order,
            )
            for gain, order in (
                (3.1, ["learning-rate-too-high", "unreachable-loss"]),
                (2.9, ["unreachable-loss", "learning-rate-too-high"]),
            )
        ),
        # Another program than meant comes before a slow one, whatever the gains.
        ([found("plateau", 300.0, 500.0), found("gradient-ascent", 2.0, 2.0)], ["gradient-ascent", "plateau"]),
    ],
)
def test_causes_are_told_in_the_order_of_what_was_measured(findings, order):
    assert [finding.cause for finding in rank(findings)] == order
    assert [finding.cause for finding in rank(findings[::-1])] == order


@pytest.mark.parametrize(
    ("after", "speed", "helps", "gain", "weight"),
    [
        (0.1, 1.0, True, 10.0, 10.0),
        (0.95, 30.0, True, 30.0, 4.0),  # no lower, only sooner
        (0.95, 3.0, False, 1 / 0.95, 1 / 0.95),
        (2.0, 30.0, False, 0.5, 0.5),
    ],
)
def test_a_change_that_only_comes_sooner_weighs_at_most_four(after, speed, helps, gain, weight):
    trial = Trial("plateau", Prescription(""), 100, 1.0, after, None, 1.0, speed, True)
    assert trial.helps == helps
    assert (trial.gain, trial.weight) == pytest.approx((gain, weight))


@pytest.mark.parametrize(
    ("cause", "training", "helps"),
    [("gradient-noise", (1.0, 0.5), True), ("gradient-noise", (1.0, 0.85), False), ("dead-units", (1.0, 0.5), False)],
)
def test_a_noise_floor_is_that_of_the_training_loss_at_the_end(cause, training, helps):
    """The best validation loss on the way, 1 for both, hides it."""
    assert Trial(cause, Prescription(""), 100, 1.0, 1.0, training, 1.0, 1.0, True).helps == helps


@pytest.mark.parametrize(
    ("vain", "untried", "end", "told"),
    [
        ("lost-updates", (), 0.9, ["lost-updates"]),  # what a short run cannot show is there all the same
        ("underfitting", (), 0.9, []),  # of a decay that was taken away
        ("vanishing-signal", ("underfitting",), 0.9, ["underfitting", "vanishing-signal"]),
        ("vanishing-signal", ("underfitting",), 0.1, ["underfitting"]),
    ],
)
def test_what_was_tried_in_vain_is_an_observation_where_training_goes_badly(monkeypatch, vain, untried, end, told):
    cure = Prescription("It.", lambda problem, rule: (problem, rule))
    trial = Trial(vain, cure, 400, 1.0, 1.0, None, 1.0, 1.0, True)
    monkeypatch.setattr(pipeline, "try_prescriptions", lambda *given: {vain: trial})
    findings = [dataclasses.replace(found(vain), prescription=cure), *map(found, untried)]
    kept = pipeline._tried(evidence(end=end), findings, Budget(200.0, 60.0), print)
    assert [each.cause for each in kept] == told
    if len(kept) == 2:
        assert kept[1].prescription.change is None  # to be applied is what helps


@pytest.mark.parametrize(
    ("held", "best", "after", "told"),
    [
        (0.45, 0.31, 0.31, []), (0.45, 0.29, 0.29, ["overfitting"]),  # it has risen by half
        (0.55, 0.50, 0.50, ["overfitting"]),  # more than half of what the best constant output leaves
        (0.45, 0.31, 0.20, ["overfitting"]),  # the change helps
    ],
)  # fmt: skip
def test_overfitting_that_is_stopped_in_time_and_that_no_change_mends_is_not_told(monkeypatch, held, best, after, told):
    cure = Prescription("It.", lambda problem, rule: (problem, rule))
    trial = Trial("overfitting", cure, 400, best, after, None, 1.0, 1.0, True)
    monkeypatch.setattr(pipeline, "try_prescriptions", lambda *given: {"overfitting": trial})
    made = evidence(end=0.1, validation=Validation(Estimate(held, 0.01), 1.0, 1.0, 0.0))
    kept = pipeline._tried(made, [dataclasses.replace(found("overfitting"), prescription=cure)], Budget(200, 60), print)
    assert [each.cause for each in kept] == told


def test_a_change_by_which_the_loss_makes_pairs_of_all_examples_is_not_tried():
    """Targets of another shape may broadcast: of thousands of examples neither time nor memory is enough for that."""
    pairs = lambda w, batch, key: jnp.mean(jnp.square(batch[0][:, 0] - batch[0][:, :1]))  # noqa: E731
    data = (jnp.zeros((2100, 2)),)
    big = lab.from_loss(pairs, jnp.zeros(3), data)
    assert loss_size(big, jnp.zeros(3)) == 2100**2
    assert (
        loss_size(lab.from_loss(lambda w, batch, key: jnp.mean(batch[0]), jnp.zeros(3), data), jnp.zeros(3)) < 2100**2
    )
    cure = Prescription("Give the targets another shape.", lambda problem, rule: (big, rule))
    assert _try(evidence(), found("mixed-examples"), cure, 10, None) is None  # before anything is run


@pytest.mark.parametrize("held", [None, (np.full((4, 1), 3.0, np.float32),)])
def test_a_run_is_judged_by_a_changed_loss_where_it_ended(held):
    squares = lambda w, batch, key: jnp.mean(jnp.square(batch[0] - w))  # noqa: E731
    problem = lab.from_loss(squares, jnp.zeros(1), (np.full((8, 1), 2.0, np.float32),), validation=held)
    judged = _judged_by(problem, Scores(np.zeros(1), None, np.arange(2), np.zeros((1, 2)), jnp.ones(1), None))
    assert judged.ends == (1.0 if held is None else 4.0)
    assert judged.training == (None if held is None else 1.0)


@pytest.mark.parametrize(
    ("before", "after", "harms"), [(1.0, 1.19, False), (1.0, 1.21, True), (0.01, 0.05, False), (0.01, 0.06, True),
                                   (1.0, np.inf, True), (np.inf, np.inf, False)]
)  # fmt: skip
def test_a_change_harms_where_the_score_is_a_fifth_higher(before, after, harms):
    trial = Trial("mixed-examples", Prescription(""), 400, before, after, None, 2.3, 1.0, True)
    assert trial.harms == harms


def test_of_changes_that_end_a_divergence_that_counts_more_which_ends_lower():
    def tried(cause, after, follows=()):
        trial = Trial(cause, Prescription(""), 400, float("inf"), after, None, 2.3, 1.0, True)
        finding = make_finding(cause, "", [], Prescription(""), 2.0, follows_from=follows)
        return dataclasses.replace(finding, trial=trial)

    calm, start = tried("learning-rate-too-high", 2.5, ("bad-initialization",)), tried("bad-initialization", 0.1)
    assert [each.cause for each in rank([calm, start])] == ["bad-initialization", "learning-rate-too-high"]
    assert start.trial.gain == calm.trial.gain == float("inf")
    assert tried("plateau", float("inf")).trial.weight == 1.0
    calm, start = tried("learning-rate-too-high", 0.1, ("bad-initialization",)), tried("bad-initialization", 2.5)
    assert [each.cause for each in rank([calm, start])] == ["learning-rate-too-high", "bad-initialization"]
