"""Batches as a training loop feeds them, held against the data."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import InputError
from jaxopt_lab.diagnosis.data_checks import compare_batches, first_batches, read_batches
from jaxopt_lab.diagnosis.output_search import search_outputs
from jaxopt_lab.diagnosis.pipeline import diagnose

RNG = np.random.default_rng(3)
LABELS = RNG.integers(0, 4, 320).astype(np.int32)
INPUTS = (np.eye(4, 6, dtype=np.float32)[LABELS] + 0.3 * RNG.normal(size=(320, 6))).astype(np.float32)


def loss(params, batch, key):
    logits = batch["x"] @ params["w"] + params["b"]
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch["y"]))


START = {"w": jnp.zeros((6, 4)), "b": jnp.zeros(4)}
PROBLEM = lab.from_loss(loss, START, {"x": INPUTS, "y": LABELS})


def cut(rows, size=32, scale=1.0):
    return [{"x": scale * INPUTS[part], "y": LABELS[part]} for part in np.array_split(rows, len(rows) // size)]


SHUFFLED = RNG.permutation(320)


def checked(batches):
    return compare_batches(PROBLEM, search_outputs(PROBLEM, START).place, read_batches(PROBLEM, batches))


def test_shuffled_batches_are_a_part_of_the_data():
    found = checked(cut(SHUFFLED))
    assert found.count == 10
    assert found.grouping < 0.2
    assert found.chance > 1e-3
    assert found.offset < 0.1
    assert found.scale == pytest.approx(1.0, abs=1e-6)
    assert found.repeats == 0


def test_draws_with_replacement_are_no_repeats():
    assert checked(cut(RNG.integers(0, 320, 320))).repeats < 0.1


@pytest.mark.parametrize(
    ("batches", "text"),
    [
        (cut(np.argsort(LABELS)), "sorted"),
        (cut(SHUFFLED, scale=255.0), "location or scale"),
        (cut(np.tile(SHUFFLED[:64], 5)), "are repeated"),
    ],
    ids=["sorted", "scaled", "repeated"],
)
def test_batches_that_are_no_part_of_the_data_are_told_first(batches, text):
    told = diagnose(PROBLEM, optax.adam(1e-2), steps=60, batch_size=32, batches=iter(batches), budget=100)
    assert told.causes[0] == "data-mismatch"
    assert text in told.findings[0].explanation


def test_data_that_come_in_batches_are_looked_at_as_they_come():
    told = diagnose(lab.from_loss(loss, START, cut(np.argsort(LABELS))), optax.adam(1e-2), steps=60, budget=100)
    assert told.causes[0] == "data-mismatch"
    assert "sorted" in told.findings[0].explanation
    assert first_batches(PROBLEM, lab.from_loss(loss, START, cut(SHUFFLED)[:1]).data) is None


def test_what_is_no_batch_of_the_data_is_refused_before_anything_runs():
    with pytest.raises(InputError, match="batch 0 holds"):
        diagnose(PROBLEM, optax.adam(1e-2), batches=[(INPUTS, LABELS)])
    with pytest.raises(InputError, match="batch 1 holds"):
        diagnose(PROBLEM, optax.adam(1e-2), batches=[cut(SHUFFLED)[0], {"x": INPUTS[:8, :3], "y": LABELS[:8]}])
    with pytest.raises(InputError, match="end after 1"):
        diagnose(PROBLEM, optax.adam(1e-2), batches=cut(SHUFFLED)[:1])
    quadratic = lab.objectives.quadratic(lab.objectives.spectra.log_uniform(8, kappa=10.0))
    with pytest.raises(InputError, match="no data"):
        diagnose(quadratic, optax.sgd(0.1), batches=cut(SHUFFLED))
