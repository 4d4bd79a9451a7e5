import jax.numpy as jnp
import numpy as np
import optax

from jaxopt_lab import curvature
from jaxopt_lab.core import precision


def test_the_scale_of_single_precision_parameters_is_single_where_doubles_are_the_default():
    with precision("float64"):
        params = jnp.ones(3, jnp.float32)
        rule = optax.adam(0.1)
        _, state = rule.update(2 * params, rule.init(params), params)
        scale = curvature.preconditioner_of(state)
    assert scale.dtype == jnp.float32
    np.testing.assert_allclose(scale, 2.0, rtol=1e-6)  # float32
