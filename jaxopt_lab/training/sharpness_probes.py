"""Probes of how sharp the loss is along the steps of a run: `run(..., probes=[sharpness_probes.directional()])`.

    directional   u'Hu / u'u                       along the last update, all examples
    batch         E[g_B' H_B g_B / |g_B|^2]        over batches, each along its own gradient

Both are taken at the parameters after the step, with the loss without a key. A run is at its edge of stability where
the first, for all examples a step, or the second, for batches, stands at 2 / learning_rate.

Reference: Andreyev and Beneventano 2024, Edge of stochastic stability, arXiv 2412.20553.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxopt_lab.core import fail, meshes, vectors
from jaxopt_lab.core.errors import require_count
from jaxopt_lab.core.leaves import count_examples
from jaxopt_lab.curvature import sharpness
from jaxopt_lab.training.probes import Observation, Probe


def directional() -> Probe:
    """The curvature of the loss along the last update; NaN where that is zero, as before the first step.

    Cost: a Hessian product, one more vector.

    Example:
      >>> from jaxopt_lab import objectives, rules, training
      >>> bowl = objectives.quadratic([4.0, 1.0], start=1.0)
      >>> trace = training.run(
      ...     bowl, rules.sgd, {"learning_rate": 0.25}, steps=2, probes=[training.loss(), directional()]
      ... )
      >>> [f"{float(value):.3f}" for value in trace["directional_sharpness"][0]]  # 65 / 17, then (0, 1) is left
      ['nan', '3.824', '1.000']
    """
    return Probe("directional_sharpness", _directional, needs=("updates",))


def batch(batch_size: int, num_batches: int = 8, seed: int = 0) -> Probe:
    """The mean over batches of the curvature along their own gradients, and its standard error, shape [2].

    Args:
      batch_size: examples a batch, drawn without replacement; fewer than there are.
      num_batches: batches, at least 2; the same ones at each record.
      seed: of their draw.

    Returns:
      The probe, "batch_sharpness"; NaN where a batch has no gradient. Cost: a gradient and a product of each batch.

    Raises:
      InputError: an argument out of its range; in a run, too few examples.
    """
    require_count("batch_sharpness", "batch_size", batch_size)
    require_count("batch_sharpness", "num_batches", num_batches, 2, "A standard error takes two.")
    require_count("batch_sharpness", "seed", seed, 0)
    return Probe("batch_sharpness", _OverBatches(batch_size, num_batches, seed))


def _directional(seen: Observation) -> jax.Array:
    curvature = sharpness.along(seen.loss, seen.params, seen.updates)
    return jnp.where(vectors.largest(seen.updates) > 0, curvature, jnp.nan)


@dataclasses.dataclass(frozen=True)
class _OverBatches:
    """The `sums` of the probe `batch`."""

    batch_size: int
    num_batches: int
    seed: int

    def __call__(self, seen: Observation) -> jax.Array:
        num_examples = count_examples(seen.data, "batch_sharpness", "data") or 0
        if self.batch_size >= num_examples:
            raise fail(
                "batch_sharpness", f"batch_size must be below the {num_examples} examples, got {self.batch_size}",
                "For all examples take the probe `directional`.",
            )  # fmt: skip
        generator = np.random.default_rng(self.seed)
        rows = [generator.choice(num_examples, self.batch_size, replace=False) for _ in range(self.num_batches)]

        def curvature(members: jax.Array) -> jax.Array:
            batch = meshes.take(seen.data, members)
            value, _, largest = sharpness.along_gradient(lambda point: seen.loss_on(point, batch), seen.params)
            return jnp.where(largest > 0, value, jnp.nan)

        values = jax.lax.map(curvature, jnp.asarray(np.stack(rows)))
        return jnp.stack([jnp.mean(values), jnp.std(values, ddof=1) / np.sqrt(self.num_batches)])
