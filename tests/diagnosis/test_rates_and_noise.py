"""Where a rate is too low or too high, and where it is the noise of a step that holds the loss."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab.core import Estimate, Truth, from_loss
from jaxopt_lab.diagnosis.budget import Budget
from jaxopt_lab.diagnosis.causes import conditioning, learning_rates, noise
from jaxopt_lab.diagnosis.figures import draw_losses
from jaxopt_lab.diagnosis.gradient_noise import GradientNoise
from jaxopt_lab.diagnosis.pipeline import conclude
from jaxopt_lab.diagnosis.probe_runs import OtherRates, find_on_the_way, probe_run
from jaxopt_lab.diagnosis.program_checks import GradientFlow
from jaxopt_lab.diagnosis.quadratic_model import Curvature, QuadraticModel
from jaxopt_lab.diagnosis.validation import Validation
from jaxopt_lab.reporting import FigureMaker
from tests.diagnosis.pieces import CLASSES, bowl, evidence, search


@pytest.mark.parametrize(("share", "found"), [(0.45, False), (0.55, True)])
def test_the_noise_floor_is_half_of_what_is_left(share, found):
    """0.4 are left, and the floor is rate times trace over 4."""
    trace = share * 0.4 * 4 / 0.1
    made = evidence(batch_size=4, curvature=bowl(0.8), noise=GradientNoise(Estimate(trace, 0.0), 0.8, 100))
    assert (noise.examine(made) is not None) == found


@pytest.mark.parametrize(("size", "longest"), [(4, 10), (5, 1)])
def test_more_of_tiny_batches_are_tried_for_as_many_updates(size, longest):
    made = evidence(batch_size=size, curvature=bowl(0.8), noise=GradientNoise(Estimate(16.0, 0.0), 0.8, 100))
    assert max(each.longer for each in noise.examine(made).alternatives) == longest


@pytest.mark.parametrize(
    ("climb", "there", "records", "found"),
    [(1.1, 0.72, 5, True), (1.4, 0.72, 5, False), (1.4, 0.72, 3, True), (1.4, 2.0, 5, True), (0.0, 0.5, 5, False)],
)
def test_a_climb_beyond_the_floor_and_the_loss_is_the_rates(climb, there, records, found):
    """The floor is a tenth of 1.0, the loss that training is about: a climb of 1.2 is more than noise makes.

    So is it that a lower rate ends 0.25 lower.
    """
    made = evidence(batch_size=4, curvature=bowl(0.4), noise=GradientNoise(Estimate(4.0, 0.0), 0.8, 100))
    curve = made.run.losses.copy()
    curve[3 : 3 + records] = made.point.loss + climb
    ends = {factor: np.full(10, there) for factor in (0.01, 0.1, 10.0, 100.0)}
    rates = OtherRates(np.arange(0, 40, 4), ends)
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=curve), rates=rates)
    assert (noise.examine(made) is not None) == found


@pytest.mark.parametrize(("there", "found"), [(0.42, True), (0.48, False)])
def test_a_rate_is_too_low_where_ten_times_of_it_leaves_less_than_half(there, found):
    """It gets there no faster: in the first steps all curves are the run's."""
    made = evidence(end=0.9, curvature=bowl(0.4, 0.1))
    curve = np.interp(np.arange(0, 40, 4), made.run.steps, made.run.losses)
    ends = {
        factor: np.where(np.arange(10) > 8, there if factor == 10.0 else 0.9, curve) for factor in (0.1, 10.0, 100.0)
    }
    found_here = learning_rates.examine_low(dataclasses.replace(made, rates=OtherRates(np.arange(0, 40, 4), ends)))
    assert (found_here is not None) == found


@pytest.mark.parametrize(("start", "end", "found"), [(30.0, 0.9, True), (30.0, 0.09, False), (1.1, 0.09, False)])
def test_what_a_bad_start_unlearns_is_no_progress(start, end, found):
    """Of 30 down to 0.9 most lay above a constant output's loss of 1."""
    made = evidence(end=end, curvature=bowl(0.4, 0.1))
    curve = np.interp(np.arange(40), [0, 2, 20, 39], [start, 1.1, end, end - 0.02])
    point = dataclasses.replace(made.point, loss=start)
    ends = {factor: np.full(10, 0.01) for factor in (0.1, 10.0, 100.0)}
    made = dataclasses.replace(made, point=point, run=dataclasses.replace(made.run, losses=curve))
    told = learning_rates.examine_low(dataclasses.replace(made, rates=OtherRates(np.arange(0, 40, 4), ends)))
    assert (told is not None) == found


@pytest.mark.parametrize(("late", "there", "found"), [(5e-4, 0.8995, False), (2e-3, 0.8995, True), (5e-4, 0.89, True)])
def test_a_run_at_rest_has_no_rate_that_is_too_low(late, there, found):
    """It falls by 0.2; ten times the rate gets as far in a few steps, and no farther, or a little."""
    made = evidence(end=0.9, curvature=bowl(0.4, 0.1))
    curve = np.concatenate([np.linspace(1.1, 0.9 + late, 20), np.full(10, 0.9 + late), np.full(10, 0.9)])
    ends = {factor: np.where(np.arange(10) > 0, there, 1.1) for factor in (0.1, 10.0, 100.0)}
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=curve))
    told = learning_rates.examine_low(dataclasses.replace(made, rates=OtherRates(np.arange(0, 40, 4), ends)))
    assert (told is not None) == found


def test_a_loss_that_climbs_from_below_zero_has_the_size_of_its_climb():
    made = evidence()
    made = dataclasses.replace(
        made,
        point=dataclasses.replace(made.point, loss=-0.2, baseline=-0.5),
        run=dataclasses.replace(made.run, losses=np.linspace(-0.2, 0.1, 40)),
    )
    assert made.scale == pytest.approx(0.3)


@pytest.mark.parametrize(("rise", "found"), [(0.45, False), (0.55, True)])
def test_a_surrogate_may_climb_and_is_not_known_to_learn(rise, found):
    flow = GradientFlow((), (), 0.0, (), rise=rise)
    made = evidence(end=1.3, program=dataclasses.replace(search(), gradients=flow))
    assert (learning_rates.examine_high(made) is not None) == found
    assert made.learned_nothing == found
    text = conclude(made, Budget(50.0)).findings[0].explanation
    assert ("The loss is a surrogate" in text) != found


@pytest.mark.parametrize(
    ("end", "there", "found"),
    [
        (0.99, 0.88, True), (0.99, 0.92, False),  # nothing was learned: a tenth
        (0.84, 0.54, True), (0.84, 0.58, False),  # less than a fifth: one and a half times
        (0.78, 0.28, False), (0.78, 0.24, True),  # three times
    ],
)  # fmt: skip
def test_how_much_lower_a_lower_rate_must_end_hangs_on_what_was_learned(end, there, found):
    made = evidence(end=end, curvature=bowl(0.01))
    ends = {factor: np.full(10, there if factor == 0.1 else 0.999) for factor in (0.01, 0.1, 10.0, 100.0)}
    made = dataclasses.replace(made, rates=OtherRates(np.arange(0, 40, 4), ends))
    assert (learning_rates.examine_high(made) is not None) == found


@pytest.mark.parametrize(("noise", "found"), [(0.0, True), (5.0, True), (5.6, False), (20.0, False)])
def test_noise_takes_from_what_momentum_gains_on_a_bad_condition_number(noise, found):
    """Heavy ball takes 54 steps for 1072: 1 + 18.9 / (1 + noise over signal) is 4 at 5.3."""
    square = 0.501
    model = QuadraticModel(np.array([1e-3, 1.0]), np.array([1e-3, 0.5]), 1.0, 1e-3, 0.0, 1e-15, 0.9, 0)
    seen = GradientNoise(Estimate(noise * square, 0.0), square, 100)
    made = evidence(batch_size=4, curvature=Curvature(model, model), noise=seen)
    assert (conditioning.examine(made) is not None) == found


@pytest.mark.filterwarnings("error")
def test_the_figure_of_the_run_has_a_legend_of_the_other_rates_alone():
    rates = OtherRates(np.arange(0, 40, 4), {factor: np.linspace(1.1, 0.8, 10) for factor in (0.1, 10.0)})
    figure, _ = draw_losses(dataclasses.replace(evidence(), rates=rates), FigureMaker())
    (legend,) = [axes.get_legend() for axes in figure.axes]
    assert [text.get_text() for text in legend.get_texts()] == ["rate x 0.1", "rate x 10"]


def test_a_batch_that_makes_the_loss_nan_ends_a_run_and_not_its_rate():
    """All examples but one are weighed; a batch of that one divides by zero."""
    rng = np.random.default_rng(0)
    data = (jnp.asarray(rng.normal(size=(64, 3)), jnp.float32), jnp.ones(64).at[10].set(0.0))

    def loss(w, batch, key):
        return jnp.sum(batch[1] * (batch[0] @ w - 1) ** 2) / jnp.sum(batch[1])

    problem = from_loss(loss, jnp.zeros(3), data)
    run = probe_run(problem, optax.sgd(0.01), jnp.zeros(3), steps=64, every=4, batch_size=1, seed=0)
    assert run.diverged
    found = find_on_the_way(problem, optax.sgd(0.01), jnp.zeros(3), run, 1, 0)
    assert (found.non_finite.kind, found.non_finite.name) == ("loss", "div")


@pytest.mark.parametrize(("alike", "found"), [(float("nan"), True), (0.9, True), (30.0, False)])
def test_a_validation_loss_far_above_a_constant_is_held_against_as_many_training_examples(alike, found):
    made = evidence(end=0.9, validation=Validation(Estimate(30.0, 1e-3), 1.0, 1.0, 0.0, alike))
    assert (learning_rates.examine_high(made) is not None) == found


def test_what_overflows_after_a_leap_is_the_rates():
    problem = from_loss(lambda w, batch, key: jnp.sum(w**8), jnp.full(3, 100.0))
    run = probe_run(problem, optax.sgd(0.01), jnp.full(3, 100.0), steps=20, every=2, batch_size=None, seed=0)
    assert run.diverged
    assert find_on_the_way(problem, optax.sgd(0.01), jnp.full(3, 100.0), run, None, 0).non_finite is None


def risen(end, there):
    """A run that climbed from 1.1 to `end`, and ends `there` at lower rates."""
    made = evidence(end=end)
    ends = {factor: np.full(10, there if factor < 1 else np.nan) for factor in (0.01, 0.1, 10.0, 100.0)}
    return dataclasses.replace(made, rates=OtherRates(np.arange(0, 40, 4), ends))


@pytest.mark.parametrize(
    ("end", "there", "found"), [(1.2, 1.19, True), (1.2, 1.21, False), (1.14, 1.13, False), (1.16, 1.15, True)]
)
def test_a_climb_is_the_rates_where_a_lower_one_climbs_less(end, there, found):
    """By a twentieth of 1.0, the scale of the loss."""
    assert (learning_rates.examine_high(risen(end, there)) is not None) == found


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_lower_rates_that_diverge_too_say_nothing_of_the_rate():
    assert np.isnan(learning_rates._lower_at_less(risen(1.2, np.nan)))
    assert learning_rates.examine_high(risen(1.2, np.nan)) is None


@pytest.mark.parametrize(("is_random", "gain"), [(False, 17.2), (True, 10.0)])
def test_at_a_known_minimum_a_tenth_of_the_rate_leaves_a_tenth_of_the_floor(is_random, gain):
    """0.4 above 0.5: a tenth of the floor of 0.4, and of minibatches less, as their noise falls with the loss."""
    problem = dataclasses.replace(CLASSES, truth=Truth(minimum=0.5))
    seen = GradientNoise(Estimate(16.0, 0.0), 0.8, 100)
    made = evidence(problem, batch_size=4, curvature=bowl(0.8), noise=seen)
    told = noise.examine(made.with_part("point.is_random", is_random))
    assert told.predicted_gain.value == pytest.approx(gain)  # 0.4 / (0.04 * 0.5 / 0.86), and 0.4 / 0.04


@pytest.mark.parametrize(("num", "falls"), [(7, False), (8, True)])
def test_of_fewer_than_eight_records_nobody_knows_whether_they_fall(num, falls):
    assert noise._falling(np.linspace(1, 0, num), evidence()) == falls


@pytest.mark.parametrize(("fall", "falls"), [(0.09, False), (0.11, True)])
def test_a_run_falls_by_a_tenth_of_its_scale_in_a_quarter(fall, falls):
    assert noise._falling(np.repeat([1.0, 1.0, 0.5 + fall, 0.5], 10), evidence()) == falls


@pytest.mark.parametrize(("gap", "found"), [(0.09, False), (0.11, True)])
def test_a_bad_condition_number_is_told_where_a_tenth_of_the_loss_is_left_to_gain(gap, found):
    weights = gap * np.array([1e-3, 1.0])  # half of it along each of the two curvatures
    model = QuadraticModel(np.array([1e-3, 1.0]), weights, 1.0, 1e-3, 0.0, 1e-15, 0.9, 0)
    told = conditioning.examine(evidence(curvature=Curvature(model, model)))
    assert (told is not None) == found
    assert not found or {"learning-rate-too-low", "unnormalized-inputs"} <= set(told.follows_from)
    assert (
        conditioning.examine(evidence(end=0.04, curvature=Curvature(model, model))) is None
    )  # 0.04 is all that is left


@pytest.mark.parametrize("batch_size", [None, 8])
def test_against_bad_conditioning_momentum_is_tried_that_serves_the_trial_too(batch_size):
    model = QuadraticModel(np.array([1e-6, 1.0]), np.array([1e-6, 1.0]), 1.0, 1e-6, 0.0, 1e-15, 0.9, 0)
    told = conditioning.examine(evidence(batch_size=batch_size, curvature=Curvature(model, model)))
    soon, late = (model.best_heavy_ball(0.01, 0.9, steps) for steps in (400, 2000))
    assert soon.rho < late.rho
    (other,) = told.alternatives
    assert other.text.endswith("rho 0.9." if batch_size else f"rho {soon.rho:.4g}.")
