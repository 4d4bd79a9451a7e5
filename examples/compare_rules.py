# %% [markdown]
# # A fair comparison
# The same gradients, the same number of trials, winners run again on fresh seeds.

# %%
import jaxopt_lab as lab
from jaxopt_lab import compare

problem = lab.load_problem("digits-mlp", width=16, depth=1, num_examples=400)
found = compare.compare(
    {"digits": problem},
    ["sgd", "heavy_ball", "adam"],
    budget=100,
    batch_size=32,
    num_trials=8,
    num_final_seeds=10,
)
print(found)

# %% "No difference shown" is an answer, too.
found.save("comparison.html")
