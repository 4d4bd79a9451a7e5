import dataclasses
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import core, objectives
from jaxopt_lab.storage.fingerprints import fingerprint, is_reusable, problem_fingerprint, program_of

X = jnp.arange(3.0)


@jax.custom_jvp
def bent(x, scale):
    return scale * x


bent.defjvp(lambda primals, tangents: (bent(*primals), primals[1] * tangents[0]))


def times(held):
    return lambda x: held * x


def closing_over(make):
    """A function of the point that holds `make(number)` in one of the ways in which a program can."""
    return {
        "a literal": lambda k: lambda x: k * x,
        "a jax array": lambda k: times(k * jnp.ones(3)),
        "a numpy array": lambda k: times(k * np.ones(3, np.float32)),
        "an array inside of jit": lambda k: jax.jit(times(k * jnp.ones(3))),
        "the body of a scan": lambda k: lambda x: jax.lax.scan(lambda c, _: (k * c, None), x, None, length=2)[0],
        "a branch": lambda k: lambda x: jax.lax.cond(x[0] > 1, lambda y: k * y, lambda y: y, x),
        "the body of a while": lambda k: lambda x: jax.lax.fori_loop(0, 2, lambda i, y: k * y, x),
        "a function with a derivative of its own": lambda k: lambda x: bent(x, k),
        "its gradient": lambda k: jax.grad(lambda x: jnp.sum(bent(x, 1.0) ** 2) * k),
        "a reduction of its own": lambda k: lambda x: jax.lax.reduce(x, 0.0, lambda a, b: a + k * b, (0,)),
        "a random key": lambda k: lambda x: x * jax.random.normal(jax.random.key(int(4 * k)), (3,)),
        "a numpy table that is indexed": lambda k: lambda x: jnp.asarray(k * np.ones(5))[x.astype(int)],
    }[make]


WAYS = [
    "a literal", "a jax array", "a numpy array", "an array inside of jit", "the body of a scan", "a branch",
    "the body of a while", "a function with a derivative of its own", "its gradient", "a reduction of its own",
    "a random key", "a numpy table that is indexed",
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_number_that_a_function_holds_moves_its_fingerprint_and_nothing_else_does(way):
    make = closing_over(way)
    first, again, other = (fingerprint(program_of(make(k), X)) for k in (1.5, 1.5, 1.25))
    assert first == again
    assert first != other


def test_one_entry_of_a_large_array_is_enough():
    table = np.zeros(10**6, np.float32)
    changed = table.copy()
    changed[-1] = 1e-30
    assert fingerprint(table) != fingerprint(changed)
    assert fingerprint(program_of(lambda x: x @ table[:3], X)) == fingerprint(program_of(lambda x: x @ changed[:3], X))


def test_types_and_borders_of_the_parts_count():
    different = [
        (1,),
        (1.0,),
        (True,),
        ("1",),
        (None,),
        (np.float32(1),),
        (np.float64(1),),
        ([1],),
        ("a", "b"),
        ("ab",),
        (("a",), "b"),
    ]
    assert len({fingerprint(*parts) for parts in different}) == len(different)
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert fingerprint(jax.random.key(1)) != fingerprint(jax.random.key(2))
    assert fingerprint(np.zeros((2, 3))) != fingerprint(np.zeros((3, 2)))


@dataclasses.dataclass(frozen=True)
class Pair:
    first: int = 1
    second: float = 0.5


@dataclasses.dataclass(frozen=True)
class Couple:
    first: int = 1
    second: float = 0.5


def test_sets_records_and_types_count_by_what_they_hold():
    assert list({0, 8}) != list({8, 0})  # the order in which they came
    assert fingerprint({0, 8}) == fingerprint({8, 0}) != fingerprint({0, 16})
    assert fingerprint(frozenset({1, 2})) == fingerprint({2, 1})
    assert fingerprint(Pair()) == fingerprint(Pair(1, 0.5))
    assert (
        len({fingerprint(each) for each in (Pair(), Couple(), Pair(2), Pair(1, 0.25), Pair, Couple, int, float)}) == 8
    )
    assert is_reusable(fingerprint(Pair, Pair()))
    assert not is_reusable(fingerprint(Pair(second=lambda x: x)))


def test_what_cannot_be_seen_is_never_the_same_and_says_why():
    def through_python(x):
        return jax.pure_callback(lambda y: y, x, x)

    first, again = (fingerprint(program_of(through_python, X)) for _ in range(2))
    assert not is_reusable(first)
    assert first != again
    assert "pure_callback calls back into Python" in first
    assert not is_reusable(fingerprint(lambda x: x))
    assert not is_reusable(fingerprint(object()))


def test_printing_from_a_program_changes_nothing():
    def printing(x):
        jax.debug.print("x = {}", x)
        return 2 * x

    first, again = (fingerprint(program_of(printing, X)) for _ in range(2))
    assert is_reusable(first)
    assert first == again


def test_another_process_finds_the_same():
    code = (
        "import jax, jax.numpy as jnp; from jaxopt_lab.storage.fingerprints import fingerprint, program_of;"
        "f = lambda x: jax.nn.gelu(x) * jax.random.normal(jax.random.key(0), (3,));"
        "print(fingerprint(program_of(jax.value_and_grad(lambda x: jnp.sum(f(x))), jnp.arange(3.0)), {'b': 1, 'a': 2}))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(found) == 1


def problem(scale=1.0, shift=0.0, start=1.0, data=0.0):
    table = scale * jnp.ones(3)
    return core.from_loss(
        lambda w, batch, key: jnp.mean((batch @ (table * w) - shift) ** 2),
        start * jnp.ones(3),
        jnp.eye(3) + data,
    )


@pytest.mark.parametrize("change", ["scale", "shift", "start", "data"])
def test_every_part_of_a_problem_counts(change):
    assert problem_fingerprint(problem()) == problem_fingerprint(problem())
    assert problem_fingerprint(problem()) != problem_fingerprint(problem(**{change: 0.5}))


@pytest.mark.parametrize("change", ["loss", "moved", "evaluate", "start"])
def test_every_part_of_a_problem_with_a_state_counts(change):
    def make(loss=1.0, moved=1.0, evaluate=1.0, start=1.0):
        stateful = core.Stateful(
            start * jnp.ones(3),
            lambda w, state, batch, key: (loss * jnp.sum(w * state), moved * state),
            lambda w, state, batch: evaluate * jnp.sum(w * state),
        )
        return dataclasses.replace(problem(), stateful=stateful)

    assert problem_fingerprint(make()) == problem_fingerprint(make())
    assert problem_fingerprint(make()) != problem_fingerprint(make(**{change: 0.5}))
    assert problem_fingerprint(make()) != problem_fingerprint(problem())


def test_arrays_in_a_partial_count():
    first, other = (objectives.quadratic([1.0, value]) for value in (0.5, 0.25))
    assert problem_fingerprint(first) != problem_fingerprint(other)
