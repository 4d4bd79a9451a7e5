"""Linear models on tables, whose losses are convex, and networks on procedural signals."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxopt_lab.core import Problem, Truth
from jaxopt_lab.datasets import digit_signals, fit_scaling, load_table
from jaxopt_lab.datasets.tables import Table
from jaxopt_lab.problems.assembly import Examples, accuracy, chosen_rows, network_problem, positive_accuracy, r_squared


def table_problem(
    name: str, source: str, network: Callable[..., nnx.Module], criterion: str, *, scaling: str = "standardize",
    fraction: float = 0.8, num_examples: int | None = None, seed: int = 0, dtype: str | None = None,
) -> Problem:  # fmt: skip
    """A linear model on one of the tables that scikit-learn brings.

    Args:
      name: for tables and folders.
      source: a name of `datasets.TABLES`.
      network: `Linear`.
      criterion: "squared" (classes as one-hot vectors, numbers standardized by the training data), "cross_entropy", or
        "bernoulli".
      scaling: a name of `datasets.SCALINGS`, fitted on the training data; constant features are left out.
      fraction: share of the examples for training, in (0, 1]; 1 leaves no validation.
      num_examples: keep so many of the training examples, drawn at random; None for all.
      seed: seeds the split and the draw.
      dtype: "float32", "float64" or "bfloat16"; None for the default float.

    Returns:
      The problem. `truth` holds everything for "squared", else the bound on the curvature.
    """
    table = load_table(source)
    rows, others = chosen_rows(name, len(table), fraction, num_examples, seed)
    scale = fit_scaling(scaling, table.features[rows], table.feature_names)
    targets = table.targets
    if targets.dtype.kind == "f":
        targets = (targets - targets[rows].mean()) / targets[rows].std()
    inputs = scale(table.features)
    num_outputs = max(1, len(table.class_names)) if criterion != "bernoulli" else 1
    validation = (inputs[others], targets[others]) if len(others) else None
    examples = Examples((inputs[rows], targets[rows]), validation, num_outputs)
    metrics: dict[str, Any] = {"r_squared": r_squared} if not table.class_names else {"accuracy": accuracy}
    if criterion == "bernoulli":
        metrics = {"accuracy": positive_accuracy}
    return network_problem(
        name, network, {"num_inputs": inputs.shape[1], "num_outputs": num_outputs}, examples, criterion=criterion,
        dtype=dtype, options={}, metrics=metrics, truth=_truth(criterion, *examples.training, num_outputs),
    )  # fmt: skip


def signal_problem(
    name: str, source: str, network: Callable[..., nnx.Module], *, criterion: str = "cross_entropy",
    scaling: str = "standardize", fraction: float = 0.8, num_examples: int = 4000, length: int = 40,
    noise: float = 0.25, seed: int = 0, dtype: str | None = None, **options: Any,
) -> Problem:  # fmt: skip
    """A classifier of the one-dimensional digits of `datasets.digit_signals`.

    Args:
      name: for tables and folders.
      source: "signals".
      network: `MLP`.
      criterion: "cross_entropy" or "squared".
      scaling: a name of `datasets.SCALINGS`, fitted on the training data.
      fraction: share of the examples for training, in (0, 1]; 1 leaves no validation.
      num_examples: examples for training and validation together.
      length: samples a signal.
      noise: standard deviation of the smooth noise.
      seed: seeds the signals and the split.
      dtype: "float32", "float64" or "bfloat16"; None for the default float.
      **options: of the network.

    Returns:
      The problem, with the metric "accuracy".
    """
    del source
    table = digit_signals(num_examples, length=length, noise=noise, seed=seed)
    rows, others = chosen_rows(name, len(table), fraction, None, seed)
    scale = fit_scaling(scaling, table.features[rows])
    parts = [_rows(table, chosen, scale) for chosen in (rows, others)]
    examples = Examples(parts[0], parts[1] if len(others) else None, len(table.class_names))
    return network_problem(
        name, network, {"num_inputs": length, "num_outputs": examples.num_outputs}, examples, criterion=criterion,
        dtype=dtype, options=options, metrics={"accuracy": accuracy},
    )  # fmt: skip


def _rows(table: Table, rows: np.ndarray, scale: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return scale(table.features[rows]) if len(rows) else table.features[:0], table.targets[rows]


def _truth(criterion: str, inputs: np.ndarray, targets: np.ndarray, num_outputs: int) -> Truth:
    """What is known of a linear model with a bias unit, from the singular values of [X, 1] / sqrt(n).

    The Hessian of the squared loss is [X, 1]'[X, 1] / n for each output; that of the others is at most a quarter of it
    (bernoulli) or a half (cross entropy: the largest eigenvalue of diag(p) - pp').
    """
    num, dim = inputs.shape
    design = np.concatenate([inputs, np.ones((num, 1))], axis=1) / np.sqrt(num)
    left, singular, right = np.linalg.svd(design, full_matrices=False)
    largest = float(singular[0] ** 2)
    if criterion != "squared":
        return Truth(smoothness=largest * {"bernoulli": 0.25, "cross_entropy": 0.5}[criterion], index=0)
    wanted = np.eye(num_outputs)[targets] if targets.dtype.kind in "iu" else targets[:, None]
    kept = singular > np.finfo(np.float64).eps * max(design.shape) * singular[0]
    inverse = np.where(kept, 1 / np.where(kept, singular, 1), 0)
    weights = right.T @ (inverse[:, None] * (left.T @ (wanted / np.sqrt(num))))
    spectrum = np.zeros(dim + 1)
    spectrum[: len(singular)] = np.where(kept, singular, 0) ** 2
    residual = design @ weights - wanted / np.sqrt(num)
    return Truth(
        eigenvalues=jnp.asarray(np.sort(np.repeat(spectrum, num_outputs)), float),
        smoothness=largest,
        strong_convexity=float(spectrum.min()) or None,
        minimum=float(0.5 * np.sum(residual**2)),
        minimizer={"bias": jnp.asarray(weights[-1], float), "kernel": jnp.asarray(weights[:-1], float)},
        index=0,
    )
