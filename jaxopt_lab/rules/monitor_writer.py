"""The records of a `Monitor` sent on while training: to TensorBoard, to Weights & Biases, or to any function.

    writer.add_scalar(name, value, step)     a TensorBoard SummaryWriter, of any of its packages
    writer.log({name: value}, step=step)     a run of Weights & Biases
    writer(step, {name: value})              anything else

A writer that fails ends the writing, never the training: what went wrong is told once, through `logging`.
"""

import logging
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxopt_lab.core import fail

_LOGGER = logging.getLogger("jaxopt_lab.monitor")
_SENT = ("loss", "gradient_norm", "update_norm", "params_norm", "cosine", "sharpness", "edge")

Send = Callable[[int, Mapping[str, float]], None]


def send_to(writer: Any) -> Send:
    """The function that hands a step and its numbers to a writer.

    Raises:
      InputError: it is none of the three kinds.

    Example:
      >>> send_to(lambda step, numbers: print(step, dict(numbers)))(10, {"monitor/loss": 0.5})
      10 {'monitor/loss': 0.5}
    """
    if hasattr(writer, "add_scalar"):

        def add(step: int, numbers: Mapping[str, float]) -> None:
            for name, each in numbers.items():
                writer.add_scalar(name, each, step)

        return add
    if hasattr(writer, "log"):
        return lambda step, numbers: writer.log(dict(numbers), step=step)
    if callable(writer):
        return writer
    raise fail(
        "Monitor", f"writer must have add_scalar or log, or be a function, got {type(writer).__name__}",
        "Give a SummaryWriter, a run of wandb.init(), or a function of (step, numbers).",
    )  # fmt: skip


class Records:
    """Sends records on from inside of a compiled step.

    Args:
      writer: as `send_to` takes it.
      fields: names of a record's entries, in their order.
    """

    def __init__(self, writer: Any, fields: tuple[str, ...]) -> None:
        self._send, self._fields, self._failed = send_to(writer), fields, False

    def emit(self, due: jax.Array, step: jax.Array, record: jax.Array) -> None:
        """Sends a record where it is due; runs of a sweep, which share their steps, send one each."""
        jax.lax.cond(due, lambda: jax.debug.callback(self._write, due, step, record), lambda: None)

    def _write(self, due: Any, step: Any, record: Any) -> None:
        if self._failed or not bool(due):  # side by side, both branches of a condition are taken
            return
        entries = zip(self._fields, np.asarray(record, float).tolist(), strict=True)
        numbers = {f"monitor/{name}": each for name, each in entries if name in _SENT and math.isfinite(each)}
        try:
            self._send(int(step), numbers)
        except Exception as error:
            self._failed = True
            _LOGGER.warning(
                "the writer of a Monitor failed, nothing more is written: %s: %s", type(error).__name__, error
            )
