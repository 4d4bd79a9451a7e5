"""Each threshold of a cause that lies in the layers, from both sides."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Stateful, Status
from jaxopt_lab.diagnosis.causes import no_gradient, signals
from jaxopt_lab.diagnosis.evidence import Layers
from jaxopt_lab.diagnosis.program_checks import GradientFlow
from jaxopt_lab.tracing.signals import ActivationSignal, LayerSignal, Signals
from tests.diagnosis.pieces import CLASSES, LABELS, PLACE, evidence, search

EXAMINED = (signals.examine_vanishing, signals.examine_exploding)


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


@pytest.mark.parametrize(
    ("shrinks", "end", "found"), [(9.0, 1.0, False), (11.0, 1.0, True), (11.0, 0.9, False), (21.0, 0.9, True)]
)
def test_a_signal_shrinks_tenfold_where_nothing_is_learned_and_else_twentyfold(shrinks, end, found):
    made = evidence(end=end, layers=layered(backward=(1 / shrinks, 1 / shrinks, 1.0, 1.0, 1.0)))
    assert (signals.examine_vanishing(made) is not None) == found


@pytest.mark.parametrize(("reachable", "slope", "found"), [(0.54, 0.0, True), (0.56, 0.0, False), (0.54, 1e-9, False)])
def test_an_output_activation_that_is_flat_at_all_outputs_is_dead(reachable, slope, found):
    program = search(reachable=reachable)
    program = dataclasses.replace(program, outputs=dataclasses.replace(program.outputs, slope=slope))
    flow = GradientFlow(("0/weight",), (), 1.0, ())
    made = evidence(layers=layered(), program=dataclasses.replace(program, gradients=flow))
    told = signals.examine_dead(made)
    assert (told is not None) == found
    assert told is None or "softmax on the outputs" in told.explanation
    assert (no_gradient.examine(made) is None) == found  # one of the two


@pytest.mark.parametrize(
    ("dead", "share", "follows"), [(1.0, 1.0, True), (0.98, 1.0, False), (0.98, 0.98, True)]
)  # fmt: skip
def test_a_layer_of_dead_units_explains_that_hardly_anything_gets_a_gradient(dead, share, follows):
    program = dataclasses.replace(search(), gradients=GradientFlow(("0/weight",), (), share, ()))
    told = no_gradient.examine(evidence(end=1.1, layers=layered(dead=dead), program=program))
    assert ("dead-units" in told.follows_from) == follows


@pytest.mark.parametrize(("copies", "follows"), [(0.6, True), (0.4, False)])
def test_units_that_are_copies_explain_that_what_goes_back_through_them_cancels(copies, follows):
    program = dataclasses.replace(search(), gradients=GradientFlow(("0/weight",), (), 1.0, ()))
    told = no_gradient.examine(evidence(end=1.1, layers=layered(copies=copies), program=program))
    assert ("bad-initialization" in told.follows_from) == follows


def test_outputs_that_all_lie_beyond_a_clip_pass_no_gradient():
    inputs = np.linspace(1e4, 2e4, 64, dtype=np.float32)[:, None]

    def loss(params, batch, key):
        told = jnp.clip(batch[0] @ params["in"] + params["bias"], 1e-6, 1 - 1e-6)[:, 0]
        return -jnp.mean(jnp.where(batch[1] > 0, jnp.log(told), jnp.log(1 - told)))

    start = {"in": jnp.ones((1, 1)), "bias": jnp.zeros(1)}
    data = inputs, (inputs[:, 0] > 15e3).astype(np.float32)
    found = lab.diagnose(lab.from_loss(loss, start, data), optax.sgd(0.1), steps=60, budget=60)
    assert found.causes[0] == "no-gradient"
    assert "beyond the clip" in found.findings[0].explanation
    assert "the clip passes a gradient" in found.findings[0].prescription.text


def test_a_relu_behind_the_outputs_that_is_dead_from_the_start_is_told():
    inputs = np.linspace(-1.7, 1.7, 64, dtype=np.float32)[:, None]

    def loss(params, batch, key):
        return jnp.mean((jax.nn.relu(batch[0] @ params["in"] + params["bias"])[:, 0] - batch[1]) ** 2)

    start = {"in": jnp.ones((1, 1)), "bias": jnp.full(1, -5.0)}
    found = lab.diagnose(lab.from_loss(loss, start, (inputs, 2 + inputs[:, 0])), optax.sgd(0.1), steps=60, budget=60)
    assert found.causes[0] == "dead-units"
    assert "relu on the outputs" in found.findings[0].explanation


@pytest.mark.parametrize(
    ("saturated", "from_init", "found"), [(0.7, True, False), (0.8, True, True), (0.8, False, False)]
)
def test_units_saturated_before_the_first_step_are_a_bad_start(saturated, from_init, found):
    made = evidence(layers=layered(saturated=saturated))
    made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, from_init=from_init))
    assert (signals.examine_initialization(made) is not None) == found


@pytest.mark.parametrize(
    ("stateful", "found"), [(None, True), (Stateful((), lambda *_: (0.0, ()), lambda *_: 0.0), False)]
)
def test_a_start_with_running_statistics_is_told_by_the_run(stateful, found):
    """Evaluation mode costs 9 before a step; the run begins at 1.1 in training mode."""
    made = evidence(layers=layered())
    setting = dataclasses.replace(made.setting, problem=dataclasses.replace(made.setting.problem, stateful=stateful))
    made = dataclasses.replace(made, setting=setting, point=dataclasses.replace(made.point, loss=9.0))
    assert (signals.examine_initialization(made) is not None) == found


def test_a_start_is_not_compared_with_a_constant_output_below_zero():
    made = evidence(layers=layered())
    made = dataclasses.replace(made, point=dataclasses.replace(made.point, loss=1.0, baseline=-0.5))
    assert signals.examine_initialization(made) is None


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


def test_layers_whose_units_are_copies_are_drawn_anew_and_other_leaves_by_hand():
    flow = GradientFlow((), (), 0.0, (), ("0",))
    for copies, is_made in ((0.45, False), (0.55, True)):
        made = evidence(layers=layered(copies=copies), program=dataclasses.replace(search(), gradients=flow))
        made = dataclasses.replace(made, setting=dataclasses.replace(made.setting, params={"0": np.ones((8, 8))}))
        assert (signals.examine_initialization(made).prescription.change is not None) == is_made


@pytest.mark.parametrize(("loss", "classes", "found"), [(10.9, 10, False), (11.1, 10, True), (11.1, None, False)])
def test_a_confidently_wrong_start_is_told_where_training_recovers(loss, classes, found):
    made = evidence(end=0.1, layers=layered())
    made = dataclasses.replace(made, point=dataclasses.replace(made.point, loss=loss, num_classes=classes))
    assert (signals.examine_initialization(made) is not None) == found


@pytest.mark.parametrize(("quarter", "found"), [(0.48, False), (0.52, True)])
def test_a_high_start_that_a_quarter_of_the_run_makes_good_is_no_cause(quarter, found):
    made = evidence(end=0.3, layers=layered())
    curve = np.concatenate([np.linspace(6.0, quarter, 10), np.full(30, quarter)])
    curve[20:] = 0.3
    high = dataclasses.replace(
        made, run=dataclasses.replace(made.run, losses=curve), point=dataclasses.replace(made.point, loss=6.0)
    )
    assert (signals.examine_initialization(high) is not None) == found


@pytest.mark.parametrize(("gain", "cause"), [(19.0, None), (21.0, "exploding-signal"), (0.0, "vanishing-signal")])
@pytest.mark.parametrize("end", [0.9, 0.1])
def test_the_gradient_changes_twentyfold_through_a_recurrence(gain, cause, end):
    numbers = (1.0, 1.0, 1.0, 1.0, 0.0, np.zeros(8))
    for over, expected in ((gain, cause), (1 / gain if gain else 1.0, "vanishing-signal" if gain == 21.0 else None)):
        inner = LayerSignal("u", 8, 8, *numbers, turns=30, over_turns=over, is_recurrent=True, loop=1)
        read = LayerSignal("w", 2, 8, *numbers, turns=30, over_turns=1e-9, loop=1)
        layers = Layers(Signals((read, inner, LayerSignal("out", 8, 1, *numbers)), (), 40))
        made = evidence(end=end, layers=layers)
        found = [each.cause for each in (examine(made) for examine in EXAMINED) if each is not None]
        assert found == ([expected] if expected and end > 0.5 else [])


@pytest.mark.parametrize(
    ("end", "outputs", "padded"), [(20, (40, 4), True), (25, (40, 4), False), (20, (40, 30, 4), False)]
)
def test_behind_sequences_that_end_before_their_one_output_padding_moves_first(end, outputs, padded):
    words = np.where(np.arange(30) < end, 1, 0) * np.ones((40, 1), np.int32)
    problem = dataclasses.replace(CLASSES, data=(words, LABELS))
    numbers = (1.0, 1.0, 1.0, 1.0, 0.0, np.zeros(8))
    inner = LayerSignal("u", 8, 8, *numbers, turns=30, over_turns=1e-9, is_recurrent=True, loop=1)
    layers = Layers(Signals((inner, LayerSignal("out", 8, 1, *numbers)), (), 40))
    program = search(place=dataclasses.replace(PLACE, shape=outputs))
    found = signals.examine_vanishing(evidence(problem, layers=layers, program=program))
    assert found.prescription.text.startswith("Pad") == padded
    assert [each.text.split()[0] for each in found.alternatives] == (["Begin"] if padded else []) + ["Scale"]


@pytest.mark.parametrize("gains", [(0.5, 1e-9), (1e-9, 0.5), (0.5, np.nan)])
def test_of_several_layers_in_a_recurrence_the_best_way_back_counts(gains):
    numbers = (1.0, 1.0, 1.0, 1.0, 0.0, np.zeros(8))
    inner = [
        LayerSignal(f"u{k}", 8, 8, *numbers, turns=30, over_turns=over, is_recurrent=True, loop=1)
        for k, over in enumerate(gains)
    ]
    assert Signals((*inner, LayerSignal("out", 8, 1, *numbers)), (), 40).recurrent_gain == 0.5


def mixed(spreads, kinds=("relu", "tanh", "relu"), output=8):
    """Hidden layers of 8 inputs whose weights have the spread: eight times their mean square."""
    numbers = (1.0, 1.0, 0.0, np.zeros(8))
    hidden = [LayerSignal(f"{k}", 8, 8, 1.0, 30.0**-k, *numbers) for k in range(len(spreads) + 1)]
    found = tuple(ActivationSignal(kind, f"{k}", 8, 0.0, 0.0, 0.5) for k, kind in enumerate(kinds))
    signs = np.where(np.arange(64).reshape(8, 8) % 2, 1.0, -1.0)
    params = {f"{k}": np.sqrt(spread / 8) * signs for k, spread in enumerate((1.0, *spreads))}
    made = evidence(layers=Layers(Signals((*hidden, LayerSignal("out", 8, output, 1.0, 1.0, *numbers)), found, 40)))
    return dataclasses.replace(made, setting=dataclasses.replace(made.setting, params=params))


def test_mean_field_tells_what_unlike_layers_do_to_the_gradient():
    """ReLU halves, tanh takes E sech(sqrt(q) z)^4 at the q = 3 that comes out of the ReLU."""
    places, weights = np.polynomial.hermite_e.hermegauss(200)
    slope = np.sum(weights * np.cosh(np.sqrt(3.0) * places) ** -4) / weights.sum()
    made = mixed((6.0, 2.0))
    found = signals._mean_field_gain(made, made.layers.start)
    assert found == pytest.approx(np.sqrt(6.0 * 0.5 * 2.0 * slope), rel=1e-3)  # the quadrature of a steep function
    (told,) = [each for each in signals.examine_exploding(made).evidence if "mean field" in each.name]
    assert told.value == found


@pytest.mark.parametrize(
    ("spreads", "kinds"), [((6.0, 0.0), ("relu",) * 3), ((6.0, 2.0), ("relu", "gelu", "relu")), ((), ("relu",))]
)
def test_mean_field_says_nothing_of_weights_of_zero_other_activations_or_one_layer(spreads, kinds):
    made = mixed(spreads, kinds)
    assert signals._mean_field_gain(made, made.layers.start) is None


@pytest.mark.parametrize("change", ["none", "diverged", "no-baseline"])
def test_a_start_recovers_by_a_run_that_stays_finite_and_a_constant_output(change):
    made = evidence(end=0.1)
    made = dataclasses.replace(made, run=dataclasses.replace(made.run, losses=np.full(40, 0.1)))
    if change == "diverged":
        made = dataclasses.replace(made, run=dataclasses.replace(made.run, status=Status.NON_FINITE))
    if change == "no-baseline":
        made = made.with_part("point.baseline", None)
    assert signals._recovers(made) == (change == "none")
