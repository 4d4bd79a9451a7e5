"""Each threshold of a cause from both sides: evidence just below it gives no finding, just above it one."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate, Status
from jaxopt_lab.curvature.directions import NegativeCurvature
from jaxopt_lab.diagnosis.causes import (
    data_mismatch,
    generalization,
    labels,
    learning_rates,
    memorization,
    mixed_examples,
    no_gradient,
    noise,
    non_finite,
    outputs,
    rule_limits,
    signals,
    stationarity,
    train_eval,
    underfitting,
)
from jaxopt_lab.diagnosis.data_checks import BatchChecks, DataChecks, Labels, Split
from jaxopt_lab.diagnosis.evidence import Evidence, Layers, PointState, Setting
from jaxopt_lab.diagnosis.gradient_noise import GradientNoise
from jaxopt_lab.diagnosis.label_probes import Skill
from jaxopt_lab.diagnosis.memorization import Memorization
from jaxopt_lab.diagnosis.output_search import OutputSearch, Search
from jaxopt_lab.diagnosis.probe_runs import ProbeRun
from jaxopt_lab.diagnosis.program_checks import GradientFlow, Modes, Penalty, ProgramChecks
from jaxopt_lab.diagnosis.quadratic_model import Curvature, QuadraticModel
from jaxopt_lab.diagnosis.rule_checks import RuleChecks, Schedule, Update
from jaxopt_lab.diagnosis.stationary_point import LineScan, StationaryPoint
from jaxopt_lab.diagnosis.validation import Validation
from jaxopt_lab.rules.identification import IdentifiedRule
from jaxopt_lab.tracing.outputs import OutputPlace
from jaxopt_lab.tracing.signals import ActivationSignal, LayerSignal, Signals

INPUTS, LABELS = np.zeros((40, 3), np.float32), np.arange(40) % 4
CLASSES = lab.from_loss(lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (INPUTS, LABELS))
REGRESSION = lab.from_loss(
    lambda w, batch, key: jnp.sum(w), jnp.zeros(3), (INPUTS, np.linspace(0, 1, 40, dtype=np.float32))
)
SGD = IdentifiedRule("gradient descent", 0.1, effective_rate=0.1)


def evidence(problem=CLASSES, end=0.9, batch_size=None, rule=None, noise=None, **parts):
    """A run from 1.1 to `end` where one output for all earns 1.0."""
    curve = np.linspace(1.1, end, 40)
    curve[20:] = end
    run = ProbeRun(np.arange(40), curve, np.ones(40), None, Status.COMPLETED, jnp.zeros(3), None, None)
    setting = Setting(problem, optax.sgd(0.1), jnp.zeros(3), True, 39, batch_size, 0, None, None, SGD)
    return Evidence(setting, PointState(1.1, 1.0, baseline=1.0), run=run, update=Update(noise, rule), **parts)


PLACE = OutputPlace(0, (40, 4), ((5, "softmax"),), (0,), (1,), False)


def search(reachable=0.0, bypassed=None, constant=1.0, coupling=0.0, shift=0.0, place=PLACE, loss=1.1):
    free = np.full((40, 4), shift)
    found = None if bypassed is None else Search(bypassed, free)
    return ProgramChecks(
        OutputSearch(
            place, loss, np.zeros((40, 4)), 1.0, Search(reachable, free), found, "softmax", Search(constant, free[0]),
            coupling,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("gap", "found"), [(0.09, False), (0.11, True)])
def test_an_output_activation_holds_the_loss_up_by_a_tenth(gap, found):
    made = evidence(program=search(reachable=0.2 + 1.1 * gap, bypassed=0.2))
    assert (outputs.examine_unreachable(made) is not None) == found


@pytest.mark.parametrize(("distance", "found"), [(29.0, False), (31.0, True)])
def test_targets_lie_thirty_outputs_away(distance, found):
    place = dataclasses.replace(PLACE, activations=())
    made = evidence(REGRESSION, program=search(shift=distance, place=place))
    assert (outputs.examine_unreachable(made) is not None) == found
    learned = evidence(REGRESSION, end=0.1, program=search(shift=distance, place=place))
    assert outputs.examine_unreachable(learned) is None


@pytest.mark.parametrize(("least", "found"), [(0.94, False), (0.96, True)])
def test_outputs_that_know_the_targets_earn_a_twentieth_over_one_output_for_all(least, found):
    assert (outputs.examine_unreachable(evidence(program=search(reachable=least))) is not None) == found


@pytest.mark.parametrize(("penalty", "found"), [(0.3, False), (0.4, True)])
def test_a_penalty_is_half_of_what_one_output_for_all_costs(penalty, found):
    made = evidence(program=ProgramChecks(penalty=Penalty(penalty, 0.0)))  # 0.3 / 0.7 and 0.4 / 0.6
    assert (underfitting.examine(made) is not None) == found
    learned = evidence(end=0.01, program=ProgramChecks(penalty=Penalty(penalty, 0.0)))
    assert underfitting.examine(learned) is None


@pytest.mark.parametrize(("held", "found"), [(2.9, False), (3.1, True)])
def test_a_validation_loss_of_three_outputs_for_all_blames_the_rate(held, found):
    made = evidence(end=0.1, validation=Validation(Estimate(held, 0.1), None, 0.9, 1.0))
    assert (learning_rates.examine_high(made) is not None) == found


@pytest.mark.parametrize(("least", "found"), [(-0.045, False), (-0.065, True)])
def test_a_loss_of_probabilities_lies_below_zero(least, found):
    assert (outputs.examine_unbounded(evidence(program=search(reachable=least))) is not None) == found


@pytest.mark.parametrize(("least", "found"), [(-10.0, False), (-12.0, True)])
def test_a_loss_of_one_output_for_all_falls_ten_times_its_size_below_zero(least, found):
    made = evidence(REGRESSION, program=search(constant=least))
    assert (outputs.examine_unbounded(made) is not None) == found
    assert outputs.examine_unbounded(evidence(REGRESSION, program=search(reachable=least))) is None


@pytest.mark.parametrize(("coupling", "found"), [(0.0005, False), (0.002, True)])
def test_examples_are_mixed_where_derivatives_turn(coupling, found):
    assert (mixed_examples.examine(evidence(program=search(coupling=coupling))) is not None) == found
    pairwise = dataclasses.replace(PLACE, is_pairwise=True)
    assert mixed_examples.examine(evidence(program=search(coupling=coupling, place=pairwise))) is None


@pytest.mark.parametrize(("share", "found"), [(0.005, False), (0.02, True)])
def test_a_hundredth_of_the_parameters_has_no_gradient(share, found):
    flow = GradientFlow(("first/weight",), (), share, ())
    assert (no_gradient.examine(evidence(program=ProgramChecks(gradients=flow))) is not None) == found


def test_a_weight_that_is_drawn_in_each_call_is_no_parameter():
    flow = GradientFlow((), (), 0.0, ("model.py:7",))
    assert "model.py:7" in no_gradient.examine(evidence(program=ProgramChecks(gradients=flow))).explanation


@pytest.mark.parametrize(
    ("counts", "outputs_", "end", "found"),
    [
        ({0: 20, 1: 20}, 2, 0.9, False),
        ({1: 20, 2: 20}, 2, 0.9, True),
        ({-1: 1, 0: 20, 1: 19}, 2, 0.9, True),
        ({3: 40}, 4, 0.9, True),
        ({0: 989, 1: 11}, 2, 0.9, False),
        ({0: 991, 1: 9}, 2, 0.9, True),
        ({0: 991, 1: 9}, 2, 0.1, False),
    ],
)
def test_labels_name_outputs_in_sufficient_numbers(counts, outputs_, end, found):
    total = sum(counts.values())
    checks = DataChecks(Labels(counts, outputs_, min(counts.values()) / total), None, None)
    assert (labels.examine_range(evidence(end=end, data=checks)) is not None) == found


@pytest.mark.parametrize(("chance", "held", "found"), [(0.002, 1.2, False), (0.005, 1.2, True), (0.005, 0.9, False)])
def test_labels_are_uninformative_where_no_probe_tells_them_and_the_model_does_not_either(chance, held, found):
    made = evidence(data=DataChecks(None, chance, None), validation=Validation(Estimate(held, 0.01), 1.0, 1.0, 0.0))
    assert (labels.examine_uninformative(made) is not None) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"offset": 0.45}, False), ({"offset": 0.55}, True), ({"scale": 1.9}, False), ({"scale": 2.1}, True),
        ({"scale": 0.45}, True), ({"scale": 0.55}, False), ({"labels": 0.25}, False), ({"labels": 0.35}, True),
        ({"duplicates": 0.05}, False), ({"duplicates": 0.15}, True),
    ],
)  # fmt: skip
def test_validation_data_are_of_another_kind(changes, found):
    split = dataclasses.replace(Split(0.0, 1.0, 0.0, 0.0), **changes)
    assert (data_mismatch.examine(evidence(data=DataChecks(None, None, split))) is not None) == found


@pytest.mark.parametrize(
    ("modes", "found"),
    [
        (Modes(0.5, 0.72, 0.0), False), (Modes(0.5, 0.78, 0.0), True), (Modes(1.05, 0.5, 0.6), True),
        (Modes(1.05, 0.5, 0.4), False), (Modes(0.95, 0.5, 0.6), False), (Modes(0.01, 0.05, 0.0), False),
    ],
)  # fmt: skip
def test_the_two_modes_differ_twice(modes, found):
    assert (train_eval.examine(evidence(program=ProgramChecks(modes=modes))) is not None) == found


def checks(**changes):
    return dataclasses.replace(RuleChecks(False, 1.0, 1.0, 0.0, "bfloat16", None), **changes)


@pytest.mark.parametrize(
    ("lost", "dtype", "found"), [(0.45, "bfloat16", False), (0.55, "bfloat16", True), (0.55, "float32", False)]
)
def test_half_of_the_entries_lose_their_update(lost, dtype, found):
    assert (rule_limits.examine_lost(evidence(rule=checks(lost=lost, dtype=dtype))) is not None) == found


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"shortened": 3.9, "elasticity": 0.0}, False), ({"shortened": 4.1, "elasticity": 0.0}, True),
        ({"shortened": 4.1, "elasticity": 0.6}, False), ({"is_adaptive": True, "elasticity": 0.45}, False),
        ({"is_adaptive": True, "elasticity": 0.55}, True),
    ],
)  # fmt: skip
def test_a_limit_on_the_gradient_decides_the_steps(changes, found):
    assert (rule_limits.examine_clipped(evidence(rule=checks(**changes))) is not None) == found
    assert rule_limits.examine_clipped(evidence(end=0.1, rule=checks(**changes))) is None


@pytest.mark.parametrize(
    ("ends", "peak", "halfway", "found"),
    [(61, 0, 1.0, False), (59, 0, 1.0, True), (100, 89, 0.7, False), (100, 91, 0.7, True), (100, 91, 0.8, False)],
)
def test_a_schedule_ends_early_or_never_rises(ends, peak, halfway, found):
    rates = np.ones(100)
    rates[50] = halfway
    made = evidence(rule=checks(schedule=Schedule(100, rates, ends, peak)))
    assert (rule_limits.examine_schedule(made) is not None) == found


@pytest.mark.parametrize(("idle", "found"), [(0.88, False), (0.92, True)])
def test_nine_of_ten_steps_have_no_update(idle, found):
    assert (rule_limits.examine_schedule(evidence(rule=checks(idle=idle))) is not None) == found
    assert rule_limits.examine_schedule(evidence(end=0.1, rule=checks(idle=idle))) is None


@pytest.mark.parametrize(("descent", "found"), [(-0.45, False), (-0.55, True)])
def test_updates_point_along_the_gradient(descent, found):
    assert (rule_limits.examine_ascent(evidence(rule=checks(descent=descent))) is not None) == found


def test_a_rule_makes_a_number_that_is_not_finite():
    assert non_finite.examine(evidence(rule=checks())) is None
    assert "float32" in non_finite.examine(evidence(rule=checks(is_finite=False))).explanation


@pytest.mark.parametrize(("silent", "found"), [((), False), ((0,), True), ((0, 1), False)])
def test_a_class_is_silent_where_another_is_not(silent, found):
    checks = DataChecks(Labels({0: 20, 1: 20}, 1, 0.5, silent), None, None)
    assert (labels.examine_range(evidence(data=checks)) is not None) == found


@pytest.mark.parametrize(("least", "found"), [(0.48, False), (0.52, True)])
def test_sixteen_examples_keep_half_of_their_loss(least, found):
    assert (
        memorization.examine(evidence(program=ProgramChecks(memorization=Memorization(1.0, least, 0.01)))) is not None
    ) == found


@pytest.mark.parametrize(("gap", "found"), [(0.23, False), (0.27, True)])
def test_a_quarter_of_a_constant_outputs_loss_does_not_carry_over(gap, found):
    made = evidence(end=0.3, validation=Validation(Estimate(0.3 + gap, 1e-3), 0.8, 1.2, 0.0))
    assert (generalization.examine(made) is not None) == found


def test_a_gap_between_the_two_modes_is_no_overfitting():
    held = Validation(Estimate(0.9, 1e-3), 0.8, 1.2, 0.0)
    for loss, found in ((0.3, True), (0.8, False)):
        made = evidence(end=0.3, validation=held, program=ProgramChecks(modes=Modes(0.3, loss, 0.0)))
        assert (generalization.examine(made) is not None) == found


@pytest.mark.parametrize(
    ("end", "gap", "found"), [(0.01, 0.14, False), (0.01, 0.16, True), (0.03, 0.16, False), (0.03, 0.26, True)]
)
def test_less_is_enough_where_the_training_examples_are_known_by_heart(end, gap, found):
    made = evidence(end=end, validation=Validation(Estimate(end + gap, 1e-3), 0.8, 1.2, 0.0))
    assert (generalization.examine(made) is not None) == found


def layered(forward=(1.0, 1.0, 1.0, 1.0, 1.0), backward=(1.0,) * 5, dead=0.0, saturated=np.nan, copies=0.0):
    layers = tuple(
        LayerSignal(f"{k}", 8, 8, f, b, 1.0, 1.0, copies, np.zeros(8))
        for k, (f, b) in enumerate(zip(forward, backward, strict=True))
    )
    return Layers(Signals(layers, (ActivationSignal("relu", "0", 8, dead, saturated, 0.5),), 40))


@pytest.mark.parametrize(
    ("dead", "saturated", "found"), [(0.45, 0, False), (0.55, 0, True), (0, 0.7, False), (0, 0.8, True)]
)
def test_half_of_a_layers_units_are_dead_or_three_quarters_saturated(dead, saturated, found):
    made = evidence(layers=layered(dead=dead, saturated=saturated))
    assert (signals.examine_dead(made) is not None) == found
    assert signals.examine_dead(evidence(end=0.1, layers=layered(dead=dead, saturated=saturated))) is None


@pytest.mark.parametrize(("gain", "found"), [(19.0, False), (21.0, True)])
def test_the_signal_changes_twentyfold_in_depth(gain, found):
    path = (*np.geomspace(1, gain, 4), 1.0)
    fallen = (*(1 / np.array(path[:4])), 1.0)
    assert (signals.examine_exploding(evidence(layers=layered(forward=path))) is not None) == found
    assert (signals.examine_vanishing(evidence(layers=layered(forward=fallen))) is not None) == found


@pytest.mark.parametrize(("loss", "found"), [(3.9, False), (4.1, True)])
def test_a_start_three_sizes_above_a_constant_output_is_bad(loss, found):
    made = evidence(layers=layered())
    made = dataclasses.replace(made, point=dataclasses.replace(made.point, loss=loss))
    assert (signals.examine_initialization(made) is not None) == found


@pytest.mark.parametrize(("copies", "found"), [(0.45, False), (0.55, True)])
def test_units_that_are_copies_of_each_other_are_a_bad_start(copies, found):
    assert (signals.examine_initialization(evidence(layers=layered(copies=copies))) is not None) == found


def bowl(gradient_square, curvature_=1.0):
    """One direction of which gradient_square / (2 curvature) is left."""
    model = QuadraticModel(np.array([curvature_]), np.array([gradient_square]), 1.0, 1.0, 0.0, 1e-15, 0.9, 0)
    return Curvature(model, model)


@pytest.mark.parametrize(("share", "found"), [(0.45, False), (0.55, True)])
def test_the_noise_floor_is_half_of_what_is_left(share, found):
    """0.4 are left, and the floor is rate times trace over 4."""
    trace = share * 0.4 * 4 / 0.1
    made = evidence(batch_size=4, curvature=bowl(0.8), noise=GradientNoise(Estimate(trace, 0.0), 0.8, 100))
    assert (noise.examine(made) is not None) == found


@pytest.mark.parametrize(("ratio", "found"), [(9.0, False), (11.0, True)])
def test_a_plateau_falls_ten_times_as_far_as_its_slope_says(ratio, found):
    scan = LineScan(0.5, 0.5 / ratio, 0.6)
    flat = NegativeCurvature(jnp.zeros(3), Estimate(0.0, 0.0), False, 0.0)
    around = StationaryPoint(flat, scan, 0.0, np.empty(0))
    made = evidence(end=1.1).with_part("point.stationary_point", around)
    assert (stationarity.examine_plateau(made) is not None) == found


@pytest.mark.parametrize(("held", "found"), [(0.45, False), (0.55, True)])
def test_weight_decay_pulls_half_as_hard_as_the_gradient(held, found):
    made = evidence(curvature=bowl(1.0))
    decay = held * 0.1 / np.sqrt(3)
    rule = dataclasses.replace(SGD, weight_decay=decay)
    setting = dataclasses.replace(made.setting, optimizer=rule)
    made = dataclasses.replace(made, setting=setting, run=dataclasses.replace(made.run, params=jnp.ones(3)))
    assert (underfitting.examine(made) is not None) == found


@pytest.mark.parametrize(
    ("model", "probe", "error", "found"),
    [(0.5, 0.74, 0.01, False), (0.5, 0.76, 0.01, True), (0.85, 0.94, 0.01, False), (0.5, 0.76, 0.09, False)],
)
def test_a_probe_that_leaves_half_of_the_errors_tells_underfitting(model, probe, error, found):
    made = evidence(end=0.6, data=DataChecks(None, None, None, skill=Skill(model, probe, error)))
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
    ("chance", "probe", "held", "found"),
    [(1e-4, 0.04, 1.0, True), (1e-4, 0.06, 1.0, False), (9e-7, 0.04, 1.0, False), (1e-4, 0.04, 0.92, False)],
)
def test_what_is_predicted_slightly_may_be_chance(chance, probe, held, found):
    data = DataChecks(None, chance, None, skill=Skill(0.0, probe, 0.05))
    made = evidence(REGRESSION, data=data, validation=Validation(Estimate(held, standard_error=0.01), 1.0, 1.0, 0.0))
    assert (labels.examine_uninformative(made) is not None) == found


@pytest.mark.parametrize(("fitted", "found"), [(0.06, True), (0.05, False)])
def test_counts_that_one_output_fits_without_its_activation_are_no_classes(fitted, found):
    place = dataclasses.replace(PLACE, shape=(40, 1), activations=((5, "sigmoid"),))
    program = search(reachable=0.9, bypassed=1.1 * fitted - 1e-6, place=place)
    made = evidence(data=DataChecks(Labels({0: 10, 1: 10, 2: 20}, 1, 0.25), None, None), program=program)
    assert (labels.examine_range(made) is not None) == found
