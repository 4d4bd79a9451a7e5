# %% [markdown]
# # An Equinox module
# Anything that is a pytree goes in as parameters and a loss.

# %%
import equinox
import jax
import jax.numpy as jnp
import optax

import jaxopt_lab as lab

x = jnp.linspace(-1.0, 1.0, 256)[:, None]
data = {"x": x, "y": jnp.sin(6 * x)}
network = equinox.nn.MLP(1, 1, width_size=32, depth=2, activation=jnp.tanh, key=jax.random.key(0))
params, static = equinox.partition(network, equinox.is_array)


def loss(params, batch, key):
    outputs = jax.vmap(equinox.combine(params, static))(batch["x"])
    return jnp.mean((outputs - batch["y"]) ** 2)


# %%
problem = lab.from_loss(loss, params, data, name="sine")
found = lab.diagnose(problem, optax.sgd(0.1))
print(found)
