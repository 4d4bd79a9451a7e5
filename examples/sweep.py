# %% [markdown]
# # A sweep as one compiled program
# Learning rate and momentum of heavy ball on a quadratic whose best pair is known.

# %%
import jaxopt_lab as lab
from jaxopt_lab import search

problem = lab.objectives.quadratic(lab.objectives.spectra.log_uniform(1000, kappa=100.0), start=1.0)
space = search.Space(
    learning_rate=search.effective_rate(0.1, 100.0),  # lr / (1 - rho), which is what matters
    rho=search.one_minus_log_uniform(0.0, 0.99),
)
found = search.sweep(problem, lab.rules.heavy_ball, space, num_trials=128, num_seeds=1, steps=100, sampler="sobol")
print(found)

# %% The closed form.
tuning = lab.theory.rates.optimal_heavy_ball(problem.truth.smoothness, problem.truth.strong_convexity)
print(f"theory: learning rate {tuning.learning_rate:.3g}, rho {tuning.rho:.3g}")

# %%
found.save("sweep.html")
