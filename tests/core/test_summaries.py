import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Composite, Problem, Stateful, from_loss


def test_a_problem_prints_what_trains_what_is_frozen_and_what_is_known():
    params = {"w": jnp.zeros((3, 2)), "b": jnp.zeros(2), "key": jax.random.key(0)}
    problem = from_loss(
        lambda p, batch, key: jnp.sum(p["w"]), params, (np.ones((8, 3)), np.zeros(8)), metrics={"size": lambda p, b: 1.0},
        truth=lab.Truth(minimum=0.0), name="mine",
    )  # fmt: skip
    lines = str(problem).splitlines()
    assert lines[0] == "mine: 8 numbers train, 1 frozen"
    assert "  parameters   b float32[2], w float32[3, 2]" in lines
    assert "  data         0 float64[8, 3], 1 float64[8]" in lines
    assert "  metrics      size" in lines
    assert "  known        minimum" in lines
    assert repr(problem) == "Problem('mine', 8 numbers train, 1 frozen, 8 examples)"


@pytest.mark.parametrize(("family", "told"), [("categorical", ", categorical"), (None, "")])
def test_a_problem_prints_the_state_of_its_model_and_the_form_of_its_loss(family, told):
    stateful = Stateful({"mean": jnp.zeros(3)}, lambda p, s, b, k: (jnp.sum(p), s), lambda p, s, b: jnp.sum(p))
    form = Composite(lambda p, b: p, lambda outputs, b: jnp.sum(outputs), family)
    problem = from_loss(lambda p, batch, key: jnp.sum(p), jnp.zeros(2))
    lines = str(dataclasses.replace(problem, stateful=stateful, composite=form)).splitlines()
    assert "  model state  mean float32[3], moved by the model itself" in lines
    assert f"  form         criterion(outputs, batch){told}" in lines
    assert not [line for line in str(problem).splitlines() if "state" in line or "form " in line]


def test_large_problems_print_as_short_as_small_ones_and_no_array():
    many = {f"layer-{k}": jnp.zeros((100, 100)) for k in range(200)}
    problem = from_loss(lambda p, batch, key: jnp.zeros(()), many, name="wide")
    assert len(str(problem).splitlines()) <= 40
    assert "and 196 more" in str(problem)
    assert "Array" not in str(problem) + repr(problem)
    assert "\n" not in repr(problem)


def test_an_initialization_that_cannot_be_traced_still_prints():
    problem = Problem(loss=lambda w, b, k: jnp.sum(w), init=lambda key: np.ones(int(jax.random.key_data(key)[1])))
    assert repr(problem) == "Problem('problem', parameters unknown)"
