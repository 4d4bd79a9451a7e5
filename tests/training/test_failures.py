"""What cannot be traced is named: the rule, its hyperparameters, a probe, the loss of a problem made by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab import search, training
from jaxopt_lab.core import InputError, Problem, from_loss

DATA = (jnp.ones((8, 3)), jnp.zeros(8))


def square(w, batch, key):
    return jnp.mean((batch[0] @ w - batch[1]) ** 2)


PROBLEM = from_loss(square, jnp.ones(3), DATA, metrics={"seventh": lambda w, batch: batch[7]})


def halting(learning_rate, fixed=0.0):
    """A rule that looks at its learning rate in an update."""

    def update(grads, state, params=None):
        if learning_rate > 0.5:
            return grads, state
        return jax.tree.map(lambda leaf: -(learning_rate + fixed) * leaf, grads), state

    return optax.GradientTransformation(lambda params: (), update)


def shaped(size, learning_rate):
    """A rule whose state has as many entries as a hyperparameter says."""
    return optax.GradientTransformation(
        lambda params: jnp.zeros((size,)), lambda grads, state, params=None: (grads, state)
    )


def failing(learning_rate):
    def update(grads, state, params=None):
        raise KeyError("velocity")

    return optax.GradientTransformation(lambda params: (), update)


@pytest.mark.parametrize(
    ("rule", "hyperparameters", "message"),
    [
        (optax.lbfgs, {"memory_size": 5}, r"the rule lbfgs needs memory_size as a plain number; hyperparameters are traced\. Fix it, functools\.partial\(lbfgs, memory_size=\.\.\.\), and run once"),
        (optax.lbfgs, {"memory_size": [5, 10]}, r"the rule lbfgs needs memory_size as a plain number"),
        (halting, {"learning_rate": [0.1, 0.2], "fixed": 0.1}, r"the rule halting needs learning_rate as a plain number; .*functools\.partial\(halting, learning_rate=\.\.\.\)"),
        (shaped, {"size": [2, 3], "learning_rate": 0.1}, r"the rule shaped needs size as a plain number"),
        (failing, {"learning_rate": 0.1}, r"a step of the rule failing fails \(KeyError: 'velocity'\); it was called with params float32\[3\]; hyperparameters learning_rate float32\[\]"),
        (optax.sgd, {"learningrate": 0.1}, r"the start of the rule fails \(TypeError: .*unexpected keyword argument 'learningrate'"),
        (lambda: optax.lookahead(optax.sgd(0.1), 5, 0.5), {}, r"optax\.lookahead steps on pairs, LookaheadParams\(fast, slow\), and a rule gets one .* rules\.average_iterates"),
    ],
    ids=["lbfgs", "lbfgs-several", "if", "shape", "error", "name", "lookahead"],
)  # fmt: skip
def test_a_rule_that_cannot_run_in_the_engine_is_named(rule, hyperparameters, message):
    with pytest.raises(InputError, match=message):
        training.run(PROBLEM, rule, hyperparameters, steps=2)


def asking(grads, state, params=None):
    """An update that looks at its gradient."""
    return (grads, state) if grads[0] > 0 else (-grads, state)


def test_a_rule_without_hyperparameters_that_looks_at_a_traced_number_is_told_so():
    rule = optax.GradientTransformation(lambda params: (), asking)
    message = "the rule .* takes a traced number for a plain one. Use jnp.where instead of if"
    with pytest.raises(InputError, match=message):
        training.run(PROBLEM, rule, steps=2)


def test_a_loss_that_fails_in_a_batch_alone_is_told_with_its_shapes():
    fussy = from_loss(lambda w, batch, key: jnp.sum(w * batch[0][:, 0][:3]), jnp.ones(3), DATA)
    with pytest.raises(
        InputError, match=r"the loss <lambda> fails .*; it was called with .*batch 0 float32\[2, 3\], 1 float32\[2\]"
    ):
        training.run(fussy, optax.sgd(0.1), steps=2, batch_size=2)


def test_the_remedy_for_a_traced_number_works():
    import functools

    trace = training.run(PROBLEM, functools.partial(optax.lbfgs, memory_size=5), {"learning_rate": [0.1, 0.2]}, steps=2)
    assert trace["loss"][0, -1] < trace["loss"][0, 0]


@pytest.mark.parametrize("rule", [optax.lookahead(optax.sgd(0.1), 5, 0.5)])
def test_lookahead_is_refused_on_its_own_parameters_in_sweeps_and_in_diagnoses_too(rule):
    pairs = from_loss(lambda w, b, key: square(w.fast, b, key), optax.LookaheadParams.init_synced(jnp.ones(3)), DATA)
    space = search.Space(learning_rate=search.log_uniform(0.01, 0.1))
    with pytest.raises(InputError, match=r"run: optax\.lookahead steps on pairs"):
        training.run(pairs, rule, steps=2)
    with pytest.raises(InputError, match=r"sweep: optax\.lookahead steps on pairs"):
        search.sweep(PROBLEM, lambda learning_rate: rule, space, num_trials=2, steps=2, num_seeds=1)
    with pytest.raises(InputError, match=r"diagnose: optax\.lookahead steps on pairs"):
        lab.diagnose(PROBLEM, rule, steps=5)


def test_a_sweep_names_the_hyperparameter_that_cannot_be_traced():
    with pytest.raises(InputError, match=r"sweep: the rule lbfgs needs memory_size as a plain number") as caught:
        search.sweep(
            PROBLEM, optax.lbfgs, search.Space(memory_size=search.integers(3, 5)), num_trials=2, steps=2, num_seeds=1
        )
    assert "\n" not in str(caught.value)


def test_an_error_in_a_metric_is_named_when_it_is_probed():
    probes = [training.metric("seventh", on="training")]
    with pytest.raises(InputError, match=r"the probe seventh fails \(IndexError: tuple index out of range\)") as caught:
        training.run(PROBLEM, optax.sgd(0.1), steps=2, probes=probes)
    assert isinstance(caught.value.__cause__, IndexError)
    assert training.run(PROBLEM, optax.sgd(0.1), steps=2)["loss"].shape == (1, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"loss": lambda w, batch: jnp.sum(w)}, r"run: the loss problem fails \(TypeError: .*takes 2 positional arguments but 3"),
        ({"init": lambda key: {"w": jnp.ones(3)}["v"]}, r"run: the initialization of problem fails \(KeyError: 'v'\)"),
        ({"init": lambda key: jnp.arange(3)}, r"run: the parameter is int32\[3\], so that the loss cannot be differentiated"),
        ({"init": lambda key: {"w": jnp.ones(3), "k": key}}, r"run: parameter k is a PRNG key .* lab\.from_loss\(loss, params, data\) holds keys"),
    ],
    ids=["two-arguments", "start", "integers", "key"],
)  # fmt: skip
def test_a_problem_made_by_hand_is_told_what_is_wrong(change, message):
    problem = dataclasses.replace(Problem(loss=square, init=lambda key: jnp.ones(3), data=DATA), **change)
    with pytest.raises(InputError, match=message):
        training.run(problem, optax.sgd(0.1), steps=2)


def test_parameters_that_are_given_as_whole_numbers_are_refused():
    with pytest.raises(InputError, match=r"run: the parameter is int64\[3\], .* Make it floating"):
        training.run(PROBLEM, optax.sgd(0.1), steps=2, params=np.arange(3))


def test_a_failure_that_no_part_explains_stays_what_it_was(monkeypatch):
    def stop(*arguments):
        raise RuntimeError("the machine is gone")

    monkeypatch.setattr(training.engine.groups, "move", stop)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        training.run(PROBLEM, optax.sgd(0.1), steps=2)
