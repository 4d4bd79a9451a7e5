"""What moves the trajectory of a rule moves its fingerprint: over the registry, and over rules of optax in all their ways."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, training
from jaxopt_lab.rules import REGISTRY
from jaxopt_lab.storage.fingerprints import is_reusable
from jaxopt_lab.training.storage import rule_fingerprint

STEPS = 12
PROBES = (training.loss(),)
NAMES = sorted(REGISTRY)


@pytest.fixture(scope="module")
def bowl():
    """A bowl with a saddle direction, near its saddle point, so that rules that wait for one act."""
    return objectives.quadratic([1.0, 0.3, 0.1, -0.05], start=1e-4)


def of(problem, factory, **hyperparameters):
    return rule_fingerprint(problem, factory, hyperparameters, PROBES, None)


def end(problem, factory):
    trace = training.run(problem, factory, steps=STEPS, every=STEPS, execution=training.Execution(loop="vmap"))
    return np.asarray(trace.params[0])


def changed(value):
    """Another value of the same kind, or None for what has none."""
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return None
    return value + 1 if isinstance(value, int) else 0.8 * value


@pytest.mark.parametrize("name", NAMES)
def test_each_hyperparameter_that_moves_the_trajectory_moves_the_fingerprint(name, bowl):
    spec = REGISTRY[name]
    base = functools.partial(spec.factory, **spec.defaults)
    known, place = of(bowl, base), None
    assert is_reusable(known)
    assert known == of(bowl, functools.partial(spec.factory, **spec.defaults))
    for key, value in spec.defaults.items():
        if changed(value) is None:
            continue
        other = functools.partial(spec.factory, **{**spec.defaults, key: changed(value)})
        if of(bowl, other) == known:
            place = end(bowl, base) if place is None else place
            np.testing.assert_array_equal(end(bowl, other), place, err_msg=f"{key} moves the run, not the fingerprint")


def table_rule(make):
    def build(factor):
        table = factor * make(STEPS)
        schedule = optax.scale_by_schedule(lambda step: jnp.asarray(table)[step])
        return lambda: optax.chain(schedule, optax.sgd(0.5))

    return build


def masked_rule(factor):
    mask = jnp.where(jnp.arange(4) < round(4 * factor), 0.0, 1.0)
    pruned = optax.GradientTransformation(
        lambda params: optax.EmptyState(), lambda updates, state, params=None: (mask * updates, state)
    )
    return lambda: optax.chain(optax.sgd(0.5), pruned)


# Each changes one number, 1 against 0.5, that only the named part of the rule holds.
OPTAX = {
    "a schedule's table, jax": table_rule(jnp.ones),
    "a schedule's table, numpy": table_rule(np.ones),
    "a pruning mask": masked_rule,
    "reduce_on_plateau's factor": lambda f: lambda: optax.chain(
        optax.sgd(0.5), optax.contrib.reduce_on_plateau(factor=0.9 * f, patience=1, rtol=0.5)
    ),
    "polyak_sgd's cap": lambda f: lambda: optax.polyak_sgd(max_learning_rate=0.2 * f),
    "the line search of lbfgs": lambda f: lambda: optax.lbfgs(
        linesearch=optax.scale_by_backtracking_linesearch(max_backtracking_steps=3, max_learning_rate=f)
    ),
    "a factor behind newton_cg": lambda f: lambda: optax.chain(
        REGISTRY["newton_cg"].build(), optax.scale(f)
    ),
    "adam's b2": lambda f: lambda: optax.adam(0.1, b2=0.99 * f),
    "a cosine's length": lambda f: lambda: optax.sgd(optax.cosine_decay_schedule(0.5, round(10 * f))),
    "momentum": lambda f: lambda: optax.sgd(0.1, momentum=0.9 * f),
    "weight decay": lambda f: lambda: optax.adamw(0.1, weight_decay=0.1 * f),
    "a clipping norm": lambda f: lambda: optax.chain(optax.clip_by_global_norm(1e-5 * f), optax.sgd(0.5)),
    "noise": lambda f: lambda: optax.noisy_sgd(0.1, eta=0.01 * f, key=0),
    "a key": lambda f: lambda: optax.noisy_sgd(0.1, eta=0.01, key=round(10 * f)),
    "an injected rate": lambda f: lambda: optax.inject_hyperparams(optax.sgd)(learning_rate=0.5 * f),
    "sam's radius": lambda f: lambda: optax.contrib.sam(
        optax.sgd(0.5), optax.chain(optax.contrib.normalize(), optax.sgd(1e-3 * f)), opaque_mode=True
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTAX)
def test_what_an_optax_rule_holds_moves_the_run_and_the_fingerprint(name, bowl):
    base, again, other = (OPTAX[name](factor) for factor in (1.0, 1.0, 0.5))
    assert is_reusable(of(bowl, base))
    assert of(bowl, base) == of(bowl, again)
    assert not np.array_equal(end(bowl, base), end(bowl, other)), (
        "the change must move the run for the law to say something"
    )
    assert of(bowl, base) != of(bowl, other)


def test_values_of_traced_hyperparameters_do_not_count(bowl):
    factory = REGISTRY["heavy_ball"].factory
    assert of(bowl, factory, learning_rate=0.1, rho=0.5) == of(bowl, factory, learning_rate=0.2, rho=0.9)


def test_a_rule_that_calls_python_is_never_the_same(bowl):
    def factory():
        def update(updates, state, params=None):
            return jax.tree.map(
                lambda leaf: jax.pure_callback(lambda x: -x, leaf, leaf, vmap_method="sequential"), updates
            ), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    assert not is_reusable(of(bowl, factory))
