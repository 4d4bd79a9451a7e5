"""What a long search leaves behind: a file to continue from, and a forecast of what is still to come."""

import dataclasses
import os
import pathlib
import time

import jax
import numpy as np

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import reason
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.projections import Projection
from jaxopt_lab.storage import archives
from jaxopt_lab.storage.fingerprints import fingerprint, is_reusable, program_of

_SECONDS = 30.0
_ARRAYS = ("matrix", "coupling", "neglected")
_NUMBERS = ("count", "num_rows", "products", "scale", "complete")


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a search is.

    Attributes:
      products: products made.
      forecast: products expected in all, from the decay of the slowest residual; None before it can be told.
      residual: the largest residual among the wanted pairs over what is allowed; at most 1 at the end.
      seconds: seconds spent.
      seconds_left: forecast of the seconds still needed, or None.
    """

    products: int
    forecast: int | None
    residual: float
    seconds: float
    seconds_left: float | None


class Clock:
    """Times a search and forecasts its end from the decay of its residuals."""

    def __init__(self, products: int) -> None:
        self._began, self._first, self._history = time.monotonic(), products, []

    def forecast(self, products: int, residual: float, limit: int) -> Progress:
        """The progress after one more product."""
        seconds = time.monotonic() - self._began
        if np.isfinite(residual) and residual > 0:
            self._history.append((products, np.log(residual)))
        expected = self._expected(products, limit)
        each = seconds / max(products - self._first, 1)
        left = None if expected is None else each * max(expected - products, 0)
        return Progress(products, expected, residual, seconds, left)

    def _expected(self, products: int, limit: int) -> int | None:
        recent = self._history[-16:]
        if len(recent) < 4:
            return None
        products_made, logarithms = np.transpose(recent)
        slope, at_zero = np.polyfit(products_made, logarithms, 1)
        return int(min(limit, max(products, np.ceil(-at_zero / slope)))) if slope < 0 else limit


class Journal:
    """Saves a search every half minute, and finds it again."""

    def __init__(self, path: str | os.PathLike[str] | None, operator: Operator) -> None:
        """A file of an operator's search, or no file.

        Raises:
          InputError: nothing tells whether a search is this operator's.
        """
        self._path = None if path is None else pathlib.Path(path)
        self._like = operator.like
        self._saved = time.monotonic()
        self._facts = {} if path is None else {"size": operator.size, "operator": _fingerprint(operator)}

    def load(self, num_rows: int) -> Projection | None:
        """The search that the file holds, or None when there is none.

        Args:
          num_rows: the most rows that the search may have.

        Raises:
          InputError: the file cannot be read, belongs to another operator, or holds more rows.
        """
        if self._path is None or not self._path.exists():
            return None
        facts = archives.load_facts(self._path)
        if any(facts.get(name) != value for name, value in self._facts.items()):
            raise self._foreign("its loss, parameters or examples differ")
        if facts["num_rows"] > num_rows:
            raise self._foreign(f"it holds {facts['num_rows']} vectors, {num_rows} are allowed")
        basis = krylov.zero_basis(self._like, facts["basis_rows"])
        stored = archives.load(self._path, dict.fromkeys(_ARRAYS, 0) | {"basis": basis, "key": 0})
        basis = jax.tree.map(lambda leaf, place: jax.device_put(leaf, place.sharding), stored.pop("basis"), basis)
        return Projection(basis=basis, **stored, **{name: facts[name] for name in _NUMBERS})

    def save(self, state: Projection, last: bool = False) -> None:
        """Writes the search to the file, when it is time."""
        if self._path is None or not (last or time.monotonic() - self._saved > _SECONDS):
            return
        tree = {name: getattr(state, name) for name in (*_ARRAYS, "basis", "key")}
        facts = {name: getattr(state, name) for name in (*_NUMBERS, "basis_rows")}
        archives.save(self._path, tree, facts | self._facts)
        self._saved = time.monotonic()

    def _foreign(self, why: str) -> InputError:
        return fail(
            str(self._path), f"this search belongs to another operator or request ({why})",
            "Remove the file to begin anew, or name another one.",
        )  # fmt: skip


def _fingerprint(operator: Operator) -> str:
    """What tells two operators apart: the program of a product, the arrays in it and the examples.

    Raises:
      InputError: the product cannot be traced.
    """
    chunks, examples = operator.examples, ()
    try:
        if operator.program is None or chunks is None:
            program = program_of(operator.product, operator.like)
        else:
            program = program_of(operator.program, operator.like, next(iter(chunks))[0])
            examples = jax.tree.leaves(chunks.source) if chunks.resident else chunks.sum_of_hashes()
    except Exception as error:
        raise _unseen(operator, f"its product cannot be traced {reason(error)}") from error
    digits = fingerprint(program, examples)
    if not is_reusable(digits):
        raise _unseen(operator, digits)
    return digits


def _unseen(operator: Operator, why: str) -> InputError:
    return fail(
        operator.name, f"nothing tells whether a stored search is this operator's: {why}",
        "Leave out `checkpoint`, or write the product in JAX.",
    )  # fmt: skip
