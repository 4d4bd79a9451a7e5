# %% [markdown]
# # A rule of one's own
# Written with optax, held against the laws, and against heavy ball.

# %%
import jax
import jax.numpy as jnp
import optax

import jaxopt_lab as lab


def clipped_momentum(learning_rate=0.1, rho=0.9, limit=1.0):
    """Heavy ball whose velocity has entries of at most `limit`."""

    def init(params):
        return jax.tree.map(jnp.zeros_like, params)

    def update(grads, velocity, params=None):
        velocity = jax.tree.map(lambda v, g: jnp.clip(rho * v + g, -limit, limit).astype(v.dtype), velocity, grads)
        return jax.tree.map(lambda v: (-learning_rate * v).astype(v.dtype), velocity), velocity

    return optax.GradientTransformation(init, update)


# %% The laws: jit, scan, vmap over hyperparameters, donation, dtypes, wrappers.
lab.testing.check_rule(clipped_momentum, {"learning_rate": 0.1, "rho": 0.9, "limit": 1.0}, laws=["jit equals eager"])

# %% Ten learning rates are one compiled program.
problem = lab.objectives.quadratic(lab.objectives.spectra.log_uniform(100, kappa=100.0), start=1.0)
rates = jnp.geomspace(0.01, 1.0, 10)
for rule in (clipped_momentum, lab.rules.heavy_ball):
    trace = lab.run(problem, rule, {"learning_rate": rates, "rho": 0.9}, steps=200)
    print(rule.__name__, f"{float(jnp.nanmin(trace['loss'][:, -1])):.3g}")
