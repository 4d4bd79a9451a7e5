"""Batches on their way into steps: a thread reads the next ones while the device is busy, pass after pass.

A run over batches has the loop "step"; every configuration takes the same ones. What its probes see is a fixed sample
of the data, so that a record costs the same however many there are.
"""

import dataclasses
import queue
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import jax
import jax.numpy as jnp

from jaxopt_lab.core import Problem, fail
from jaxopt_lab.core.batches import Batches, sampled

_AHEAD = 2


def feeding_of(where: str, problem: Problem, batch_size: int | None) -> tuple[Problem, Batches | None, str]:
    """The problem on a fixed sample, the batches of which steps take one each, and what was drawn.

    Args:
      where: who asks, for the error.
      problem: what is minimized.
      batch_size: that was asked for.

    Returns:
      The problem itself, None and "" where its data are arrays.

    Raises:
      InputError: the data come in batches, and another batch size was given.
    """
    if not isinstance(problem.data, Batches):
        return problem, None, ""
    own = problem.data.batch_size
    if batch_size not in (None, own):
        raise fail(
            where, f"batch_size {batch_size} was given, and the data of {problem.name} come in batches of {own}",
            "Leave it out, or let the data give batches of that size.",
        )  # fmt: skip
    arrays, text = sampled(problem.name, problem.data)
    return dataclasses.replace(problem, data=arrays), problem.data, text


def on_a_sample(where: str, problem: Problem, batch_size: int | None) -> tuple[Problem, int | None, str]:
    """The problem on a fixed sample of its data, the batch size, which is that of its batches, and what was drawn.

    Args:
      where: who asks, for the error.
      problem: any.
      batch_size: that was asked for.

    Returns:
      All as it was given, and "", where the data are arrays.

    Raises:
      InputError: as `feeding_of`.
    """
    problem, batches, drawn = feeding_of(where, problem, batch_size)
    return problem, batch_size if batches is None else min(batches.batch_size, problem.num_examples or 1), drawn


class Feed:
    """Batches on the device, one for each step; a context manager, which ends its thread.

    Args:
      batches: where they come from.
      skip: steps that are done already, whose batches are read and left.
    """

    def __init__(self, batches: Batches, skip: int = 0) -> None:
        self._batches, self._skip = batches, skip
        self._queue: queue.Queue[Any] = queue.Queue(_AHEAD)
        self._stopped, self._wide = threading.Event(), bool(jax.config.read("jax_enable_x64"))
        self._thread = threading.Thread(target=self._read, name="batches", daemon=True)

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get_nowait()
        self._thread.join()

    def take(self) -> Any:
        """The next batch.

        Raises:
          InputError: as the batches.
        """
        batch = self._queue.get()
        if isinstance(batch, BaseException):
            raise batch
        return batch

    def _read(self) -> None:
        """In the thread, whose precision is that of the one that made it: JAX's setting is a thread's own."""
        try:
            with jax.enable_x64(self._wide):
                for number, batch in enumerate(self._passes()):
                    if self._stopped.is_set() or (
                        number >= self._skip and not self._put(jax.tree.map(jnp.asarray, batch))
                    ):
                        return
        except BaseException as error:
            self._put(error)

    def _passes(self) -> Iterator[Any]:
        while True:
            yield from self._batches()

    def _put(self, value: Any) -> bool:
        """Waits for a place; False once no batch is taken any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(value, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
