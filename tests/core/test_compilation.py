import jax
import jax.numpy as jnp

from jaxopt_lab.core import compilation
from jaxopt_lab.core.compilation import compiled


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
