"""A problem over one vector in place of a pytree: one leaf compiles faster, and a point is a row of numbers."""

import dataclasses

import jax
from jax.flatten_util import ravel_pytree

from jaxopt_lab.core import Problem


def flattened(problem: Problem) -> Problem:
    """The same loss as a function of one vector [d], for networks small enough to be looked at whole.

    Args:
      problem: any, its parameters on one device.

    Returns:
      The problem: loss, initialization and composite form over vectors, the same data; without metrics and model state,
      which are functions of the pytree.

    Example:
      >>> from jaxopt_lab.problems import load_problem
      >>> network = load_problem("digits-mlp", width=4, depth=1, num_examples=20)
      >>> flattened(network).init(jax.random.key(0)).shape
      (310,)
    """
    rebuild = ravel_pytree(problem.init(jax.random.key(0)))[1]
    loss, init, composite = problem.loss, problem.init, problem.composite
    if composite is not None:
        outputs = composite.outputs
        composite = dataclasses.replace(composite, outputs=lambda params, batch: outputs(rebuild(params), batch))
    return dataclasses.replace(
        problem, loss=lambda params, batch, key: loss(rebuild(params), batch, key), composite=composite,
        init=lambda key: ravel_pytree(init(key))[0], metrics={}, stateful=None,
    )  # fmt: skip
