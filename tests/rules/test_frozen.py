import dataclasses

import chex
import jax
import jax.numpy as jnp
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import Stateful, vectors
from jaxopt_lab.rules.frozen import frozen_leaves, frozen_paths, with_frozen, without_frozen

PARAMS = {"backbone": jnp.full(3, 0.1), "head": jnp.array([1.0, -2.0])}
LABELS = {"backbone": "fixed", "head": "trained"}


def rule(inner):
    return optax.multi_transform({"fixed": optax.set_to_zero(), "trained": inner}, LABELS)


def loss(params, batch, key):
    return 500 * jnp.sum(params["backbone"] ** 2) + 0.5 * params["head"][0] ** 2 + 0.35 * params["head"][1] ** 2


@pytest.mark.parametrize("inner", [optax.sgd(0.1), optax.adam(0.1), optax.sgd(optax.linear_schedule(0.0, 0.1, 5))])
def test_what_a_rule_never_moves_is_frozen(inner):
    assert frozen_leaves(rule(inner), PARAMS) == (True, False)
    assert frozen_leaves(inner, PARAMS) == (False, False)


def test_a_rule_that_moves_nothing_freezes_nothing():
    assert frozen_leaves(optax.set_to_zero(), PARAMS) == (False, False)


def test_of_a_rule_that_needs_more_than_gradients_nothing_is_known_to_be_frozen():
    def update(updates, state, params=None, *, value):
        return jax.tree.map(lambda leaf: value * leaf, updates), state

    needing = optax.GradientTransformationExtraArgs(lambda params: (), update)
    assert frozen_leaves(rule(needing), PARAMS) == (False, False)


def test_a_model_with_state_is_judged_with_its_frozen_leaves_in_their_places():
    stateful = Stateful(
        2.0,
        lambda params, state, batch, key: (loss(params, batch, key), state + params["backbone"][0]),
        lambda params, state, batch: state * params["backbone"][1] + params["head"][0],
        outputs=lambda params, state, batch: params["head"] + state * params["backbone"][2],
        expected=lambda params, state, batch: 3 * loss(params, batch, None) + state,
    )
    whole = dataclasses.replace(lab.from_loss(loss, PARAMS), stateful=stateful)
    part, _, params = without_frozen(whole, rule(optax.sgd(0.1)), PARAMS, (True, False))
    for name, given in (("loss", (2.0, None, None)), ("evaluate", (2.0, None)), ("outputs", (2.0, None)), ("expected", (2.0, None))):  # fmt: skip
        found, expected = (getattr(each.stateful, name) for each in (part, whole))
        chex.assert_trees_all_equal(found(params, *given), expected(PARAMS, *given))
    assert part.stateful.initial == 2.0
    bare = dataclasses.replace(whole, stateful=dataclasses.replace(stateful, outputs=None, expected=None))
    kept = without_frozen(bare, rule(optax.sgd(0.1)), PARAMS, (True, False))[0].stateful
    assert (kept.outputs, kept.expected) == (None, None)


def test_the_moving_leaves_alone_are_the_same_training():
    problem = lab.from_loss(loss, PARAMS)
    whole = rule(optax.adam(0.1))
    part, restricted, params = without_frozen(problem, whole, PARAMS, (True, False))
    assert params["backbone"] is None
    assert float(part.full_loss(params)) == float(problem.full_loss(PARAMS))
    state, others = restricted.init(params), whole.init(PARAMS)
    ours, theirs = params, PARAMS
    for _ in range(3):
        step, state = restricted.update(jax.grad(part.full_loss)(ours), state, ours)
        ours = optax.apply_updates(ours, step)
        step, others = whole.update(jax.grad(problem.full_loss)(theirs), others, theirs)
        theirs = optax.apply_updates(theirs, step)
    chex.assert_trees_all_equal(ours["head"], theirs["head"])


def test_a_frozen_backbones_curvature_says_nothing_of_the_rate():
    found = lab.diagnose(lab.from_loss(loss, PARAMS), rule(optax.sgd(1.0)), steps=30)
    assert found.causes == ("healthy",)
    assert found.evidence.model_at_point.largest == pytest.approx(1.0, rel=1e-4)


def test_the_paths_of_what_was_taken_out_are_told():
    params = PARAMS | {"empty": jnp.zeros((0, 2))}
    problem = lab.from_loss(loss, params)
    assert frozen_paths(problem) == ()
    held = tuple(path != "head" for path in vectors.parameter_paths(params))
    part = without_frozen(problem, optax.sgd(0.1), params, held)[0]
    assert frozen_paths(part) == ("backbone",)
    assert with_frozen(part) == problem
    fewer = (jnp.ones(2),)
    assert with_frozen(dataclasses.replace(part, data=fewer)).data is fewer
    assert with_frozen(problem) is problem
