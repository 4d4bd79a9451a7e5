"""Public constructors with whatever they are given: a thing that works, or one sentence."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
from hypothesis import strategies as st

from jaxopt_lab import objectives, rules, theory
from jaxopt_lab.core import from_loss
from tests.fuzz import REFUSED, cases, tried

SANE = st.one_of(st.floats(1e-3, 1.0), st.integers(1, 20))
ODD = st.one_of(
    st.floats(), st.integers(), st.text(max_size=4), st.none(), st.booleans(), st.complex_numbers(), st.binary(max_size=2),
    st.sampled_from([np.float32(0.5), np.float64("nan"), np.int64(3), (), [], [0.5], {}, np.zeros(0), np.zeros((2, 2)), object()]),
)  # fmt: skip
VALUES = st.one_of(SANE, ODD)
TREE = {"w": jnp.linspace(-1, 1, 4), "b": jnp.asarray(0.5)}


def rule(name, key, value):
    spec = rules.REGISTRY[name]
    options = [
        option for option, default in spec.defaults.items() if not isinstance(default, optax.GradientTransformation)
    ]
    if not options:
        return
    option = options[key % len(options)]
    built = tried(spec.build, **{option: value})
    if built is REFUSED:
        return
    assert isinstance(built, optax.GradientTransformation)
    assert built.init(TREE) is not None


CLOSED_FORMS = {
    name: function
    for module in theory.__all__
    for name, function in vars(getattr(theory, module)).items()
    if name in getattr(theory, module).__all__
    and inspect.isfunction(function)
    and inspect.signature(function).parameters
}


def closed_form(name, values):
    function = CLOSED_FORMS[name]
    needed = [each for each in inspect.signature(function).parameters.values() if each.kind is not each.VAR_POSITIONAL]
    given = {each.name: value for each, value in zip(needed, values, strict=False)}
    if any(each.default is each.empty and each.name not in given for each in needed):
        return
    with np.errstate(all="ignore"):
        tried(function, **given)


def objective(eigenvalues, start):
    problem = tried(objectives.quadratic, eigenvalues, start=start)
    if problem is not REFUSED:
        assert np.isfinite(problem.full_loss(jnp.zeros(len(eigenvalues))))


def problem(result, params, data):
    def loss(w, batch, key):
        return result if result is not None else jnp.sum(jnp.asarray(w) ** 2)

    made = tried(from_loss, loss, params, data)
    if made is not REFUSED:
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, as everywhere in JAX
            assert np.ndim(made.full_loss(made.init(jax.random.key(0)))) == 0


test_a_rule_is_built_or_says_why_not, test_many_rules = cases(
    25, rule, name=st.sampled_from(sorted(rules.REGISTRY)), key=st.integers(0, 6), value=VALUES
)
test_a_closed_form_answers_or_says_why_not, test_many_closed_forms = cases(
    25, closed_form, name=st.sampled_from(sorted(CLOSED_FORMS)), values=st.lists(VALUES, min_size=8, max_size=8)
)
test_a_quadratic_is_built_or_says_why_not, test_many_quadratics = cases(
    15, objective, eigenvalues=st.one_of(st.lists(VALUES, max_size=4), st.lists(st.floats(-10, 10), min_size=1, max_size=4), st.text(max_size=3)), start=VALUES
)  # fmt: skip
test_a_problem_is_built_or_says_why_not, test_many_problems = cases(
    15, problem, result=st.one_of(st.none(), VALUES), params=st.one_of(ODD, st.just(jnp.ones(3))), data=st.one_of(st.none(), ODD)
)  # fmt: skip
