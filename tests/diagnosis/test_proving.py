"""A proof in words and numbers, and runs before and after in one unit."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Estimate
from jaxopt_lab.diagnosis.findings import Prescription, make_finding
from jaxopt_lab.diagnosis.judgements import Judgement, geometric
from jaxopt_lab.diagnosis.prescriptions import average_iterates
from jaxopt_lab.diagnosis.proving import Proof, _gain, prove

STEPS, NONE = np.arange(5), np.ones((1, 5))


def judged(name, ratio, low=None, high=None):
    return Judgement(name, 1.0, 1.0 / ratio, Estimate(ratio, interval=None if low is None else (low, high)))


BETTER, WORSE = judged("loss at the end", 2.0), judged("worst loss on the way", 0.5)
SAME = judged("loss at the end", 1.0)


@pytest.mark.parametrize(
    ("gain", "judgements", "text"),
    [
        (np.nan, (BETTER,), "plateau: no result, the run with the prescription did not stay finite either."),
        (
            3.0,
            (BETTER, WORSE),
            "plateau: not proven, better in loss at the end, but worse: worst loss on the way: 2 instead of 1"
            " (0.5 times better).",
        ),
        (3.0, (SAME, WORSE), "plateau: not proven, worse: worst loss on the way: 2 instead of 1 (0.5 times better)."),
        (1.0, (SAME,), "plateau: no gain shown: 1 times fewer steps, in [0.5, 4]."),
        (
            3.0,
            (judged("steps", 3.0), BETTER),
            "plateau: proven: 3 times fewer steps, in [0.5, 4]; predicted 5; loss at the end: 0.5 instead of 1"
            " (2 times better).",
        ),
    ],
)
def test_a_proof_says_what_is_shown_and_what_is_worse(gain, judgements, text):
    measured = Estimate(gain, interval=(0.5, 4.0))
    proof = Proof("plateau", measured, Estimate(5.0), "steps", STEPS, NONE, NONE, judgements)
    assert str(proof) == text
    assert text.startswith(f"plateau: {proof.outcome}")
    alone = dataclasses.replace(proof, measured=Estimate(gain))  # of a single seed
    assert str(alone) == text.replace(", in [0.5, 4]", "")


@pytest.mark.parametrize(
    ("before", "after", "gain"), [(2.0, 0.5, 4.0), (np.nan, 0.5, 4.0), (2.0, np.nan, np.nan), (np.inf, np.inf, np.nan)]
)
def test_a_gain_in_loss_is_that_of_the_ends(before, after, gain):
    """Where the run before does not stay finite it is the number of steps, 4."""
    curves = (np.array([9.0, 9.0, 9.0, 9.0, end]) for end in (before, after))
    assert _gain(STEPS, *curves, "loss", None, None) == pytest.approx(gain, nan_ok=True)


def test_a_gain_in_loss_is_counted_from_the_known_minimum():
    assert _gain(STEPS, np.full(5, 3.0), np.full(5, 1.5), "loss", None, 1.0) == pytest.approx(4.0)


def test_a_mean_of_gains_of_which_one_is_not_known_is_not_known():
    assert geometric(np.array([2.0, 8.0])).value == pytest.approx(4.0)
    assert np.isnan(geometric(np.array([2.0, np.nan])).value)
    assert np.isnan(geometric(np.array([])).value)


def test_averaged_iterates_are_proven_where_they_are_averaged():
    """Steps of 1.8 over a curvature of 1 swing around the minimum, their average stands still there."""
    problem = lab.from_loss(lambda w, batch, key: 0.5 * jnp.mean((w - batch) ** 2), jnp.ones(1), np.zeros((8, 1)))
    finding = make_finding("gradient-noise", "", [], average_iterates(), 2.0, gain_in="loss")
    proof = prove(problem, optax.sgd(1.8), finding, params=jnp.ones(1), steps=20, seeds=(0,))
    np.testing.assert_allclose(proof.before[0, -1], 0.8**40 / 2, rtol=1e-4)
    np.testing.assert_allclose(proof.after[0, -1], np.mean((-0.8) ** np.arange(1, 21)) ** 2 / 2, rtol=1e-4)


def test_losses_in_other_units_are_compared_over_those_of_a_constant_output():
    """A hundred times the loss at a hundredth of the rate are the same run."""
    inputs = np.random.default_rng(0).normal(size=(40, 2)).astype(np.float32)
    data = (inputs, inputs @ np.array([[1.0], [-2.0]], np.float32))
    loss = lambda w, batch, key: jnp.mean((batch[0] @ w - batch[1]) ** 2)  # noqa: E731
    problem = lab.from_loss(loss, jnp.zeros((2, 1)), data)
    larger = lab.from_loss(lambda *given: 100 * loss(*given), jnp.zeros((2, 1)), data)
    change = lambda p, r: (larger, optax.chain(r, optax.scale(0.01)))  # noqa: E731
    finding = make_finding("unbounded-loss", "", [], Prescription("Scale.", change, rescales=True), 1.0, gain_in="loss")
    proof = prove(problem, optax.sgd(0.05), finding, steps=10, seeds=(0,))
    np.testing.assert_allclose(proof.after, 100 * proof.before, rtol=1e-4)  # float32
    assert proof.measured.value == pytest.approx(1.0, rel=1e-4)
    assert [each.ratio.value for each in proof.judgements] == pytest.approx([1.0, 1.0, 1.0], rel=1e-3)
    plain = dataclasses.replace(finding, prescription=dataclasses.replace(finding.prescription, rescales=False))
    assert prove(problem, optax.sgd(0.05), plain, steps=10, seeds=(0,)).measured.value == pytest.approx(0.01, rel=1e-3)
