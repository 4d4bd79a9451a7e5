# %% [markdown]
# # A network that trains badly, from the running loop to the proof
# A convolutional network with batch normalization and dropout; AdamW, warm-up, cosine decay, clipping: what is wrong?

# %%
import jax
import optax
from flax import nnx
from sklearn.datasets import load_digits

import jaxopt_lab as lab

pixels, labels = load_digits(return_X_y=True)
images = (pixels / 16).astype("float32").reshape(-1, 8, 8, 1)
data, held = ({"x": images[part], "y": labels[part]} for part in (slice(0, 512), slice(512, 768)))


# %%
class ConvNet(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.drop = nnx.Dropout(0.1, rngs=rngs)
        self.out = nnx.Linear(8 * 16, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.avg_pool(nnx.relu(self.norm(self.conv(x))), (2, 2), strides=(2, 2))
        return self.out(self.drop(x.reshape(len(x), -1)))


def loss_fn(model, batch):
    return optax.softmax_cross_entropy_with_integer_labels(model(batch["x"]), batch["y"]).mean()


# %% The training loop, as one has it; the monitor keeps its signs in the optax state.
model, steps = ConvNet(nnx.Rngs(0)), 100
schedule = optax.warmup_cosine_decay_schedule(0.0, peak_value=1e-5, warmup_steps=20, decay_steps=2000)
rule = lab.Monitor(optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule)), every=10)
optimizer = nnx.Optimizer(model, rule, wrt=nnx.Param)


@nnx.jit
def train_step(model, optimizer, batch):
    loss, grads = nnx.value_and_grad(loss_fn)(model, batch)
    optimizer.update(model, grads, value=loss)


for step in range(steps):
    rows = jax.random.permutation(jax.random.key(step), 512)[:64]
    train_step(model, optimizer, jax.tree.map(lambda leaf, rows=rows: leaf[rows], data))

# %% Why is it slow? And does the prescription help?
problem = lab.from_nnx(model, loss_fn, data, validation=held, name="convnet")
found = lab.diagnose(problem, rule, opt_state=nnx.as_pure(nnx.state(optimizer)["opt_state"]), batch_size=64)
print(found)

# %% The first finding's prescription, in paired runs.
print(lab.diagnosis.prove(problem, rule, found.findings[0], batch_size=64))
found.save("convnet.html")
