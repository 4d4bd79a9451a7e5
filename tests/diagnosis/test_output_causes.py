"""Each threshold of a cause that lies in what outputs reach, or in whose they are, from both sides."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.diagnosis.causes import mixed_examples, no_gradient, outputs
from jaxopt_lab.diagnosis.example_checks import ExampleChecks
from jaxopt_lab.diagnosis.predicted_gain import rank
from jaxopt_lab.diagnosis.program_checks import GradientFlow, Penalty, ProgramChecks
from tests.diagnosis.pieces import CLASSES, INPUTS, LABELS, PLACE, REGRESSION, evidence, search


@pytest.mark.parametrize(("gap", "found"), [(0.09, False), (0.11, True)])
def test_an_output_activation_holds_the_loss_up_by_a_tenth(gap, found):
    made = evidence(program=search(reachable=0.2 + 1.1 * gap, bypassed=0.2))
    assert (outputs.examine_unreachable(made) is not None) == found


@pytest.mark.parametrize(("opposed", "follows"), [(("w",), ("gradient-ascent",)), ((), ())])
def test_what_a_search_by_a_wrong_gradient_does_not_reach_follows_from_that(opposed, follows):
    program = dataclasses.replace(
        search(reachable=1.0, bypassed=0.5), gradients=GradientFlow((), (), 0.0, (), opposed=opposed)
    )
    assert outputs.examine_unreachable(evidence(program=program)).follows_from == follows


@pytest.mark.parametrize(("slope", "follows"), [(0.0, ("no-gradient",)), (1e-6, ())])
def test_what_outputs_without_a_derivative_do_not_reach_from_where_they_are_follows_from_that(slope, follows):
    made = dataclasses.replace(search(reachable=0.9, bypassed=0.2).outputs, slope=slope)
    assert outputs.examine_unreachable(evidence(program=ProgramChecks(made))).follows_from == follows


@pytest.mark.parametrize(("distance", "found"), [(29.0, False), (31.0, True)])
def test_targets_lie_thirty_outputs_away(distance, found):
    place = dataclasses.replace(PLACE, activations=())
    made = evidence(REGRESSION, program=search(shift=distance, place=place))
    told = outputs.examine_unreachable(made)
    assert (told is not None) == found
    assert told is None or told.follows_from == ("learning-rate-too-high",)
    learned = evidence(REGRESSION, end=0.1, program=search(shift=distance, place=place))
    assert outputs.examine_unreachable(learned) is None


@pytest.mark.parametrize(("least", "found"), [(0.94, False), (0.96, True)])
def test_outputs_that_know_the_targets_earn_a_twentieth_over_one_output_for_all(least, found):
    assert (outputs.examine_unreachable(evidence(REGRESSION, program=search(reachable=least))) is not None) == found
    paid = dataclasses.replace(search(reachable=least), penalty=Penalty(0.5, 0.0))
    assert (
        outputs.examine_unreachable(evidence(REGRESSION, program=paid)) is None
    )  # of the half that outputs cost, a twelfth and more


@pytest.mark.parametrize(
    ("least", "share", "along", "found"),
    [(0.12, 0.12, 0.0, True), (0.08, 0.12, 0.0, False), (0.12, 0.08, 0.0, False), (0.12, 0.12, 0.01, False)],
)
def test_a_softmax_shares_one_unit_among_labels_that_do_not_exclude_each_other(least, share, along, found):
    labels = np.eye(4)[np.arange(100) % 4]
    labels[: round(100 * share)] = 1
    problem = dataclasses.replace(REGRESSION, data=(np.zeros((100, 2)), labels))
    made = dataclasses.replace(search(reachable=least).outputs, shift=along)
    told = outputs.examine_unreachable(evidence(problem, program=ProgramChecks(made)))
    assert (told is not None) == found
    assert told is None or "several" in told.explanation


@pytest.mark.parametrize(("least", "found"), [(-0.045, False), (-0.065, True)])
def test_a_loss_of_probabilities_lies_below_zero(least, found):
    assert (outputs.examine_unbounded(evidence(program=search(reachable=least))) is not None) == found


@pytest.mark.parametrize(
    ("least", "targets", "activation", "found"),
    [
        (-0.06, [0.0, 255.0], "sigmoid", True), (-0.04, [0.0, 255.0], "sigmoid", False),
        (-0.06, [0.0, 1.0], "sigmoid", False), (-0.06, [-0.1, 1.0], "sigmoid", True), (-0.06, [0.0, 255.0], "relu", False),
    ],
)  # fmt: skip
def test_targets_that_are_no_probabilities_bring_a_cross_entropy_below_zero(least, targets, activation, found):
    values = np.resize(targets, 40).astype(np.float32) * np.linspace(0.5, 1.0, 40, dtype=np.float32)
    values[:2] = targets
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (INPUTS, values))
    place = dataclasses.replace(PLACE, activations=((1, activation),))
    told = outputs.examine_unbounded(evidence(problem, program=search(reachable=least, place=place)))
    assert (told is not None) == found
    assert told is None or f"from {targets[0]:g} to {targets[1]:g}" in told.prescription.text
    away = outputs.examine_unbounded(evidence(problem, program=search(constant=-12.0, place=place)))
    assert ("Scale the targets" in away.prescription.text) == (activation == "sigmoid" and targets != [0.0, 1.0])


@pytest.mark.parametrize(("late", "found"), [(0.015, False), (0.025, True)])
def test_a_run_that_has_met_a_lower_end_has_no_loss_without_one(late, found):
    made = evidence(REGRESSION, end=-2.0, program=search(reachable=-99.0, constant=-99.0))
    losses = made.run.losses.copy()
    losses[20:30] += late * (made.point.loss - losses[-1])
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=losses))
    assert (outputs.examine_unbounded(made) is not None) == found
    assert made.learned_nothing == found


@pytest.mark.parametrize(("low", "found"), [(0.5, True), (-0.5, False)])
def test_numbers_of_both_signs_beside_the_classes_make_a_loss_that_may_be_negative(low, found):
    weights = np.linspace(low, 1.0, 40, dtype=np.float32)
    problem = lab.from_loss(lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (INPUTS, LABELS, weights))
    place = dataclasses.replace(PLACE, targets=(1, 2))
    made = evidence(problem, program=search(reachable=-0.5, place=place))
    assert (outputs.examine_unbounded(made) is not None) == found


@pytest.mark.parametrize(("least", "found"), [(-10.0, False), (-12.0, True)])
def test_a_loss_of_one_output_for_all_falls_ten_times_its_size_below_zero(least, found):
    made = evidence(REGRESSION, program=search(constant=least))
    assert (outputs.examine_unbounded(made) is not None) == found
    assert outputs.examine_unbounded(evidence(REGRESSION, program=search(reachable=least))) is None


@pytest.mark.parametrize(
    ("third", "last", "found"),
    [(-30.0, -34.0, True), (-30.0, -32.0, False), (-31.0, -34.0, False), (-20.0, -40.0, True)],
)
def test_a_run_that_comes_thirty_times_below_zero_and_still_falls_has_no_end(third, last, found):
    made = evidence(REGRESSION)  # from 1.1, a constant output's being 1
    curve = np.concatenate([np.linspace(1.1, third, 20), np.full(10, third), np.full(10, last)])
    falling = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=curve))
    assert (outputs.examine_unbounded(falling) is not None) == found


@pytest.mark.parametrize(
    ("negated", "targets", "text"),
    [(True, (1,), "at the sign"), (False, (0, 1), "Take optax.squared_error"), (False, (), "which term")],
)
def test_a_loss_that_falls_without_end_is_negated_or_another_taken(negated, targets, text):
    place = dataclasses.replace(PLACE, shape=(40, 1), inputs=(0,) if targets else (0, 1), targets=targets)
    made = evidence(REGRESSION, program=dataclasses.replace(search(place=place), is_negated=negated))
    curve = np.concatenate([np.linspace(1.1, -30, 20), np.full(10, -30), np.full(10, -40)])
    falling = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=curve))
    told = outputs.examine_unbounded(falling).prescription
    assert text in told.text
    assert (told.change is None) == (not targets)


@pytest.mark.parametrize(("last", "found"), [(-890.0, False), (-910.0, True)])
def test_a_run_from_below_zero_has_no_end_where_it_falls_nine_hundred_times_as_far(last, found):
    made = evidence(REGRESSION)
    point = dataclasses.replace(made.point, loss=-1.0)
    curve = np.concatenate([np.linspace(-1.0, last / 2, 20), np.full(10, last / 2), np.full(10, last)])
    falling = dataclasses.replace(made, point=point, run=dataclasses.replace(made.run, losses=curve))
    assert (outputs.examine_unbounded(falling) is not None) == found


def test_outputs_with_all_targets_are_mixed_before_their_loss_is_out_of_reach():
    place = dataclasses.replace(PLACE, activations=())
    made = evidence(REGRESSION, program=search(reachable=0.97, place=place, coupling=0.4))
    both = [outputs.examine_unreachable(made), mixed_examples.examine(made)]
    assert [each.cause for each in rank(both)] == ["mixed-examples", "unreachable-loss"]


@pytest.mark.parametrize(("change", "found"), [(0.029, False), (0.031, True)])
def test_examples_are_mixed_where_outputs_change_with_the_order_of_the_batch(change, found):
    made = evidence(program=ProgramChecks(examples=ExampleChecks(change, False)))
    assert (mixed_examples.examine(made) is not None) == found


@pytest.mark.parametrize(("change", "told"), [(0.029, "the loss mixes"), (0.031, "the model mixes")])
def test_a_model_mixes_examples_where_outputs_change_with_their_neighbours(change, told):
    program = dataclasses.replace(search(coupling=0.4), examples=ExampleChecks(0.0, False, beside=change))
    assert told in mixed_examples.examine(evidence(program=program)).explanation


@pytest.mark.parametrize(("end", "pairwise", "found"), [(0.21, False, True), (0.19, False, False), (0.21, True, False)])
def test_a_model_that_mixes_examples_without_harm_is_sound(end, pairwise, found):
    program = search(place=dataclasses.replace(PLACE, is_pairwise=pairwise))
    program = dataclasses.replace(program, examples=ExampleChecks(0.0, False, beside=0.3))
    assert (mixed_examples.examine(evidence(end=end, program=program)) is not None) == found


@pytest.mark.parametrize(("coupling", "found"), [(0.0005, False), (0.002, True)])
def test_examples_are_mixed_where_derivatives_turn(coupling, found):
    assert (mixed_examples.examine(evidence(program=search(coupling=coupling))) is not None) == found
    pairwise = dataclasses.replace(PLACE, is_pairwise=True)
    assert mixed_examples.examine(evidence(program=search(coupling=coupling, place=pairwise))) is None


@pytest.mark.parametrize(("least", "end", "found"), [(0.58, 0.9, False), (0.62, 0.9, True), (0.62, 0.1, False)])
def test_a_criterion_keeps_six_tenths_from_outputs_that_know_every_class(least, end, found):
    place = dataclasses.replace(PLACE, activations=())
    made = evidence(end=end, program=search(reachable=least, place=place))
    assert (outputs.examine_unreachable(made) is not None) == found
    numbers = evidence(REGRESSION, end=end, program=search(reachable=least, place=place))
    assert outputs.examine_unreachable(numbers) is None
    unfelt = dataclasses.replace(made.program.outputs, slope=0.0)  # as of an accuracy, which no output moves
    assert outputs.examine_unreachable(evidence(end=end, program=ProgramChecks(unfelt))) is None


def test_a_function_without_data_may_fall_without_end():
    made = evidence(dataclasses.replace(REGRESSION, data=None))
    falling = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=np.linspace(1.1, -90.0, 40)))
    assert outputs.examine_unbounded(falling) is None


@pytest.mark.parametrize(("most", "told"), [(1, "Look at the sign"), (3, "The labels run to 3: a binary criterion")])
def test_a_binary_criterion_of_more_classes_is_told(most, told):
    """One output an example, and its loss falls without end."""
    place = dataclasses.replace(PLACE, shape=(40, 1), activations=())
    problem = dataclasses.replace(CLASSES, data=(INPUTS, np.minimum(LABELS, most)))
    made = evidence(problem, program=search(reachable=-60.0, constant=-60.0, place=place))
    assert outputs.examine_unbounded(made).prescription.text.startswith(told)


@pytest.mark.parametrize(("offset", "what"), [(0.0, "the targets:"), (30.0, "the targets and the inputs:")])
def test_where_inputs_and_targets_are_raw_both_are_standardized(offset, what):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(200, 3)).astype(np.float32)
    targets = (3000 + 400 * inputs @ np.array([1.0, -2.0, 0.5])).astype(np.float32)

    def loss(params, batch, key):
        return jnp.mean((jnp.tanh(batch[0] @ params["in"]) @ params["out"] - batch[1]) ** 2)

    start = lambda key: {"in": 0.5 * jax.random.normal(key, (3, 8)), "out": jnp.zeros(8)}  # noqa: E731
    problem = lab.from_loss(loss, start, (inputs + np.float32(offset), targets))
    told = lab.diagnose(problem, optax.adam(1e-2), steps=40, batch_size=50, budget=60)
    (cure,) = [each.prescription for each in told.findings if each.cause == "unreachable-loss"]
    assert cure.text.startswith(f"Standardize {what}")
    changed, _ = cure.apply(problem, optax.adam(1e-2))
    for leaf, size in zip(changed.data, (1.0 if offset else inputs.std(0), 1.0), strict=True):
        np.testing.assert_allclose(np.asarray(leaf).std(0), size, rtol=1e-4)  # float32 rows at 30 deviations


def made_of(problem=CLASSES, **changes):
    """Evidence of a loss that none of the outputs brings down, without an activation on them."""
    place = dataclasses.replace(PLACE, activations=())
    program = search(**{"reachable": 0.9, "place": place} | changes)
    return evidence(problem, program=program)


@pytest.mark.parametrize(
    ("examine", "changes"),
    [
        (outputs.examine_unreachable, {}),
        (outputs.examine_unreachable, {"reachable": 0.97}),
        (mixed_examples.examine, {"coupling": 0.4}),
    ],
)
def test_the_criterion_that_classes_ask_for_is_prescribed(examine, changes):
    told = examine(made_of(**changes)).prescription
    assert "Take optax.softmax_cross_entropy_with_integer_labels" in told.text
    assert told.changes_loss
    several = dataclasses.replace(CLASSES, data=(*CLASSES.data, LABELS))
    beside = dataclasses.replace(PLACE, activations=(), targets=(1, 2))
    told = examine(made_of(several, **changes | {"place": beside})).prescription
    assert told.text.startswith(("Look", "Give"))


def test_of_several_labels_the_criterion_takes_each_by_itself():
    labels = np.stack([LABELS < 2, LABELS < 3, LABELS > 1, LABELS > 5], 1).astype(np.float32)
    several = dataclasses.replace(CLASSES, data=(INPUTS, labels))
    made = made_of(several, reachable=0.5)
    shared = dataclasses.replace(made.program.outputs, shift=0.0)
    told = outputs.examine_unreachable(evidence(several, program=ProgramChecks(shared)))
    assert "several" in told.explanation
    assert told.prescription.text.startswith("Take optax.sigmoid_binary_cross_entropy of")


@pytest.mark.parametrize(("problem", "num"), [(CLASSES, 1), (REGRESSION, 0)])
def test_beside_an_activation_that_is_taken_off_stands_the_criterion_of_classes(problem, num):
    place = dataclasses.replace(PLACE, shape=(40, 4) if num else (40,))
    told = outputs.examine_unreachable(evidence(problem, program=search(reachable=1.0, bypassed=0.2, place=place)))
    assert len(told.alternatives) == num
    below = outputs.examine_unbounded(evidence(problem, program=search(constant=-12.0, place=place)))
    assert len(below.alternatives) == num


@pytest.mark.parametrize(("slope", "applies"), [(0.0, True), (0.1, False)])
def test_a_criterion_that_feels_no_output_is_replaced(slope, applies):
    flow = GradientFlow(("w",), (), 1.0, ())
    found = dataclasses.replace(search(place=dataclasses.replace(PLACE, activations=())).outputs, slope=slope)
    told = no_gradient.examine(evidence(program=ProgramChecks(found, gradients=flow)))
    assert (told.prescription.change is not None) == applies
    assert told.prescription.text.startswith("Look at what lies between")


@pytest.mark.parametrize(("start", "paths", "drawn"), [(0.0, 2, True), (0.0, 1, False), (0.1, 2, False)])
def test_factors_that_are_all_zero_begin_elsewhere(start, paths, drawn):
    params = {"u": jnp.zeros(3), "v": jnp.full(3, start), "offset": jnp.ones(())}
    flow = GradientFlow(("u", "v")[:paths], (), 0.9, ())
    made = evidence(program=ProgramChecks(gradients=flow))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=params))
    told = no_gradient.examine(made)
    assert told.prescription.restarts == drawn
    assert ("they are zero" in told.explanation) == drawn
