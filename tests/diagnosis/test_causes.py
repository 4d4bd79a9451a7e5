"""Each threshold of a cause from both sides: evidence just below it gives no finding, just above it one."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate, Stateful
from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.causes import (
    data_mismatch,
    generalization,
    learning_rates,
    no_gradient,
    signals,
    train_eval,
    underfitting,
)
from jaxopt_lab.diagnosis.data_checks import BatchChecks, DataChecks
from jaxopt_lab.diagnosis.label_probes import Skill
from jaxopt_lab.diagnosis.pipeline import _stops_in_time, conclude
from jaxopt_lab.diagnosis.program_checks import GradientFlow, Memorization, Penalty, ProgramChecks
from jaxopt_lab.diagnosis.validation import Modes, Validation, measure_decay
from jaxopt_lab.rules.identification import identify
from tests.diagnosis.pieces import CLASSES, SGD, bowl, evidence, search


@pytest.mark.parametrize(("penalty", "found"), [(0.3, False), (0.4, True)])
def test_a_penalty_is_half_of_what_one_output_for_all_costs(penalty, found):
    made = evidence(program=ProgramChecks(penalty=Penalty(penalty, 0.0)))  # 0.3 / 0.7 and 0.4 / 0.6
    assert (underfitting.examine(made) is not None) == found
    learned = evidence(end=0.01, program=ProgramChecks(penalty=Penalty(penalty, 0.0)))
    assert underfitting.examine(learned) is None


@pytest.mark.parametrize(
    ("end", "held", "found"), [(0.1, 2.9, False), (0.1, 3.1, True), (1.05, 3.1, False), (1.05, 3.2, True)]
)
def test_a_validation_loss_of_three_constant_outputs_and_three_times_the_trainings_blames_the_rate(end, held, found):
    made = evidence(end=end, validation=Validation(Estimate(held, 0.1), None, 0.9, 1.0))
    assert (learning_rates.examine_high(made) is not None) == found


@pytest.mark.parametrize(
    ("same", "end", "outputs", "found"),
    [
        (("factors",), 0.9, search(), True), ((), 0.9, search(), False), (("factors",), 0.1, search(), False),
        (("factors",), 0.1, ProgramChecks(), True), ((), 0.1, ProgramChecks(), False),
    ],
)  # fmt: skip
def test_columns_that_stay_alike_are_a_bad_start(same, end, outputs, found):
    """Where no outputs are known, nobody knows how low the loss can come: they are told however low it is."""
    flow = GradientFlow((), (), 0.0, (), same)
    made = evidence(end=end, program=dataclasses.replace(outputs, gradients=flow))
    setting = dataclasses.replace(made.setting, params={"factors": np.full((4, 3), 0.1)})
    told = signals.examine_initialization(dataclasses.replace(made, setting=setting))
    assert (told is not None) == found
    assert told is None or "columns of factors" in told.explanation


@pytest.mark.parametrize(
    ("probe", "fall", "spacing", "found"),
    [(0.8, 0.04, 6, True), (0.8, 0.06, 6, False), (0.6, 0.04, 6, False), (0.8, 0.04, 5, False)],
)
def test_a_run_that_crawls_is_outdone_before_it_is_over(probe, fall, spacing, found):
    data = DataChecks(None, None, None, skill=Skill(0.3, probe, 0.01))
    made = evidence(data=data)
    curve = np.concatenate([np.linspace(1.1, 0.7 + fall, 30), np.full(10, 0.7)])
    curve[20:30] = 0.7 + fall
    run = dataclasses.replace(made.run, losses=curve, steps=spacing * made.run.steps)
    moving = dataclasses.replace(made, run=run)
    assert not moving.is_whole
    assert (underfitting.examine(moving) is not None) == found


@pytest.mark.parametrize(("end", "found"), [(0.04, False), (0.06, True)])
def test_examples_known_by_heart_are_overfitted_and_not_underfitted(end, found):
    data = DataChecks(None, None, None, skill=Skill(0.3, 0.8, 0.01))
    made = evidence(end=end, total_steps=39, data=data, validation=Validation(Estimate(0.9, 1e-3), 0.8, 1.2, 0.0))
    assert generalization.examine(made) is not None
    assert (underfitting.examine(made) is not None) == found
    shared = dataclasses.replace(made, validation=Validation(Estimate(end, 1e-3), 0.8, 1.2, 0.0))
    assert underfitting.examine(shared) is not None  # nothing else explains what the probes know


@pytest.mark.parametrize(("share", "found"), [(0.005, False), (0.02, True)])
def test_a_hundredth_of_the_parameters_has_no_gradient(share, found):
    flow = GradientFlow(("first/weight",), (), share, ())
    assert (no_gradient.examine(evidence(program=ProgramChecks(gradients=flow))) is not None) == found


def test_a_weight_that_is_drawn_in_each_call_is_no_parameter():
    flow = GradientFlow((), (), 0.0, ("model.py:7",))
    assert "model.py:7" in no_gradient.examine(evidence(program=ProgramChecks(gradients=flow))).explanation


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        (Modes(0.5, 0.72, 0.0), False), (Modes(0.5, 0.78, 0.0), True), (Modes(1.05, 0.5, 0.6), True),
        (Modes(1.05, 0.5, 0.4), False), (Modes(0.95, 0.5, 0.6), False), (Modes(0.01, 0.05, 0.0), False),
    ],
)  # fmt: skip
def test_the_two_modes_differ_twice(modes, found):
    assert (train_eval.examine(evidence(program=ProgramChecks(modes=modes))) is not None) == found


@pytest.mark.parametrize(("alike", "found"), [(0.66, False), (0.64, True), (float("nan"), True)])
def test_a_loss_that_hangs_on_the_number_of_examples_is_compared_on_as_many(alike, found):
    made = evidence(end=0.3, validation=Validation(Estimate(0.9, 1e-3), 0.8, 1.2, 0.0, alike))
    assert (generalization.examine(made) is not None) == found


def test_of_noise_that_may_hide_everything_nothing_but_a_run_tells():
    def told(modes, *, is_random):
        made = evidence(program=ProgramChecks(modes=modes))
        return train_eval.examine(dataclasses.replace(made, point=dataclasses.replace(made.point, is_random=is_random)))

    assert told(Modes(0.9, 0.9, 0.1), is_random=True).is_tentative
    assert told(Modes(0.9, 0.9, 0.1), is_random=False) is None
    assert not told(Modes(1.05, 0.5, 0.6), is_random=True).is_tentative


@pytest.mark.parametrize(
    ("end", "held", "before", "stops"),
    [(0.2, 0.45, 0.31, True), (0.2, 0.45, 0.29, False), (0.2, 0.55, 0.5, False), (0.046, 0.45, 0.31, True),
     (0.044, 0.45, 0.31, False), (-0.5, -0.2, -0.39, True), (-0.5, -0.2, -0.41, False)],
)  # fmt: skip
def test_a_run_stops_in_time_where_little_is_lost_and_nothing_known_by_heart(end, held, before, stops):
    made = evidence(end=end, validation=Validation(Estimate(held, 1e-3), 0.8, 1.2, 0.0))
    assert _stops_in_time(made, types.SimpleNamespace(before=before)) == stops


@pytest.mark.parametrize(("has_sampled", "found"), [(False, True), (True, False)])
def test_of_a_part_of_the_examples_no_overfitting_is_told(has_sampled, found):
    made = evidence(end=0.1, validation=Validation(Estimate(0.9, 1e-3), 0.8, 1.2, 0.0), program=search())
    told = conclude(made, Budget(50.0, has_sampled=has_sampled))
    assert ("overfitting" in told.causes) == found
    assert ("overfitting" in told.not_examined) != found


@pytest.mark.parametrize(("constant", "found"), [(-12.0, ["unbounded-loss"]), (1.0, ["overfitting"])])
def test_what_lets_a_loss_without_a_minimum_fall_faster_is_not_told(constant, found):
    held = Validation(Estimate(0.9, 1e-3), 0.8, 1.2, 0.0)
    told = conclude(evidence(end=0.1, validation=held, program=search(constant=constant)), Budget(50.0))
    assert list(told.causes) == found


def test_what_was_not_tried_and_nothing_else_shows_is_not_examined():
    made = evidence(program=dataclasses.replace(search(), modes=Modes(0.9, 0.9, 0.1)))
    made = dataclasses.replace(made, point=dataclasses.replace(made.point, is_random=True))
    told = conclude(made, Budget(50.0))  # too little to try changes
    assert "train-eval-mismatch" not in told.causes
    assert "nothing but a run without it can show it" in told.not_examined["train-eval-mismatch"]


@pytest.mark.parametrize(("gap", "found"), [(0.23, False), (0.27, True)])
def test_a_quarter_of_a_constant_outputs_loss_does_not_carry_over(gap, found):
    made = evidence(end=0.3, validation=Validation(Estimate(0.3 + gap, 1e-3), 0.8, 1.2, 0.0))
    assert (generalization.examine(made) is not None) == found


@pytest.mark.parametrize(("end", "found"), [(0.98, True), (1.02, False)])
def test_above_a_constant_output_nothing_is_memorized(end, found):
    made = evidence(end=end, validation=Validation(Estimate(end + 1, 1e-3), 0.8, 1.2, 0.0))
    assert (generalization.examine(made) is not None) == found


@pytest.mark.parametrize(("kept", "shares"), [(1.0, [0.001, 0.01, 0.1]), (0.9, [0.0111, 0.111, 0.3]), (0.2, [0.3])])
def test_stronger_decays_are_tried_too(kept, shares):
    made = evidence(end=0.01, validation=Validation(Estimate(0.9, 1e-3), kept, 1.2, 1.0))
    told = generalization.examine(made)
    texts = [each.text for each in (told.prescription, *told.alternatives)]
    assert [text.split()[4] for text in texts] == [f"{share:.3g}" for share in shares]


def test_a_gap_between_the_two_modes_is_no_overfitting():
    held = Validation(Estimate(0.9, 1e-3), 0.8, 1.2, 0.0)
    for loss, found in ((0.3, True), (0.8, False)):
        made = evidence(end=0.3, validation=held, program=ProgramChecks(modes=Modes(0.3, loss, 0.0)))
        assert (generalization.examine(made) is not None) == found


@pytest.mark.parametrize(
    ("end", "gap", "found"),
    [
        (0.01, 0.14, False), (0.01, 0.16, True), (0.03, 0.16, False), (0.03, 0.26, True),
        (-0.01, 0.2, False),  # below zero nothing is known by heart
    ],
)  # fmt: skip
def test_less_is_enough_where_the_training_examples_are_known_by_heart(end, gap, found):
    made = evidence(end=end, validation=Validation(Estimate(end + gap, 1e-3), 0.8, 1.2, 0.0))
    assert (generalization.examine(made) is not None) == found


@pytest.mark.parametrize(("decay", "found"), [(0.45, False), (0.55, True), (None, False)])
def test_weight_decay_pulls_half_as_hard_as_the_gradient(decay, found):
    made = evidence(curvature=bowl(1.0))
    made = dataclasses.replace(made, update=dataclasses.replace(made.update, decay=decay))
    assert (underfitting.examine(made) is not None) == found


@pytest.mark.parametrize(
    "rule",
    [
        optax.chain(optax.add_decayed_weights(0.4), optax.sgd(0.1)),
        optax.chain(optax.add_decayed_weights(0.4), optax.sgd(0.1, momentum=0.9)),
        optax.chain(optax.sgd(0.1), optax.add_decayed_weights(-0.04)),
        optax.chain(optax.add_decayed_weights(0.4), optax.scale_by_adam(), optax.scale(-0.1)),
    ],
)
def test_what_decay_changes_of_a_step_is_held_against_the_step_without(rule):
    """The slope is 1 everywhere and the parameters are 2: decay by .4 changes four fifths of it."""
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w), jnp.full(3, 2.0), (np.zeros((8, 1), np.float32),))
    made = evidence(problem)
    run = dataclasses.replace(made.run, params=jnp.full(3, 2.0), state=rule.init(jnp.full(3, 2.0)))
    setting = dataclasses.replace(made.setting, rule=rule, optimizer=identify(rule, jnp.ones(3)))
    made, budget = dataclasses.replace(made, setting=setting, run=run), Budget(200.0, 60.0)
    adaptive = any(isinstance(each, optax.ScaleByAdamState) for each in run.state)
    assert setting.optimizer.weight_decay > 0
    assert measure_decay(made, budget) == pytest.approx(0.0 if adaptive else 0.8, abs=1e-5)  # Adam's first: signs
    if not adaptive:  # and a momentum forgets what it knew before
        before = jax.tree.map(lambda leaf: leaf + 5, run.state)
        moving = dataclasses.replace(made, run=dataclasses.replace(run, state=before))
        assert measure_decay(moving, budget) == pytest.approx(0.8, rel=0.02)
    freed = dataclasses.replace(made, setting=dataclasses.replace(setting, optimizer=SGD))
    assert measure_decay(freed, budget).applies is False


@pytest.mark.parametrize(
    ("model", "probe", "error", "found"),
    [(0.5, 0.74, 0.01, False), (0.5, 0.76, 0.01, True), (0.85, 0.94, 0.01, False), (0.5, 0.76, 0.09, False)],
)
def test_a_probe_that_leaves_half_of_the_errors_tells_underfitting(model, probe, error, found):
    made = evidence(end=0.6, total_steps=39, data=DataChecks(None, None, None, skill=Skill(model, probe, error)))
    assert (underfitting.examine(made) is not None) == found
    cut_short = dataclasses.replace(made, setting=dataclasses.replace(made.setting, total_steps=1000))
    falling = dataclasses.replace(made.run, losses=np.linspace(1.1, 0.6, 40))
    assert underfitting.examine(dataclasses.replace(cut_short, run=falling)) is None


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"grouping": 0.29, "chance": 0.0}, False), ({"grouping": 0.31, "chance": 0.0}, True),
        ({"grouping": 0.31, "chance": 2e-4}, False), ({"repeats": 0.09}, False), ({"repeats": 0.11}, True),
        ({"offset": 0.49}, False), ({"offset": 0.51}, True), ({"scale": 1.9}, False), ({"scale": 0.49}, True),
    ],
)  # fmt: skip
def test_batches_are_a_random_part_of_the_data(change, found):
    fed = BatchChecks(10, 0.0, 1.0, 0.0, 1.0, 0.0)._replace(**change)
    made = evidence(data=DataChecks(None, None, None, batches=fed))
    assert (data_mismatch.examine(made) is not None) == found


@pytest.mark.parametrize(
    ("size", "state", "end", "found"),
    [
        (4, {"mean": 0.0}, 0.9, True),
        (5, {"mean": 0.0}, 0.9, False),
        (1, {}, 0.9, False),
        (1, {"mean": 0.0}, 0.1, False),
    ],
)
def test_batch_statistics_of_four_examples_are_noise(size, state, end, found):
    normalized = dataclasses.replace(CLASSES, stateful=Stateful(state, lambda *args: None, lambda *args: None))
    made = evidence(normalized, end=end, batch_size=size, program=ProgramChecks(modes=Modes(0.9, 0.9, 0.0)))
    told = train_eval.examine(made)
    assert (told is not None) == found
    assert told is None or "4 examples" in told.explanation


@pytest.mark.parametrize(("least", "follows"), [(0.09, True), (0.11, False)])
def test_a_model_that_fits_sixteen_examples_may_only_have_begun_badly(least, follows):
    data = DataChecks(None, None, None, skill=Skill(0.3, 0.8, 0.01))
    program = ProgramChecks(memorization=Memorization(1.1, least, 0.01))
    told = underfitting.examine(evidence(total_steps=39, data=data, program=program))
    assert ("bad-initialization" in told.follows_from) == follows
    assert "unnormalized-inputs" in told.follows_from


@pytest.mark.parametrize(("clamped", "end", "found"), [(0.009, 0.9, False), (0.011, 0.9, True), (0.5, 1e-5, False)])
def test_numbers_that_name_no_row_of_a_table_are_told(clamped, end, found):
    made = evidence(end=end, program=dataclasses.replace(search(), clamped=clamped))
    told = underfitting.examine(made)
    assert (told is not None) == found
    assert not found or "1.1% of the numbers that are looked up" in told.explanation
