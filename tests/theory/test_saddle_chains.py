import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.theory import saddle_chains


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: saddle_chains.octopus_ratio(1.1, 1.0, 1.0), "Lower the learning rate"),
        (lambda: saddle_chains.octopus_perturbed_steps(0.1, 9, 0.01, 11.0), r"threshold / \(4 L tau\) must be in"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
