# %% [markdown]
# # Shampoo and SOAP as candidates
# Two rules that optax does not hold, with their authors' constants, tuned and judged like any other.
# %%
import jax
import jax.numpy as jnp
import optax

import jaxopt_lab as lab
from jaxopt_lab.search import Space, log_uniform


def by_matrix(first, step, learning_rate):
    """A rule of `step(state, gradient, count) -> (state, direction)` on every leaf, a vector being a column."""

    def init(params):
        zeros = [0 * leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(params)]
        return [first(zero, *map(jnp.eye, zero.shape)) for zero in zeros], jnp.zeros(())

    def update(grads, state, params=None):
        leaves, structure = jax.tree.flatten(grads)
        done = [step(own, g.reshape(len(g), -1), state[1] + 1) for own, g in zip(state[0], leaves, strict=True)]
        updates = [-learning_rate * way.reshape(g.shape) for (_, way), g in zip(done, leaves, strict=True)]
        return structure.unflatten(updates), ([own for own, _ in done], state[1] + 1)

    return optax.GradientTransformation(init, update)


def shampoo(learning_rate, epsilon=1e-4):
    """L^(-1/4) G R^(-1/4) with L = epsilon I + sum G G', R = epsilon I + sum G' G (arXiv 1802.09568, algorithm 1)."""

    def root(matrix):
        values, basis = jnp.linalg.eigh(matrix)
        return (basis * values.clip(epsilon) ** -0.25) @ basis.T

    def step(state, g, count):
        return (state := [state[0] + g @ g.T, state[1] + g.T @ g]), root(state[0]) @ g @ root(state[1])

    return by_matrix(lambda zero, *eyes: [epsilon * eye for eye in eyes], step, learning_rate)


def soap(learning_rate, b1=0.95, b2=0.95, epsilon=1e-8):
    """Adam in the eigenbasis of decayed L and R, which one step of QR iteration follows (arXiv 2409.11321)."""

    def step(state, g, count):
        left, right, u, v, mean, square = state
        left, right, mean = b2 * left + (1 - b2) * g @ g.T, b2 * right + (1 - b2) * g.T @ g, b1 * mean + (1 - b1) * g
        u, v = jnp.linalg.qr(left @ u + 1e-12 * u)[0], jnp.linalg.qr(right @ v + 1e-12 * v)[0]
        square = b2 * square + (1 - b2) * (u.T @ g @ v) ** 2
        scaled = u.T @ mean @ v / (1 - b1**count) / (jnp.sqrt(square / (1 - b2**count)) + epsilon)
        return (left, right, u, v, mean, square), u @ scaled @ v.T

    return by_matrix(lambda zero, left, right: (0 * left, 0 * right, left, right, zero, zero), step, learning_rate)


# %%
spaces = {shampoo: Space(learning_rate=log_uniform(1e-3, 10.0)), soap: Space(learning_rate=log_uniform(3e-4, 0.1))}
rules = {rule.__name__: (rule, space) for rule, space in spaces.items()} | {"adam": lab.compare.CANDIDATES["adam"]}
problems = {"digits": lab.load_problem("digits-mlp", width=8, depth=1, num_examples=400)}
print(lab.compare.compare(problems, rules, budget=100, batch_size=32, num_trials=8, num_final_seeds=10))
