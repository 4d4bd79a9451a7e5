import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxopt_lab import objectives, rules, search, training
from jaxopt_lab.core import InputError
from jaxopt_lab.search.plans import plan_sweep
from jaxopt_lab.search.sweeps import run_sweep
from tests.search.killed_sweep import run

RATES = search.Space(learning_rate=search.log_uniform(0.1, 10.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_trials": 0}, "sweep: num_trials must be a whole number of at least 1, got 0"),
        ({"sampler": "bayes"}, "sampler must be one of: grid, random, sobol, halton; got 'bayes'"),
        ({"name": "accuracy"}, "objective must be one of: loss, validation_loss; got 'accuracy'"),
        ({"name": "validation_loss"}, "needs validation data, .* has none. Compare 'loss'"),
        ({"batch_size": 8}, "batch_size 8 needs as many examples"),
        ({"loop": "chunks"}, "loop must be one of: auto, vmap, map, step; got 'chunks'"),
        ({"baseline": "none"}, "baseline must be a number, None or 'auto', got 'none'"),
    ],
)
def test_wrong_input_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        run(None, **options)


def test_a_rule_and_its_space_must_fit():
    bowl = objectives.quadratic([1.0])
    with pytest.raises(InputError, match="sgd: does not take the hyperparameters learning_rate, rho"):
        search.sweep(bowl, rules.sgd, search.Space(learning_rate=search.log_uniform(0.1, 1.0), rho=0.9))
    with pytest.raises(InputError, match=r"<lambda>: must return an optax\.GradientTransformation, got int"):
        search.sweep(bowl, lambda learning_rate: 3, RATES)
    with pytest.raises(InputError, match=r"rule sgd must come as \(factory, Space\), got .*Example: sweep"):
        search.sweep(bowl, rules.sgd)
    with pytest.raises(InputError, match="a mapping of rules brings its spaces"):
        search.sweep(bowl, {"sgd": (rules.sgd, RATES)}, RATES)


def scheduled(table):
    return lambda learning_rate: optax.chain(
        optax.scale_by_schedule(lambda step: table[step]), optax.sgd(learning_rate)
    )


@pytest.mark.parametrize("make", [jnp.ones, np.ones], ids=["jax", "numpy"])
def test_a_table_that_the_rule_closes_over_makes_another_sweep(tmp_path, make):
    bowl, space = objectives.quadratic([1.0, 0.1], start=1.0), search.Space(learning_rate=search.log_uniform(0.01, 1.0))
    options = {"num_trials": 4, "num_seeds": 1, "steps": 40, "out": tmp_path}
    first = search.sweep(bowl, scheduled(jnp.asarray(make(60))), space, **options)
    again = search.sweep(bowl, scheduled(jnp.asarray(0.01 * make(60))), space, **options)
    assert first.folder != again.folder
    assert again.best()["median"] > 10 * first.best()["median"]
    assert search.sweep(bowl, scheduled(jnp.asarray(make(60))), space, **options).folder == first.folder


def test_what_cannot_be_fingerprinted_is_never_used_again_and_says_so(tmp_path):
    def rule(learning_rate):
        def update(updates, state, params=None):
            def through_python(leaf):
                return jax.pure_callback(lambda x: -0.1 * x, leaf, leaf, vmap_method="sequential")

            return jax.tree.map(through_python, updates), state

        return optax.GradientTransformation(lambda params: optax.EmptyState(), update)

    bowl, space = objectives.quadratic([1.0, 0.1], start=1.0), search.Space(learning_rate=search.log_uniform(0.01, 1.0))
    told = []
    options = {"num_trials": 2, "num_seeds": 1, "steps": 4, "execution": training.Execution(log=told.append)}
    folders = {search.sweep(bowl, rule, space, out=tmp_path, **options).folder for _ in range(2)}
    assert len(folders) == 2
    assert any("calls back into Python" in line and "nothing that is kept will be used again" in line for line in told)
    with pytest.raises(InputError, match="holds another sweep: it differs in rules"):
        run_sweep(
            plan_sweep(bowl, rule, space, batch_size=None, sampler="random", seed=0, objective="loss", **options),
            folders.pop(),
        )
