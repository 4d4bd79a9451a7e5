# %% [markdown]
# # Shampoo and SOAP as candidates
# Two rules that are in no library here, with their authors' spaces, tuned and judged like any other.

# %%
import jax
import jax.numpy as jnp
import optax

import jaxopt_lab as lab
from jaxopt_lab import compare
from jaxopt_lab.search import Space, log_uniform


def per_matrix(first, step):
    """A rule that takes `step(state, gradient, count) -> (state, direction)` leaf by leaf; vectors count as columns."""

    def init(params):
        return jnp.zeros((), jnp.int32), [first(leaf.reshape(len(leaf), -1)) for leaf in jax.tree.leaves(params)]

    def update(grads, state, params=None):
        leaves, structure = jax.tree.flatten(grads)
        done = [
            step(own, g.reshape(len(g), -1), state[0] + 1.0) for own, g in zip(state[1], leaves, strict=True)
        ]
        moved = [direction.reshape(g.shape) for (_, direction), g in zip(done, leaves, strict=True)]
        return structure.unflatten(moved), (state[0] + 1, [own for own, _ in done])

    return optax.GradientTransformation(init, update)


def shampoo(learning_rate, epsilon=1e-4):
    """L^(-1/4) G R^(-1/4), L = epsilon I + sum G G', R = epsilon I + sum G' G (arXiv 1802.09568, algorithm 1)."""
    root = lambda a: (lambda w, q: (q * jnp.maximum(w, epsilon) ** -0.25) @ q.T)(*jnp.linalg.eigh(a))
    first = lambda g: (epsilon * jnp.eye(g.shape[0]), epsilon * jnp.eye(g.shape[1]))

    def step(state, g, count):
        left, right = state[0] + g @ g.T, state[1] + g.T @ g
        return (left, right), root(left) @ g @ root(right)

    return optax.chain(per_matrix(first, step), optax.scale_by_learning_rate(learning_rate))


def soap(learning_rate, b1=0.95, b2=0.95, epsilon=1e-8):
    """Adam in the eigenbasis of Shampoo's L and R (arXiv 2409.11321), here with a new basis at every step."""
    first = lambda g: (jnp.zeros((g.shape[0],) * 2), jnp.zeros((g.shape[1],) * 2), 0 * g, 0 * g)

    def step(state, g, count):
        left, right = (b2 * a + (1 - b2) * s for a, s in zip(state[:2], (g @ g.T, g.T @ g), strict=True))
        (_, u), (_, v) = jnp.linalg.eigh(left), jnp.linalg.eigh(right)
        mean, square = b1 * state[2] + (1 - b1) * g, b2 * state[3] + (1 - b2) * (u.T @ g @ v) ** 2
        scaled = u.T @ mean @ v / (1 - b1**count) / (jnp.sqrt(square / (1 - b2**count)) + epsilon)
        return (left, right, mean, square), u @ scaled @ v.T

    return optax.chain(per_matrix(first, step), optax.scale_by_learning_rate(learning_rate))


# %%
problem = lab.load_problem("digits-mlp", width=8, depth=1, num_examples=400)
