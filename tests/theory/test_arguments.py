import inspect
import pickle

import chex
import numpy as np
import pytest

from jaxopt_lab import theory
from jaxopt_lab.core import InputError
from jaxopt_lab.theory.arguments import (
    Count,
    Finite,
    Floats,
    Lookahead,
    LookaheadSchedule,
    Momentum,
    MomentumSchedule,
    NonNegative,
    NotNaN,
    Numbers,
    Positive,
    Steps,
    StrongConvexity,
    checked,
)

NO_NUMBERS = {"activation", "fitted", "initializer", "negative_curvature", "random", "tuning"}
FUNCTIONS = {
    f"{module}.{name}": getattr(getattr(theory, module), name)
    for module in theory.__all__
    for name in getattr(theory, module).__all__
    if inspect.isfunction(getattr(getattr(theory, module), name))
}


@checked
def product(rho: Momentum, lookahead: Lookahead = 0.5, *, scale: Positive | None = None) -> Floats:
    """The product.

    Reference: arithmetic.
    """
    return rho, lookahead, scale


@checked
def ordered(smoothness: Positive, strong_convexity: StrongConvexity) -> Floats:
    return smoothness - strong_convexity


@checked
def scheduled(steps: Steps, rho: MomentumSchedule, lookahead: LookaheadSchedule = 0.0, *, count: Count = 1) -> Floats:
    return rho + lookahead


@checked
def reals(numbers: Numbers, ends: NotNaN = 0.0, finite: Finite = 0.0, positive: NonNegative = 0.0) -> Floats:
    return numbers, ends, finite, positive


@pytest.mark.parametrize("given", [0, 0.25, np.float32(0.25), [0, 0.25], [[True], [False]][1:], np.zeros((2, 0, 3))])
def test_numbers_and_arrays_of_any_shape_arrive_as_float64(given):
    for found in (product(given)[0], product(rho=given)[0], product(0.1, given)[1], product(0.1, scale=1)[2]):
        chex.assert_type(found, np.float64)
    chex.assert_shape(product(given)[0], np.shape(given))
    np.testing.assert_array_equal(product(given)[0], given)


def test_defaults_are_arrays_too_and_none_stays():
    _, lookahead, scale = product(0.1)
    chex.assert_shape(lookahead, ())
    chex.assert_type(lookahead, np.float64)
    assert (lookahead, scale) == (0.5, None)


def test_the_body_gets_a_copy():
    rho = np.zeros(3)
    product(rho)[0][:] = 7
    assert not rho.any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: product([0.5, 1.0, 2.0]),
            r"product: rho must be in \[0, 1\), got 1. With rho >= 1 the velocity never",
        ),
        (lambda: product(rho=np.nan), r"product: rho must be in \[0, 1\), got nan. With rho >= 1"),
        (
            lambda: product(0.0, -0.5),
            r"product: lookahead must be in \[0, 1\], got -0.5. It is 0 for heavy ball and rho",
        ),
        (lambda: product(0.0, scale=0.0), r"product: scale must be in \(0, inf\), got 0.$"),
        (lambda: product(None), r"product: rho must be a number or an array of numbers, got None. With rho >= 1"),
        (
            lambda: product([[0.1], [0.2, 0.3]]),
            r"rho must be a number or an array of numbers, got \[\[0.1\], \[0.2, 0.3",
        ),
        (lambda: product("0.5"), "rho must be a number or an array of numbers, got '0.5'"),
        (lambda: reals([np.nan, 1j]), r"reals: numbers must be a number or an array of numbers"),
        (lambda: reals(0.0, np.nan), r"reals: ends must be in \[-inf, inf\], got nan"),
        (lambda: reals(0.0, finite=-np.inf), r"reals: finite must be in \(-inf, inf\), got -inf"),
        (
            lambda: ordered([2.0, 1.0], 1.5),
            r"strong_convexity must be at most smoothness, got 1.5 and \[2. 1.\]. They are",
        ),
        (lambda: scheduled(2.0, 0.1), "scheduled: steps must be a whole number of at least 0, got 2.0"),
        (lambda: scheduled(2, 0.1, count=0), "scheduled: count must be a whole number of at least 1, got 0"),
        (lambda: scheduled(2, [0.1] * 3), r"rho must be a number or have one entry per step \(2\), got shape \(3,\)"),
    ],
)
def test_the_first_wrong_entry_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_what_may_be_infinite_or_nan_passes():
    found = reals([np.nan, np.inf], np.inf, -1e300, 0)
    np.testing.assert_array_equal(found[0], [np.nan, np.inf])
    assert [float(value) for value in found[1:]] == [np.inf, -1e300, 0]


def test_a_number_is_repeated_for_every_step():
    chex.assert_shape([scheduled(4, 0.5), scheduled(4, [0.1, 0.2, 0.3, 0.4]), scheduled(0, 0.5)], [(4,), (4,), (0,)])


def test_a_wrong_call_gets_pythons_own_error():
    with pytest.raises(TypeError, match=r"product\(\) missing 1 required positional argument: 'rho'"):
        product()
    with pytest.raises(TypeError, match=r"product\(\) got an unexpected keyword argument 'beta'"):
        product(0.5, beta=1.0)


def test_a_checked_function_keeps_its_name_its_signature_and_its_docstring():
    assert (product.__name__, product.__module__) == ("product", __name__)
    assert str(inspect.signature(product)).startswith("(rho: Momentum, lookahead: Lookahead = 0.5, *, scale: ")
    assert product.__doc__ == (
        "The product.\n\nReference: arithmetic.\n\n"
        "Ranges: rho in [0, 1); lookahead in [0, 1]; scale in (0, inf); else an InputError.\n"
    )
    assert pickle.loads(pickle.dumps(theory.rates.optimal_heavy_ball)) is theory.rates.optimal_heavy_ball


def test_a_closed_form_has_a_signature_of_one_line():
    signature = f"optimal_heavy_ball{inspect.signature(theory.rates.optimal_heavy_ball)}"
    assert len(signature) <= 120
    for name, function in FUNCTIONS.items():
        for argument in inspect.signature(function).parameters.values():
            assert len(str(argument)) <= 50, f"{name}: {argument}"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_every_argument_of_a_closed_form_has_a_range_that_its_docstring_tells(name):
    told = (inspect.getdoc(FUNCTIONS[name]) or "").partition("Ranges: ")[2].replace("\n", " ")
    for argument in set(inspect.signature(FUNCTIONS[name]).parameters) - NO_NUMBERS:
        assert any(part.strip().startswith(f"{argument} ") for part in told.split(";")), argument
