"""What a long search leaves behind: a file to continue from, and a forecast of what is still to come."""

import dataclasses
import os
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import InputError, fail, meshes
from jaxopt_lab.core.errors import reason
from jaxopt_lab.curvature import krylov
from jaxopt_lab.curvature.operators import Operator
from jaxopt_lab.curvature.projections import Projection
from jaxopt_lab.storage import archives
from jaxopt_lab.storage.fingerprints import fingerprint, is_reusable, program_of
from jaxopt_lab.storage.shared import SLOTS, first_says, newest_of_all, part_name, together

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
        self._like, self._written = operator.like, 0
        self._shared = path is not None and meshes.is_shared(operator.like)
        self._saved = time.monotonic()
        self._facts: dict[str, Any] = {}
        if path is not None:
            self._in_all(lambda: self._facts.update(size=operator.size, operator=_fingerprint(operator)))

    def load(self, num_rows: int) -> Projection | None:
        """The search that the file holds, or None when there is none.

        Args:
          num_rows: the most rows that the search may have.

        Raises:
          InputError: the file cannot be read, belongs to another operator, or holds more rows.
        """
        if self._path is None:
            return None
        path = self._newest()
        if path is None:
            return None
        self._written = 1 + self._paths().index(path)  # of two, the other one is written over first
        stored: list[Projection] = []
        self._in_all(lambda: stored.append(self._read(path, num_rows)))
        return stored[0]

    def _read(self, path: pathlib.Path, num_rows: int) -> Projection:
        """The search in one file; of arrays that several processes hold, the part of this one."""
        facts = archives.load_facts(path)
        if any(facts.get(name) != value for name, value in self._facts.items()):
            raise self._foreign("its loss, parameters or examples differ")
        if facts["num_rows"] > num_rows:
            raise self._foreign(f"it holds {facts['num_rows']} vectors, {num_rows} are allowed")
        basis = krylov.zero_basis(self._like, facts["basis_rows"])
        like = dict.fromkeys(_ARRAYS, 0) | {"basis": meshes.local_parts(basis), "key": 0}
        stored = archives.load(path, like)
        whole = meshes.from_local_parts(stored.pop("basis"), basis)
        basis = jax.tree.map(
            lambda leaf, place: leaf if meshes.is_shared(place) else jax.device_put(leaf, place.sharding), whole, basis
        )
        return Projection(basis=basis, **stored, **{name: facts[name] for name in _NUMBERS})

    def save(self, state: Projection, last: bool = False) -> None:
        """Writes the search to the file, when it is time; of several processes, when the first one's clock says so."""
        if self._path is None:
            return
        late = last or time.monotonic() - self._saved > _SECONDS
        if not (first_says(late) if self._shared else late):
            return
        tree = {name: getattr(state, name) for name in (*_ARRAYS, "basis", "key")}
        facts = {name: getattr(state, name) for name in (*_NUMBERS, "basis_rows")}
        paths = self._paths()
        archives.save(paths[self._written % len(paths)], meshes.local_parts(tree), facts | self._facts)
        self._saved, self._written = time.monotonic(), self._written + 1

    def _paths(self) -> list[pathlib.Path]:
        """The file; or the two that this process writes in turn, where several hold the arrays."""
        assert self._path is not None
        if not self._shared:
            return [self._path]
        return [self._path.with_name(f"{self._path.name}.{part_name()}.{slot}") for slot in range(SLOTS)]

    def _newest(self) -> pathlib.Path | None:
        """The file to go on from, or None."""
        there = [path for path in self._paths() if path.exists()]
        if not self._shared:
            return there[0] if there else None
        found: dict[int, pathlib.Path] = {}
        products = lambda path: int(archives.load_facts(path).get("products", 0))  # noqa: E731
        together("eigenpairs", lambda: found.update({products(path): path for path in there}))
        return newest_of_all(found)

    def _in_all(self, step: Callable[[], Any]) -> None:
        """Takes a step; where several processes hold the arrays, one that fails stops all."""
        if self._shared:
            together("eigenpairs", step)
        else:
            step()

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
