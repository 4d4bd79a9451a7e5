# %% [markdown]
# # A rule from a paper, as a candidate
# PSGD with Kronecker factors (Li, arXiv 1512.04202), with a space of its own. Two triangular factors of the
# preconditioner whiten the gradient: P = Q'Q, E P g g' P = I, fitted by relative gradient steps on the group of
# triangular matrices.
# %%
import jax
import jax.numpy as jnp
import optax
from jax.scipy.linalg import solve_triangular

import jaxopt_lab as lab
from jaxopt_lab.search import Space, log_uniform


def fit(factors, gradient, key, rate):
    """One step of both factors towards E P g g' P = I, against a random matrix: A = Ql G Qr', B = Ql^-T V Qr^-1."""
    left, right = factors
    a = left @ gradient @ right.T
    noise = solve_triangular(left, jax.random.normal(key, gradient.shape), trans=1)
    b = solve_triangular(right, noise.T, trans=1).T

    def moved(factor, ours, theirs):
        return factor - rate / jnp.linalg.norm(ours + theirs) * jnp.triu(ours - theirs) @ factor

    return moved(left, a @ a.T, b @ b.T), moved(right, a.T @ a, b.T @ b)


def psgd(learning_rate, momentum=0.9, fit_rate=0.1):
    """Momentum, whitened by triangular Kronecker factors; a vector is a column."""

    def as_matrices(tree):
        return [leaf.reshape(len(leaf), -1) for leaf in jax.tree.leaves(tree)]

    def init(params):
        factors = [tuple(map(jnp.eye, leaf.shape)) for leaf in as_matrices(params)]
        return factors, optax.tree.zeros_like(params), jnp.zeros((), int)

    def update(grads, state, params=None):
        factors, mean, count = state
        mean = optax.tree.update_moment(grads, mean, momentum, 1)
        means = as_matrices(optax.tree.bias_correction(mean, momentum, count + 1))
        keys = jax.random.split(jax.random.key(count), len(means))
        factors = [fit(*each, fit_rate) for each in zip(factors, means, keys, strict=True)]
        whitened = [ql.T @ ql @ m @ qr.T @ qr for (ql, qr), m in zip(factors, means, strict=True)]
        shaped = [-learning_rate * w.reshape(g.shape) for w, g in zip(whitened, jax.tree.leaves(grads), strict=True)]
        return jax.tree.unflatten(jax.tree.structure(grads), shaped), (factors, mean, count + 1)

    return optax.GradientTransformation(init, update)


# %%
rules = {"psgd": (psgd, Space(learning_rate=log_uniform(1e-4, 0.1))), "adam": lab.compare.CANDIDATES["adam"]}
problems = {"digits": lab.load_problem("digits-mlp", width=8, depth=1, num_examples=400)}
print(lab.compare.compare(problems, rules, budget=100, batch_size=32, num_trials=8, num_final_seeds=10))
