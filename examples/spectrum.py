# %% [markdown]
# # The spectrum of a network's Hessian
# Both ends with their errors, the density, the layers; nothing is called exact that is not.

# %%
import jax
import optax

import jaxopt_lab as lab

problem = lab.load_problem("digits-mlp", width=16, depth=1, activation="tanh", num_examples=400)
trace = lab.run(problem, optax.adam, {"learning_rate": 1e-2}, steps=100, batch_size=64)
params = jax.tree.map(lambda leaf: leaf[0], trace.params)
spectrum = lab.curvature.measure_spectrum(problem, params)
print(spectrum)

# %% At which learning rate does gradient descent become unstable here?
print(f"edge of stability: {2 / float(spectrum.ends.largest.values[0]):.3g}")
spectrum.save("spectrum.html")
