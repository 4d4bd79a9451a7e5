"""Text as windows of tokens: characters of a real text, and a Markov chain whose entropy rate is known exactly."""

import dataclasses
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from jaxopt_lab.core import fail
from jaxopt_lab.core.errors import require_between, require_count


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of tokens; a model reads the first `length` of each and predicts the last `length`.

    Attributes:
      name: what the text is.
      training: int32 [n, length + 1].
      validation: the same of other text.
      vocabulary: one symbol a token.
      sha256: of the text; empty for a procedural one.
      entropy_rate: the least loss that any predictor can have in expectation, nats a token; None where not known.
    """

    name: str
    training: np.ndarray
    validation: np.ndarray
    vocabulary: tuple[str, ...]
    sha256: str = ""
    entropy_rate: float | None = None


def load_text(path: str | os.PathLike[str] | None = None, *, length: int = 64, fraction: float = 0.9) -> Windows:
    """A text as windows of characters, which share one character with the next window and no more.

    Args:
      path: a file in UTF-8; None takes the topics of Python's own help, which differ from version to version (the
        digest says which one it was).
      length: characters that a model reads, >= 1.
      fraction: the share of the text, from its beginning, that is for training, in (0, 1).

    Returns:
      The windows; training and validation lie in different parts of the text.

    Raises:
      InputError: an argument is out of its range, the file cannot be read, or a part is shorter than a window.

    Example:
      >>> text = load_text(length=32)
      >>> text.training.shape[1], len(text.sha256)
      (33, 64)
    """
    require_count("load_text", "length", length)
    require_between("load_text", "fraction", fraction, 0, 1, ends="()")
    text = _read(path)
    vocabulary = tuple(sorted(set(text)))
    numbers = {symbol: k for k, symbol in enumerate(vocabulary)}
    tokens = np.fromiter((numbers[symbol] for symbol in text), np.int32, len(text))
    cut = round(fraction * len(tokens))
    training, validation = (_windows(part, length) for part in (tokens[:cut], tokens[cut:]))
    name = "pydoc topics" if path is None else pathlib.Path(path).name
    return Windows(name, training, validation, vocabulary, hashlib.sha256(text.encode()).hexdigest())


def markov_text(
    num_windows: int = 2000, *, vocabulary: int = 32, length: int = 32, exponent: float = 1.0, sharpness: float = 2.0,
    seed: int = 0,
) -> Windows:  # fmt: skip
    """Text of a Markov chain of order 1 whose words follow Zipf's law, and whose entropy rate is known.

        pi_i ~ i^-exponent,   J = diag(u) exp(sharpness N) diag(v) with marginals pi and pi,   P_ij = J_ij / pi_i
        entropy rate = -sum_ij J_ij log P_ij

    N is a matrix of normal numbers and u, v come from Sinkhorn's iteration. Each window is a chain of its own that
    starts from pi, so that the expected loss of the true model is the entropy rate at every position.

    Args:
      num_windows: windows for training, >= 1; a quarter as many, at least 1, for validation.
      vocabulary: number of words, >= 2.
      length: words that a model reads, >= 1.
      exponent: of Zipf's law, >= 0.
      sharpness: 0 makes words independent; larger makes the next one more certain; in [0, 10].
      seed: seeds the chain and the windows, >= 0.

    Returns:
      The windows, with `entropy_rate`.

    Raises:
      InputError: an argument is out of its range.

    Example:
      >>> uniform = markov_text(1, vocabulary=8, exponent=0.0, sharpness=0.0)
      >>> round(uniform.entropy_rate - 3 * float(np.log(2)), 12)
      0.0

    Reference: Zipf 1935; Cover and Thomas, Elements of information theory, 2006, theorem 4.2.4; Sinkhorn 1967.
    """
    where = "markov_text"
    require_count(where, "num_windows", num_windows)
    require_count(where, "vocabulary", vocabulary, 2)
    require_count(where, "length", length)
    require_between(where, "exponent", exponent, 0, np.inf, ends="[)")
    require_between(where, "sharpness", sharpness, 0, 10)
    require_count(where, "seed", seed, 0)
    generator = np.random.default_rng(seed)
    marginal = np.arange(1.0, vocabulary + 1) ** -exponent
    marginal /= marginal.sum()
    joint = _coupled(np.exp(sharpness * generator.normal(size=(vocabulary, vocabulary))), marginal)
    rates = joint / joint.sum(1, keepdims=True)
    entropy_rate = -float(np.sum(joint * np.log(rates)))
    training, validation = (
        _chains(generator, marginal, rates, num, length) for num in (num_windows, max(1, num_windows // 4))
    )
    words = tuple(map(str, range(vocabulary)))
    return Windows("markov", training, validation, words, entropy_rate=entropy_rate)


def _read(path: str | os.PathLike[str] | None) -> str:
    if path is None:
        from pydoc_data import topics

        entries: dict[str, Any] = topics.topics
        return "\n".join(entries[name] for name in sorted(entries))
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise fail("load_text", f"{path} cannot be read as text ({error})") from error


def _windows(tokens: np.ndarray, length: int) -> np.ndarray:
    num = (len(tokens) - 1) // length
    if num < 1:
        raise fail(
            "load_text", f"a part of the text has {len(tokens)} characters, and a window needs {length + 1}",
            "Take a smaller length or a longer text.",
        )  # fmt: skip
    return np.stack([tokens[k * length : (k + 1) * length + 1] for k in range(num)])


def _coupled(weights: np.ndarray, marginal: np.ndarray) -> np.ndarray:
    """The joint law diag(u) weights diag(v) with both marginals as given, to rounding."""
    joint = weights
    for _ in range(10_000):
        joint = joint * (marginal / joint.sum(0))
        rows = joint.sum(1)
        joint = joint * (marginal / rows)[:, None]
        if np.abs(rows / marginal - 1).max() < 1e-14:
            break
    return joint


def _chains(
    generator: np.random.Generator, marginal: np.ndarray, rates: np.ndarray, num: int, length: int
) -> np.ndarray:
    """Independent chains int32 [num, length + 1] that start from the stationary law."""
    bounds = np.cumsum(rates, axis=1)[:, :-1]
    tokens = np.empty((num, length + 1), np.int32)
    tokens[:, 0] = np.searchsorted(np.cumsum(marginal)[:-1], generator.random(num), side="right")
    for place in range(1, length + 1):
        tokens[:, place] = (generator.random(num)[:, None] >= bounds[tokens[:, place - 1]]).sum(1)
    return tokens
