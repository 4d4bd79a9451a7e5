"""Every factory of a rule, a dimension, an objective and a closed form refuses what is no real number, before any compute."""

import inspect

import numpy as np
import pytest

from jaxopt_lab import objectives, search, theory
from jaxopt_lab.core import InputError
from jaxopt_lab.rules import REGISTRY

NO_NUMBERS = ["0.1", b"0.1", 0.1j, np.complex64(0.1), np.asarray(["0.1"]), np.asarray([0.1j]), None, object()]
RULES = [
    (name, key)
    for name, spec in REGISTRY.items()
    for key, value in spec.defaults.items()
    if type(value) in (int, float)
]
DIMENSIONS = {
    "uniform": (search.uniform, 0.1, 0.5),
    "log_uniform": (search.log_uniform, 0.1, 0.5),
    "one_minus_log_uniform": (search.one_minus_log_uniform, 0.1, 0.5),
    "effective_rate": (search.effective_rate, 0.1, 0.5),
    "integers": (search.integers, 1, 5),
    "choices": (search.choices, 1.0, 2.0),
}


def label(value):
    return type(value).__name__ if not isinstance(value, str) else "str"


@pytest.mark.parametrize("wrong", NO_NUMBERS, ids=label)
@pytest.mark.parametrize(("name", "key"), RULES)
def test_a_rule_refuses_what_is_no_number(name, key, wrong):
    with pytest.raises(InputError, match=f"{key}.* must be a (real|whole) number"):
        REGISTRY[name].build(**{key: wrong})


@pytest.mark.parametrize("wrong", [*NO_NUMBERS, float("nan"), float("inf")], ids=label)
@pytest.mark.parametrize("name", DIMENSIONS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_dimension_refuses_what_is_no_finite_number(name, place, wrong):
    make, *ends = DIMENSIONS[name]
    ends[place] = wrong
    with pytest.raises(InputError):
        make(*ends)


CLOSED_FORMS = {
    name: function
    for module in theory.__all__
    for name, function in vars(getattr(theory, module)).items()
    if name in getattr(theory, module).__all__
    and inspect.isfunction(function)
    and inspect.signature(function).parameters
}


@pytest.mark.parametrize("wrong", ["0.1", 0.1j, np.asarray([0.1j])], ids=label)
@pytest.mark.parametrize("name", sorted(CLOSED_FORMS))
def test_a_closed_form_refuses_what_is_no_number(name, wrong):
    function = CLOSED_FORMS[name]
    first, *_ = inspect.signature(function).parameters
    given = {
        each.name: 1.0
        for each in inspect.signature(function).parameters.values()
        if each.default is each.empty and each.kind is not each.VAR_POSITIONAL
    }
    with pytest.raises(InputError):
        function(**{**given, first: wrong})


@pytest.mark.parametrize("wrong", ["0.1", 0.1j], ids=label)
def test_an_objective_refuses_what_is_no_number(wrong):
    for build in (
        lambda: objectives.quadratic([1.0, 0.1], start=wrong),
        lambda: objectives.spectra.log_uniform(10, wrong),
        lambda: objectives.quadratic([1.0, wrong]),
        lambda: objectives.with_noise(objectives.quadratic([1.0]), "gaussian", wrong),
    ):
        with pytest.raises(InputError):
            build()
