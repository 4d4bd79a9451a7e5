# %% [markdown]
# # A Flax Linen module
# A deep network of sigmoids, in which the signal vanishes.

# %%
import jax
import optax
from flax import linen
from sklearn.datasets import load_digits

import jaxopt_lab as lab

pixels, labels = load_digits(return_X_y=True)
data = {"x": (pixels[:500] / 16).astype("float32"), "y": labels[:500]}


class Deep(linen.Module):
    @linen.compact
    def __call__(self, x):
        for _ in range(6):
            x = linen.sigmoid(linen.Dense(32)(x))
        return linen.Dense(10)(x)


def loss_fn(model, batch):
    return optax.softmax_cross_entropy_with_integer_labels(model(batch["x"]), batch["y"]).mean()


# %%
module = Deep()
variables = module.init(jax.random.key(0), data["x"][:1])
problem = lab.from_linen(module, variables, loss_fn, data)
found = lab.diagnose(problem, optax.sgd(0.1), batch_size=64)
print(found)

# %%
found.plot().savefig("deep.png")
