"""The transformer on characters of a real text and on a Markov chain with a known entropy rate."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxopt_lab.core import Problem
from jaxopt_lab.core.problem import Batch
from jaxopt_lab.datasets import load_text, markov_text
from jaxopt_lab.datasets.text import Windows
from jaxopt_lab.networks.criteria import CRITERIA
from jaxopt_lab.problems.assembly import Examples, accuracy, chosen_rows, network_problem


def text_problem(
    name: str, source: str, network: Callable[..., nnx.Module], *, length: int = 64, fraction: float = 0.9,
    text: str | None = None, num_examples: int | None = None, seed: int = 0, dtype: str | None = None, **options: Any,
) -> Problem:  # fmt: skip
    """The next character, from those before it.

    Args:
      name: for tables and folders.
      source: "text".
      network: `Transformer`.
      length: characters that the model reads.
      fraction: share of the text, from its beginning, for training, in (0, 1).
      text: a file in UTF-8; None for the topics of Python's help.
      num_examples: keep so many of the training windows, drawn at random; None for all.
      seed: seeds the draw.
      dtype: "float32", "float64" or "bfloat16"; None for the default float.
      **options: of the network.

    Returns:
      The problem, with the metric "accuracy"; its loss is in nats a character, and its name ends in the first digits of
      the text's sha256, as the text decides the result.
    """
    del source
    windows = load_text(text, length=length, fraction=fraction)
    rows, _ = chosen_rows(name, len(windows.training), 1.0, num_examples, seed)
    windows = dataclasses.replace(windows, training=windows.training[rows])
    return _problem(f"{name}-{windows.sha256[:8]}", network, windows, length, dtype, options)


def markov_problem(
    name: str, source: str, network: Callable[..., nnx.Module], *, num_examples: int = 2000, vocabulary: int = 32,
    length: int = 32, exponent: float = 1.0, sharpness: float = 2.0, seed: int = 0, dtype: str | None = None,
    **options: Any,
) -> Problem:  # fmt: skip
    """The next word of a Markov chain, from those before it.

    Args:
      name: for tables and folders.
      source: "markov".
      network: `Transformer`.
      num_examples: windows for training.
      vocabulary: number of words.
      length: words that the model reads.
      exponent: of Zipf's law.
      sharpness: how certain the next word is.
      seed: seeds the chain and the windows.
      dtype: "float32", "float64" or "bfloat16"; None for the default float.
      **options: of the network.

    Returns:
      The problem, with the metrics "accuracy" and "excess": loss minus entropy rate, nats a word, which on validation
      data no model can bring below 0, but for the chance of the draw.
    """
    del source
    windows = markov_text(
        num_examples, vocabulary=vocabulary, length=length, exponent=exponent, sharpness=sharpness, seed=seed
    )
    return _problem(name, network, windows, length, dtype, options)


@dataclasses.dataclass(frozen=True)
class Excess:
    """Cross entropy minus the entropy rate."""

    entropy_rate: float

    def __call__(self, model: Any, batch: Batch) -> jax.Array:
        """Nats a token."""
        inputs, targets = batch
        return CRITERIA["cross_entropy"](model(inputs), targets) - self.entropy_rate


def _problem(
    name: str, network: Callable[..., nnx.Module], windows: Windows, length: int, dtype: str | None, options: Any
) -> Problem:
    training, validation = ((part[:, :-1], part[:, 1:]) for part in (windows.training, windows.validation))
    sizes = {"vocabulary": len(windows.vocabulary), "length": length}
    metrics: dict[str, Any] = {"accuracy": accuracy}
    if windows.entropy_rate is not None:
        metrics["excess"] = Excess(windows.entropy_rate)
    examples = Examples(training, validation, len(windows.vocabulary))
    return network_problem(
        name, network, sizes, examples, criterion="cross_entropy", dtype=dtype, options=options, metrics=metrics
    )
