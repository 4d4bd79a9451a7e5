"""Each threshold of a cause that lies in the labels, from both sides."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate, Status
from jaxopt_lab.diagnosis.causes import labels, outputs
from jaxopt_lab.diagnosis.data_checks import DataChecks, Labels
from jaxopt_lab.diagnosis.example_checks import ExampleChecks
from jaxopt_lab.diagnosis.label_probes import Skill, names_none
from jaxopt_lab.diagnosis.program_checks import ProgramChecks
from jaxopt_lab.diagnosis.validation import Validation
from tests.diagnosis.pieces import INPUTS, LABELS, PLACE, REGRESSION, evidence, search


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


def test_a_class_that_a_loss_without_a_lowest_value_passes_over_follows_from_that():
    told = labels.examine_range(evidence(data=DataChecks(Labels({0: 20, 1: 20}, 1, 0.5, (0,)), None, None)))
    assert told.follows_from == ("unbounded-loss",)


@pytest.mark.parametrize(("silent", "found"), [((), False), ((0,), True), ((0, 1), False)])
def test_a_class_is_silent_where_another_is_not(silent, found):
    checks = DataChecks(Labels({0: 20, 1: 20}, 1, 0.5, silent), None, None)
    assert (labels.examine_range(evidence(data=checks)) is not None) == found


@pytest.mark.parametrize(("paired", "found"), [(0.019, True), (0.021, False), (float("nan"), False)])
def test_a_model_that_does_as_well_on_others_targets_has_learned_nothing_of_the_inputs(paired, found):
    """Outputs of many places end far below one number for all of them, whatever the inputs are."""
    program = ProgramChecks(examples=ExampleChecks(0.0, False, paired))
    held = Validation(Estimate(0.5, 0.01), 1.0, 1.0, 0.0)
    made = evidence(end=0.5, data=DataChecks(None, 0.5, None), validation=held, program=program)
    assert made.learned_nothing == found
    assert (labels.examine_uninformative(made) is not None) == found


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


@pytest.mark.parametrize(
    ("least", "slope", "activations", "found"),
    [(0.0, 1.0, (), False), (-10.0, 1.0, (), False), (-12.0, 1.0, (), True), (0.0, 0.0, (), True),
     (0.9, 1.0, ((5, "sigmoid"),), True)],
)  # fmt: skip
def test_ratings_and_counts_of_one_output_are_numbers_unless_the_loss_takes_them_for_classes(
    least, slope, activations, found
):
    place = dataclasses.replace(PLACE, shape=(40, 1), activations=activations)
    program = ProgramChecks(dataclasses.replace(search(reachable=least, place=place).outputs, slope=slope))
    checks = DataChecks(Labels({1: 5, 2: 10, 3: 10, 4: 10, 5: 5}, 1, 0.125), None, None)
    assert (labels.examine_range(evidence(data=checks, program=program)) is not None) == found


@pytest.mark.parametrize(
    ("rarest", "num", "shape", "found"),
    [(4, 20, (1000,), True), (6, 20, (1000,), False), (4, 20, (100, 10), False)],
)
def test_a_rare_class_is_one_of_few_and_of_an_example_each(rarest, num, shape, found):
    counts = {0: rarest} | dict.fromkeys(range(1, num), (1000 - rarest) // (num - 1))
    counts[1] += 1000 - sum(counts.values())
    classes = np.repeat(list(counts), list(counts.values())).reshape(shape)
    problem = dataclasses.replace(REGRESSION, data=(np.zeros((shape[0], 2)), classes))
    checks = DataChecks(Labels(counts, num, rarest / 1000, (), 1), None, None)
    assert (labels.examine_range(evidence(problem, data=checks)) is not None) == found


@pytest.mark.parametrize(("skill", "found"), [(0.09, True), (0.11, False), (None, False)])
def test_a_rare_class_of_two_behind_one_output_is_not_predicted(skill, found):
    seen = None if skill is None else Skill(skill, 0.2, 0.01)
    checks = DataChecks(Labels({0: 992, 1: 8}, 1, 0.008), None, None, skill=seen)
    assert (labels.examine_range(evidence(data=checks)) is not None) == found


@pytest.mark.parametrize(
    ("model", "leaf", "tentative"), [(0.39, 1, False), (0.41, 1, True), (0.41, None, False), (0.09, 1, False)]
)
def test_of_a_rare_class_in_a_model_that_predicts_what_the_probe_does_a_trial_decides(model, leaf, tentative):
    seen = Skill(model, 0.42 if model > 0.1 else 0.05, 0.02)
    checks = DataChecks(Labels({0: 500, 1: 492, 2: 8}, 3, 0.008, (), leaf, True), None, None, skill=seen)
    assert labels.examine_range(evidence(data=checks)).is_tentative == tentative


@pytest.mark.parametrize(
    ("rarest", "end", "unnamed", "found"),
    [(0.02, 0.9, True, True), (0.02, 0.9, False, False), (0.051, 0.9, True, False), (0.02, 0.05, True, False)],
)
def test_a_class_of_few_examples_that_the_model_never_names_is_rare(rarest, end, unnamed, found):
    counts = {0: round(1000 * (1 - rarest)), 1: round(1000 * rarest)}
    for num_outputs in (1, 2):
        checks = DataChecks(Labels(counts, num_outputs, rarest, is_unnamed=unnamed), None, None)
        told = labels.examine_range(evidence(end=end, data=checks))
        assert (told is not None) == found
        assert not found or "names none of them" in told.explanation


def ended_at(loss, bias):
    """A run on two classes that ends with weights of zero and this bias."""
    start = {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2)}
    made = evidence(lab.from_loss(loss, start, (INPUTS, LABELS % 2)))
    return dataclasses.replace(made, run=dataclasses.replace(made.run, params=start | {"b": bias}))


@pytest.mark.parametrize(("bias", "named"), [([1.0, 0.0], 0), ([0.0, 1.0], 1)])
def test_a_class_is_named_where_its_output_is_the_largest(bias, named):
    logs = lambda params, x: jax.nn.log_softmax(x @ params["w"] + params["b"])  # noqa: E731
    loss = lambda p, batch, key: -jnp.mean(jnp.take_along_axis(logs(p, batch[0]), batch[1][:, None], 1))  # noqa: E731
    made = ended_at(loss, jnp.array(bias))
    assert [names_none(made, 1, label) for label in (0, 1)] == [named == 1, named == 0]
    diverged = dataclasses.replace(made, run=dataclasses.replace(made.run, status=Status.NON_FINITE))
    assert not names_none(diverged, 1, 1 - named)


@pytest.mark.parametrize(("bias", "none"), [(0.6, [True, False]), (0.1, [False, False]), (-0.1, [False, True])])
def test_one_output_may_name_the_upper_class_above_a_half_or_zero(bias, none):
    def loss(params, batch, key):
        return jnp.mean(((batch[0] @ params["w"][:, :1] + params["b"][:1])[:, 0] - batch[1]) ** 2)

    made = ended_at(loss, jnp.full(2, bias))
    assert [names_none(made, 1, label) for label in (0, 1)] == none


@pytest.mark.parametrize(("rows", "unnamed"), [(10, True), (250, False)])
def test_whether_the_rarest_class_is_named_is_measured_where_it_is_far_below_its_share(rows, unnamed):
    inputs = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    inputs[:rows, 0] += 1.0

    def loss(params, batch, key):
        logs = jax.nn.log_softmax(batch[0] @ params["w"] + params["b"])
        return -jnp.mean(jnp.take_along_axis(logs, batch[1][:, None], 1))

    start = {"w": jnp.zeros((2, 2)), "b": jnp.array([1.0, 0.0])}
    problem = lab.from_loss(loss, start, (inputs, (np.arange(500) < rows).astype(np.int32)))
    found = lab.diagnose(problem, optax.adam(0.01), steps=40, batch_size=50, budget=60)
    assert found.evidence.data.labels.is_unnamed == unnamed
    assert ("label-range" in found.causes) == unnamed


@pytest.mark.parametrize(("negated", "text"), [(True, "at the sign"), (False, "a binary criterion takes 0 and 1")])
def test_numbers_behind_one_output_are_counts_where_the_other_sign_has_a_lower_end(negated, text):
    place = dataclasses.replace(PLACE, shape=(40, 1))
    program = dataclasses.replace(search(constant=-12.0, place=place), is_negated=negated)
    assert text in outputs.examine_unbounded(evidence(program=program)).prescription.text
    checks = DataChecks(Labels({0: 20, 3: 20}, 1, 0.5), None, None)
    assert (labels.examine_range(evidence(data=checks, program=program)) is None) == negated
