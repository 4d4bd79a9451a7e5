# %% [markdown]
# # Any JAX loss
# Least squares on inputs of very different scales: what makes descent slow, and what mends it.

# %%
import jax.numpy as jnp
import optax
from sklearn.datasets import load_diabetes

import jaxopt_lab as lab

inputs, targets = load_diabetes(return_X_y=True, scaled=False)
data = {"x": jnp.asarray(inputs, jnp.float32), "y": jnp.asarray(targets / targets.std(), jnp.float32)}


def loss(params, batch, key):
    return jnp.mean((batch["x"] @ params["w"] + params["b"] - batch["y"]) ** 2)


# %% The loss is a mean over the examples of a batch: parts of the data then tell of curvature and noise.
problem = lab.from_loss(loss, {"w": jnp.zeros(10), "b": jnp.zeros(())}, data, name="diabetes")
found = lab.diagnose(problem, optax.sgd(1e-6))
print(found)

# %% A prescription is a change of problem and rule, which can be applied.
other_problem, other_rule = found.findings[0].prescription.apply(problem, optax.sgd(1e-6))
trace = lab.run(other_problem, other_rule, steps=200)
print(trace)
