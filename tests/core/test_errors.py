import jax
import jax.numpy as jnp
import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.core.errors import require_between, require_finite, require_positive


def test_a_list_of_lists_of_several_lengths_is_refused_in_words():
    with pytest.raises(InputError, match=r"quadratic: eigenvalues must be real numbers of one shape, got \[\[1\.0\], "):
        require_finite("quadratic", "eigenvalues", [[1.0], [1.0, 2.0]])
    require_finite("quadratic", "eigenvalues", [[1.0], [2.0]])


@pytest.mark.parametrize("require", [require_positive, lambda *given: require_between(*given, 0, 1)])
def test_a_traced_number_is_not_compared(require):
    def step(rate):
        require("sgd", "learning_rate", rate)
        return 2 * rate

    assert jax.jit(step)(-3.0) == -6.0
    with pytest.raises(InputError, match="sgd: learning_rate must be"):
        step(-3.0)
    with pytest.raises(InputError, match="sgd: learning_rate must be a number, got an array"):
        jax.jit(step)(jnp.ones(2))
