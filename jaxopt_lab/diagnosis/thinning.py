"""Fewer examples where all of them would take too long: a random part on which the whole budget fits into the time."""

import dataclasses
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import Problem
from jaxopt_lab.diagnosis.budget import Budget

_LEAST = 128
_BATCHES = 4


def thinned(problem: Problem, seconds: float, batch_size: int | None, budget: Budget, seed: int) -> Problem:
    """The problem with so many of its examples that the budget takes about half of its seconds; the rest may compile.

    Args:
      problem: any problem.
      seconds: that one gradient of all data takes.
      batch_size: examples a step in use; at least four batches are kept.
      budget: what is to be spent; is told what is left out.
      seed: seeds the draw.

    Returns:
      The problem itself where all examples fit, or where it has none.
    """
    num = problem.num_examples
    fits = budget.seconds / 2 / max(seconds, 1e-9)
    if num is None or fits >= budget.total:
        budget.pace(seconds)
        return problem
    kept = min(num, max(_LEAST, _BATCHES * (batch_size or 0), round(num * fits / budget.total)))
    if kept < num:
        budget.refused[f"{num - kept:,} of the {num:,} examples"] = (
            f"a gradient of all takes {seconds:.2g} s; what was measured is of a random part of {kept:,}"
        )
    budget.pace(seconds * kept / num)
    validation = problem.validation
    if validation is not None:
        length = jax.tree.leaves(validation)[0].shape[0]
        validation = _part(validation, min(length, kept), length, seed)
    return dataclasses.replace(problem, data=_part(problem.data, kept, num, seed), validation=validation)


def _part(data: Any, kept: int, num: int, seed: int) -> Any:
    if kept == num:
        return data
    rows = np.sort(np.random.default_rng(seed).permutation(num)[:kept])
    return jax.tree.map(lambda leaf: leaf[rows], data)
