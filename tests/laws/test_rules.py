"""What holds for every rule of the registry: the laws that `lab.testing.check_rule` runs on anybody's rule."""

import chex
import jax.numpy as jnp
import optax
import pytest

from jaxopt_lab import rules, testing
from jaxopt_lab.rules import REGISTRY
from jaxopt_lab.testing.rule_cases import take, tree, walk
from jaxopt_lab.testing.rules import DTYPES, RULE_LAWS, dtypes_are_kept

NAMES = sorted(REGISTRY)
# A Krylov space takes seconds to compile, and other laws run it in these dtypes.
COVERED = {
    (name, dtype)
    for name in NAMES
    if "num_products" in REGISTRY[name].defaults
    for dtype in ("float16", "bfloat16", "float32")
}


@pytest.mark.parametrize("law", [law for law in RULE_LAWS if law != "dtypes are kept"])
@pytest.mark.parametrize("name", NAMES)
def test_law(name, law):
    if law in REGISTRY[name].exempt:
        with pytest.raises(AssertionError):  # where this passes, the exemption has no reason any more
            RULE_LAWS[law](REGISTRY[name])
    else:
        RULE_LAWS[law](REGISTRY[name])


def test_exemptions_name_laws_and_reasons():
    exempt = [pair for spec in REGISTRY.values() for pair in spec.exempt.items()]
    assert {law for law, _ in exempt} <= set(RULE_LAWS)
    assert all(reason for _, reason in exempt)


@pytest.mark.parametrize("size", [0.0, 1e-15, 1e15])
@pytest.mark.parametrize("name", [name for name in NAMES if REGISTRY[name].exempt])
def test_rules_that_square_gradients_take_all_whose_square_is_a_number(name, size):
    params = {"leaf": jnp.ones(3, jnp.float32)}
    rule = REGISTRY[name].build()
    state = rule.init(params)
    for _ in range(2):
        updates, state = rule.update({"leaf": jnp.asarray([size, -size, 0.0], jnp.float32)}, state, params)
        chex.assert_tree_all_finite((updates, state))


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        pytest.param(name, dtype, marks=[pytest.mark.slow] * ((name, dtype) in COVERED))
        for name in NAMES
        for dtype in DTYPES
    ],
)
def test_dtypes_are_kept(name, dtype):
    dtypes_are_kept(REGISTRY[name], dtype)


@pytest.mark.parametrize("name", NAMES)
def test_entry_is_complete(name):
    spec = REGISTRY[name]
    assert spec.reference
    assert set(spec.needs) <= {"value", "grad", "value_fn", "grad_fn"}


def test_schedules_are_followed():
    halves = optax.piecewise_constant_schedule(0.2, {2: 0.5})
    for name in ("sgd", "heavy_ball", "quasi_hyperbolic", "aggregated_momentum"):
        spec = REGISTRY[name]
        scheduled, _ = walk(spec.build(learning_rate=halves), tree(), 4)
        rule, params = spec.build(learning_rate=0.2), tree()
        state = rule.init(params)
        for k in range(4):
            if k == 2:
                rule = spec.build(learning_rate=0.1)
            params, state = take(rule, params, state)
        chex.assert_trees_all_close(scheduled, params, rtol=1e-6)  # one rounding of the rate a step


def test_every_factory_of_the_registry_is_public():
    """By its own name, which no other public thing of the folder has."""
    factories = {spec.factory for spec in REGISTRY.values()}
    assert {getattr(rules, factory.__name__) for factory in factories} == factories
    assert {factory.__name__ for factory in factories} <= set(rules.__all__)
    assert len(set(rules.__all__)) == len(rules.__all__)


class Broken:
    """Rules that break one law each; the law must say so."""

    @staticmethod
    def stateful_python(learning_rate):
        calls = []

        def update(updates, state, params=None):
            calls.append(1)
            return optax.tree.scale(-learning_rate * len(calls), updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    @staticmethod
    def aliasing(learning_rate):
        def update(updates, state, params=None):
            return optax.tree.scale(-learning_rate, updates), optax.tree.add(state, updates)

        return optax.GradientTransformation(lambda params: params, update)

    @staticmethod
    def widening(learning_rate):
        def update(updates, state, params=None):
            return optax.tree.scale(jnp.float32(-1.0) * learning_rate, optax.tree.cast(updates, jnp.float32)), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    @staticmethod
    def dividing(learning_rate):
        def update(updates, state, params=None):
            norm = optax.tree.norm(updates)
            return optax.tree.scale(-learning_rate / norm, updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    @staticmethod
    def branching(learning_rate):
        rate = learning_rate if learning_rate > 0 else 0.1
        return optax.scale(-rate)


@pytest.mark.parametrize(
    ("rule", "law"),
    [
        (Broken.stateful_python, "update is pure"),
        (Broken.aliasing, "parameters and state may be donated"),
        (Broken.widening, "mixed dtypes are kept"),
        (Broken.dividing, "gradients of any size stay finite"),
        (Broken.branching, "vmap over hyperparameters equals a loop"),
    ],
)
def test_a_rule_that_breaks_a_law_is_told_which(rule, law):
    with pytest.raises(testing.LawError, match=f"{rule.__name__}: {law}"):
        testing.check_rule(rule, {"learning_rate": 0.1}, laws=[law])


def test_rules_of_optax_obey_the_laws_that_they_claim():
    testing.check_rule(optax.sgd, {"learning_rate": 0.1, "momentum": 0.9}, laws=["jit equals eager", "update is pure"])
