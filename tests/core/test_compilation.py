import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxopt_lab as lab
from jaxopt_lab.core import compilation
from jaxopt_lab.core.compilation import _made_of, compiled, num_compiled


def traced(monkeypatch, most_programs, most_maps=10**9):
    """A function that notes its static argument whenever it is traced, with room for a few programs."""
    seen = []
    monkeypatch.setattr(compilation, "_kept", type(compilation._kept)())
    monkeypatch.setattr(compilation, "_left", {"maps": 0})
    monkeypatch.setattr(compilation, "_MOST_PROGRAMS", most_programs)
    monkeypatch.setattr(compilation, "_MOST_MAPS", most_maps)

    def double(number, x):
        seen.append(number)
        return number * x

    return lambda number: compiled(double, (number,))(jnp.ones(2)), seen


def test_the_last_few_programs_are_kept_and_older_ones_made_again(monkeypatch):
    call, seen = traced(monkeypatch, 3)
    for number in (1, 2, 3, 1, 4, 1, 3, 2):
        assert call(number).tolist() == [number, number]
    assert seen == [1, 2, 3, 4, 2]  # 2 was the oldest when 4 came


def test_memory_maps_are_the_lines_of_a_file_of_the_system_and_none_without_it(monkeypatch, tmp_path):
    monkeypatch.setattr(compilation, "_MAPS", tmp_path / "maps")
    assert compilation._num_maps() == 0
    (tmp_path / "maps").write_text("first\nsecond\n")
    assert compilation._num_maps() == 2


def test_programs_go_where_they_hold_too_many_memory_maps(monkeypatch):
    call, seen = traced(monkeypatch, 100, most_maps=100)
    monkeypatch.setattr(compilation, "_num_maps", lambda: 101)
    for number in (1, 2, 3, 4, 4, 1):
        call(number)
    assert seen == [1, 2, 3, 4, 1]
    assert len(compilation._kept) < 4


def test_all_programs_go_before_memory_maps_run_out(monkeypatch):
    call, seen = traced(monkeypatch, 100)
    of_jax = jax.jit(lambda x: seen.append("jax's own") or 3 * x)
    call(1), of_jax(jnp.ones(2)), of_jax(jnp.ones(2))
    monkeypatch.setattr(compilation, "_num_maps", lambda: 20_001)
    call(2), of_jax(jnp.ones(2)), call(1)
    assert seen == [1, "jax's own", 2, "jax's own", 1]
    of_jax(jnp.ones(2))  # what is left after all are gone is not ours to let go
    assert seen == [1, "jax's own", 2, "jax's own", 1]


def test_a_users_function_inside_of_an_argument_belongs_to_the_program(monkeypatch):
    monkeypatch.setattr(compilation, "_kept", type(compilation._kept)())
    for factor in (1.0, 2.0):
        partial = jax.tree_util.Partial(lambda x, factor=factor: factor * x)
        run = compiled(lambda function, x: function(x), (), partial)
        assert float(run(partial, jnp.asarray(1.0))) == factor
    assert len(compilation._kept) == 2


def wrapped():
    return functools.wraps(optax.sgd)(lambda learning_rate: optax.sgd(learning_rate))


@functools.cache
def of_library(source):
    """A function of a number that gives a function `update`; both stand in a module of optax."""
    module = {"__name__": "optax.mine"}
    exec(f"def make(number):\n    {source}\n    return update", module)
    return module["make"]


OWN = lambda step: 0.1 / (1 + step)  # noqa: E731


@pytest.mark.parametrize(
    "make",
    [
        lambda: optax.sgd(0.1, momentum=0.9),
        lambda: optax.chain(
            optax.clip_by_global_norm(1.0), optax.adamw(optax.warmup_cosine_decay_schedule(0, 1, 5, 50))
        ),
        lambda: optax.partition({"a": optax.adam(1e-3), "b": optax.set_to_zero()}, "a"),
        lambda: optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
        lambda: optax.sgd(optax.exponential_decay(0.1, 10, 0.5)),
        lambda: lab.rules.heavy_ball(0.1, 0.9),
        lambda: optax.sgd(OWN),
        lambda: of_library("def update(g, x=number): return x * g")(1),
        lambda: functools.partial(lab.rules.heavy_ball, rho=0.5),
    ],
)
def test_rules_that_a_library_made_of_the_same_are_one(make):
    assert _made_of(make()) == _made_of(make())
    assert hash(_made_of(make())) == hash(_made_of(make()))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (optax.sgd(0.1), optax.sgd(0.2)),
        (optax.sgd(0.1), optax.sgd(0.1, momentum=0.0)),
        (optax.sgd(0.0), optax.sgd(-0.0)),
        (optax.sgd(1), optax.sgd(1.0)),
        (optax.sgd(0.1), optax.sgd(np.float32(0.1))),
        (optax.adam(0.1), optax.adam(0.1, mu_dtype="bfloat16")),
        (optax.sgd(lambda step: 0.1), optax.sgd(lambda step: 0.1)),
        (wrapped(), wrapped()),
        (
            of_library("def update(g, x=number): return x * g")(1),
            of_library("def update(g, x=number): return x * g")(2),
        ),
        (functools.partial(lab.rules.heavy_ball, rho=0.5), functools.partial(lab.rules.heavy_ball, rho=0.6)),
        (optax.partition({"a": optax.sgd(0.1)}, "a"), optax.partition({"a": optax.sgd(0.2)}, "a")),
        (optax.add_decayed_weights(jnp.ones(2)), optax.add_decayed_weights(jnp.ones(2))),
    ],
)
def test_rules_of_other_numbers_or_of_functions_of_a_users_own_are_not(one, other):
    assert _made_of(one) == _made_of(one)
    assert _made_of(one) != _made_of(other)


def test_a_function_that_calls_itself_has_a_name():
    update = of_library("def update(g): return g if number else update(g)")(1)
    assert _made_of(update) == _made_of(update)


def test_what_has_changed_since_makes_another_rule():
    shared = [True]
    before = _made_of(optax.masked(optax.sgd(0.1), shared))
    shared.append(False)
    assert _made_of(optax.masked(optax.sgd(0.1), shared)) != before


def test_a_rule_that_is_made_anew_compiles_nothing():
    problem = lab.objectives.quadratic(jnp.arange(1.0, 4.0), start=1.0)
    first = lab.run(problem, optax.adam(0.05), steps=7)
    before = num_compiled()
    again = lab.run(problem, optax.adam(0.05), steps=7)
    assert num_compiled() == before
    assert again["loss"].tolist() == first["loss"].tolist()
    assert lab.run(problem, optax.adam(0.06), steps=7)["loss"].tolist() != first["loss"].tolist()
    assert num_compiled() > before


@pytest.mark.parametrize(
    "schedule",
    [
        optax.exponential_decay(0.1, 10, 0.5, staircase=True),
        optax.exponential_decay(0.1, jnp.asarray(10), 0.5),
        optax.polynomial_schedule(0.1, 0.0, 2, 9),
        optax.join_schedules([optax.linear_schedule(0.0, 0.1, 3), optax.cosine_decay_schedule(0.1, 6)], [3]),
        optax.piecewise_interpolate_schedule("linear", 0.1, {4: 0.5}),
    ],
)
def test_every_schedule_of_optax_runs(schedule):
    """Some of their functions hold variables that were never set."""
    problem = lab.objectives.quadratic(jnp.arange(1.0, 4.0), start=1.0)
    losses = lab.run(problem, optax.sgd(schedule), steps=9)["loss"]
    x = jnp.ones(3)
    for step in range(9):
        x = x - schedule(step) * jnp.arange(1.0, 4.0) * x
    assert losses[0, -1] == pytest.approx(float(0.5 * jnp.sum(jnp.arange(1.0, 4.0) * x**2)), rel=1e-5)
