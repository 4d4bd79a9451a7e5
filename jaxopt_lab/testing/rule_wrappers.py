"""The laws of a rule inside of optax: masked, partitioned, accumulated, injected, chained, guarded."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax

from jaxopt_lab.rules.registry import RuleSpec
from jaxopt_lab.testing.rule_cases import STEPS, first_updates, gradient, tree, value, walk


def masked_leaves_pass_untouched(spec: RuleSpec) -> None:
    """`optax.masked` hides leaves from the rule; not for one that needs gradients of the whole parameters."""
    if "grad_fn" in spec.needs or "value_fn" in spec.needs:
        return
    rule, alone = optax.masked(spec.build(), {"matrix": True, "scalar": False, "empty": True}), spec.build()
    grads, part = gradient(tree()), {name: tree()[name] for name in ("matrix", "empty")}
    extra = {"value": value(tree())} if "value" in spec.needs else {}
    updates, _ = first_updates(rule, grads, tree(), **extra)
    shown = {name: grads[name] for name in part}
    expected, _ = first_updates(alone, shown, part, **extra)
    chex.assert_trees_all_close(updates["matrix"], expected["matrix"], rtol=1e-6)  # the same operations, 8 eps
    chex.assert_trees_all_equal(updates["scalar"], grads["scalar"])


def partition_gives_each_group_its_rule(spec: RuleSpec) -> None:
    """`optax.partition` runs it on a group of leaves; not for one that needs gradients of the whole parameters."""
    if "grad_fn" in spec.needs or "value_fn" in spec.needs:
        return
    labels = {"matrix": "ours", "scalar": "plain", "empty": "ours"}
    rule = optax.partition({"ours": spec.build(), "plain": optax.sgd(1.0)}, labels)
    extra = {"value": value(tree())} if "value" in spec.needs else {}
    updates, _ = first_updates(rule, gradient(tree()), tree(), **extra)
    chex.assert_trees_all_close(updates["scalar"], -gradient(tree())["scalar"], rtol=1e-6)  # one product
    assert float(jnp.abs(updates["matrix"]).sum()) > 0


def multi_steps_equals_the_mean_gradient(spec: RuleSpec) -> None:
    """`optax.MultiSteps` over two equal gradients takes the steps of one."""
    rule = optax.MultiSteps(spec.build(), every_k_schedule=2)
    params, state = tree(), rule.init(tree())

    @jax.jit
    def step(params, state):
        updates, state = rule.update(gradient(params), state, params, value=value(params), grad_fn=gradient)
        return optax.apply_updates(params, updates), state

    for _ in range(2 * STEPS):
        params, state = step(params, state)
    chex.assert_trees_all_close(params, walk(spec.build(), tree())[0], rtol=1e-5, atol=1e-6)  # float32 means


def injected_hyperparameters_give_the_same_steps(spec: RuleSpec) -> None:
    """`optax.inject_hyperparams` finds every float."""
    rule = optax.inject_hyperparams(spec.factory)(**spec.defaults)
    injected, state = walk(rule, tree())
    assert all(key in state.hyperparams for key, number in spec.defaults.items() if isinstance(number, float))
    # A hyperparameter rounded to float32 and used in another order: up to 15 eps after four steps, as for SAME.
    chex.assert_trees_all_close(injected, walk(spec.build(), tree())[0], rtol=1e-5, atol=1e-6)


def chains_with_optax(spec: RuleSpec) -> None:
    """Clipping before it and scaling after it leave a rule that descends."""
    rule = optax.chain(optax.clip(10.0), spec.build(), optax.scale(0.5))
    assert float(value(walk(rule, tree())[0])) < float(value(tree()))


def runs_inside_of_apply_if_finite(spec: RuleSpec) -> None:
    """A gradient of NaN moves nothing."""
    rule = optax.apply_if_finite(optax.with_extra_args_support(spec.build()), max_consecutive_errors=3)
    bad = jax.tree.map(lambda leaf: leaf * jnp.nan, tree())
    extra = {"value": jnp.float32(1), "grad_fn": lambda _: bad, "value_fn": value, "grad": bad}
    updates, state = first_updates(rule, bad, tree(), **extra)
    assert int(state.total_notfinite) == 1
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, updates))


def map_params_of_optax_finds_the_states_vectors(spec: RuleSpec) -> None:
    """`optax.tree.map_params` reaches everything in the state that is shaped like the parameters."""
    rule: Any = spec.build()
    doubled = optax.tree.map_params(rule, lambda leaf: leaf + 1, rule.init(tree()))
    before, after = (
        [leaf for leaf in jax.tree.leaves(each) if leaf.shape == (2, 3)] for each in (rule.init(tree()), doubled)
    )
    chex.assert_trees_all_equal([leaf + 1 for leaf in before], after)


LAWS = (
    masked_leaves_pass_untouched, partition_gives_each_group_its_rule, multi_steps_equals_the_mean_gradient,
    injected_hyperparameters_give_the_same_steps, chains_with_optax, runs_inside_of_apply_if_finite,
    map_params_of_optax_finds_the_states_vectors,
)  # fmt: skip
