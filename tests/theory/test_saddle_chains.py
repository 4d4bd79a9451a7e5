import pytest

from jaxopt_lab import theory
from jaxopt_lab.core import InputError


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: theory.octopus_ratio(1.1, 1.0, 1.0), "Lower the learning rate"),
        (lambda: theory.octopus_perturbed_steps(0.1, 9, 0.01, 11.0), r"threshold / \(4 L tau\) must be in"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
