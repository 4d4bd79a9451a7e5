"""What the figures of a diagnosis show, and their conclusions."""

import dataclasses

import numpy as np
import pytest

from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.evidence import Layers
from jaxopt_lab.diagnosis.figures import draw_curvature, draw_layers, draw_losses, draw_proof
from jaxopt_lab.diagnosis.proving import Proof
from jaxopt_lab.reporting import FigureMaker
from jaxopt_lab.tracing.signals import LayerSignal, Signals
from tests.diagnosis.pieces import bowl, evidence

STEPS = np.arange(0, 40, 4)


def test_what_was_not_measured_is_not_drawn():
    made = dataclasses.replace(evidence(), run=None)
    assert draw_losses(made, FigureMaker()) is None
    assert draw_curvature(made, FigureMaker()) is None
    assert draw_curvature(evidence(curvature=bowl(0.0)), FigureMaker()) is None  # no gradient to be spread
    assert draw_layers(made, FigureMaker()) is None
    alone = LayerSignal("out", 8, 8, 1.0, 1.0, 0.0, 1.0, 0.0, np.zeros(8))
    assert draw_layers(evidence(layers=Layers(Signals((alone,)))), FigureMaker()) is None


def test_the_layers_are_drawn_on_a_logarithmic_scale_first_to_last():
    numbers = (0.0, 1.0, 0.0, np.zeros(8))
    layers = [LayerSignal(f"{k}", 8, 8, 2.0**k, 0.5 * 3.0**-k, *numbers) for k in range(3)]
    figure, told = draw_layers(evidence(layers=Layers(Signals(tuple(layers)))), FigureMaker())
    (axes,) = figure.axes
    forward, backward = axes.get_lines()
    np.testing.assert_array_equal(forward.get_xydata(), [[1, 1], [2, 2], [3, 4]])
    np.testing.assert_allclose(backward.get_ydata(), [1 / 2, 1 / 6, 1 / 18])
    assert axes.get_yscale() == "log"
    assert sorted(text.get_text() for text in axes.texts) == ["gradients", "outputs"]
    assert told == (
        "From the first hidden layer to the last the signal changes 2 times, the gradient 3 times on its way back."
    )


@pytest.mark.parametrize(("end", "scale"), [(0.9, "log"), (0.0, "linear"), (-0.5, "linear")])
def test_losses_that_come_to_zero_or_below_are_on_a_linear_scale(end, scale):
    made = evidence(end=end)
    figure, told = draw_losses(made, FigureMaker())
    (axes,) = figure.axes
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low < end < 1.1 < high
    if scale == "linear":
        assert (low, high) == pytest.approx((end - 0.05 * made.scale, 1.1 + 0.5 * made.scale))
    assert "Dotted: the loss of the best constant output." in told


def test_a_run_below_zero_is_named():
    made = evidence(end=0.9)
    losses = made.run.losses - 2.1
    point = dataclasses.replace(made.point, loss=-1.0, baseline=-0.5)
    made = dataclasses.replace(made, point=point, run=dataclasses.replace(made.run, losses=losses))
    (axes,) = draw_losses(made, FigureMaker())[0].axes
    assert "in use" in [text.get_text() for text in axes.texts]


@pytest.mark.parametrize(("shift", "scale"), [(0.0, "log"), (2.0, "linear")])
def test_a_proof_with_losses_below_zero_is_on_a_linear_scale(shift, scale):
    before, after = (np.tile(np.exp(-rate * STEPS) - shift, (2, 1)) for rate in (0.01, 0.1))
    proof = Proof("plateau", Estimate(3.0), Estimate(2.0), "loss", STEPS, before, after)
    figure, told = draw_proof(proof, FigureMaker())
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    assert axes.get_yscale() == scale
    assert low < after.min()
    assert high >= before.max()
    if scale == "linear":
        assert (low, high) == pytest.approx((after.min() - 0.13, 1.3))  # of the size of the first loss, 1
    assert axes.get_ylabel() == "loss"
    assert len(axes.get_lines()) == 4
    assert told.startswith("plateau: ")


def test_a_proof_of_which_no_number_is_finite_is_drawn_all_the_same():
    nothing = np.full((1, 10), np.nan)
    before = nothing.copy()
    before[:, 0] = 1.0
    figure, told = draw_proof(
        Proof("plateau", Estimate(np.nan), Estimate(2.0), "steps", STEPS, before, nothing), FigureMaker()
    )
    assert figure.axes[0].get_ylabel() == "loss"
    assert "did not stay finite either" in told
