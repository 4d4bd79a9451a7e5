"""One-dimensional digits: a procedural stand-in for images that a linear model cannot read, as small as one likes.

Ten fixed templates; an example is one of them, scaled, put at a random place, sheared, and buried in smooth and white
noise. Where the pattern sits says nothing about its class, and so a classifier must learn to ignore the place.
"""

import numpy as np
from scipy.ndimage import gaussian_filter1d

from jaxopt_lab.core.errors import require_between, require_count
from jaxopt_lab.datasets.tables import Table

NUM_CLASSES = 10
_TEMPLATE_LENGTH = 12
_NUM_WAVES = 6


def templates() -> np.ndarray:
    """The ten patterns, float64 [10, 12]: smooth curves of mean square 1 that rise from 0 and return to it."""
    generator = np.random.default_rng(2002)
    place = np.arange(_TEMPLATE_LENGTH) / (_TEMPLATE_LENGTH - 1)
    waves = np.sin(np.pi * np.arange(1, _NUM_WAVES + 1)[:, None] * place)
    curves = generator.normal(size=(NUM_CLASSES, _NUM_WAVES)) @ waves
    return curves / np.sqrt(np.mean(curves**2, axis=1, keepdims=True))


def digit_signals(num_examples: int = 4000, *, length: int = 40, noise: float = 0.25, seed: int = 0) -> Table:
    """Signals in ten classes, as many of each as can be.

    Args:
      num_examples: n >= 1.
      length: samples a signal, >= 24.
      noise: standard deviation of the smooth noise; the white noise has a tenth of it, the slope twice; >= 0.
      seed: seeds everything but the templates, >= 0.

    Returns:
      The table, features [n, length].

    Raises:
      InputError: an argument is out of its range.

    Example:
      >>> table = digit_signals(20)
      >>> table.features.shape, np.bincount(table.targets).tolist()
      ((20, 40), [2, 2, 2, 2, 2, 2, 2, 2, 2, 2])

    Reference: the recipe follows Greydanus and Kobak, Scaling down deep learning with MNIST-1D, 2024, section 3; the
    templates are others.
    """
    require_count("digit_signals", "num_examples", num_examples)
    require_count("digit_signals", "length", length, 2 * _TEMPLATE_LENGTH)
    require_between("digit_signals", "noise", noise, 0, np.inf, ends="[)")
    require_count("digit_signals", "seed", seed, 0)
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.arange(num_examples) % NUM_CLASSES)
    starts = generator.uniform(0, length - _TEMPLATE_LENGTH, num_examples)
    scales = generator.uniform(0.8, 1.2, num_examples)
    position = np.arange(length)
    patterns = templates()
    signals = np.stack([
        scale * np.interp(position - start, np.arange(_TEMPLATE_LENGTH), patterns[label], left=0, right=0)
        for label, start, scale in zip(labels, starts, scales, strict=True)
    ])  # fmt: skip
    smooth = gaussian_filter1d(generator.normal(size=signals.shape), 2.0, axis=1)
    slope = 2 * generator.normal(size=(num_examples, 1)) * (position / (length - 1) - 0.5)
    white = 0.1 * generator.normal(size=signals.shape)
    features = signals + noise * (smooth / smooth.std() + slope + white)
    names = tuple(f"sample {k}" for k in range(length))
    return Table("signals", features, labels.astype(np.int64), names, tuple(map(str, range(NUM_CLASSES))))
