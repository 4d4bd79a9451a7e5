"""Networks on images: digits and Fashion-MNIST."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from flax import nnx

from jaxopt_lab.core import Problem
from jaxopt_lab.core.errors import require_choice
from jaxopt_lab.datasets import fit_scaling, load_images
from jaxopt_lab.datasets.images import Images
from jaxopt_lab.networks import MLP
from jaxopt_lab.problems.assembly import Examples, accuracy, chosen_rows, network_problem


def image_problem(
    name: str, source: str, network: Callable[..., nnx.Module], *, criterion: str = "cross_entropy",
    scaling: str = "standardize", fraction: float = 0.8, num_examples: int | None = None, seed: int = 0,
    data_dir: str | None = None, dtype: str | None = None, **options: Any,
) -> Problem:  # fmt: skip
    """A classifier of images.

    Args:
      name: for tables and folders.
      source: "digits" or "fashion".
      network: `MLP`, `ConvNet` or `ResNet`.
      criterion: "cross_entropy", or "squared": 1/2 |z - one-hot|^2, the form that the edge of stability is studied on.
      scaling: a name of `datasets.SCALINGS`, fitted on the training pixels in [0, 1]; constant pixels stay in place.
      fraction: share of digits for training, in (0, 1]; 1 leaves no validation. Fashion-MNIST brings its own test set.
      num_examples: keep so many of the training examples, drawn at random; None for all.
      seed: seeds the split and the draw.
      data_dir: folder of the IDX files of "fashion"; None for the Debian package's.
      dtype: "float32", "float64" or "bfloat16"; None for the default float.
      **options: of the network.

    Returns:
      The problem, with the metric "accuracy".
    """
    require_choice(name, "criterion", criterion, ("cross_entropy", "squared"))
    training, test = load_images(source, data_dir)
    share = fraction if test is None else 1.0
    rows, others = chosen_rows(name, len(training), share, num_examples, seed)
    if test is None and len(others):
        test = training.take(others)
    training = training.take(rows)
    scale = fit_scaling(scaling, _flat(training), constant="keep")
    pairs = [None if part is None else (_prepared(part, scale), part.labels) for part in (training, test)]
    height, width = training.pixels.shape[1:]
    assert pairs[0] is not None
    examples = Examples(pairs[0], pairs[1], len(training.class_names))
    sizes = {"num_inputs": math.prod((height, width))} if network is MLP else {"num_channels": 1}
    return network_problem(
        name, network, {**sizes, "num_outputs": examples.num_outputs}, examples, criterion=criterion, dtype=dtype,
        options=options, metrics={"accuracy": accuracy},
    )  # fmt: skip


def _flat(images: Images) -> np.ndarray:
    return images.pixels.reshape(len(images), -1) / images.white


def _prepared(images: Images, scale: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Pixels [n, h, w, 1] after the preprocessing."""
    return scale(_flat(images)).astype(np.float64).reshape(*images.pixels.shape, 1)
