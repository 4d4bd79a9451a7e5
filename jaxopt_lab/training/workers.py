"""Workers: the processes of any executor, to which one function is sent that lets each of them take part in the work.

An executor is what has `submit(function, *args)` and gives something with `done()` and `result()`: those of
`concurrent.futures`, Dask's `Client.get_executor()`, submitit's. What is to be done, and what is done, stands in a
folder that all of them share; so nothing comes back from a worker but whether it came to its end.
"""

import concurrent.futures
import contextlib
import dataclasses
import importlib
import multiprocessing
import os
import pickle
import platform
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax

from jaxopt_lab.core import InputError, fail
from jaxopt_lab.core.errors import reason
from jaxopt_lab.training.execution import Execution

_LOOKS_SECONDS = 0.2
_SETTINGS = (
    "jax_default_matmul_precision", "jax_default_prng_impl", "jax_threefry_partitionable", "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Workers:
    """Workers that are to be sent a function.

    Attributes:
      where: who asks, for the errors.
      count: how many.
      executor: whose they are; None starts processes on this machine.
      function: of a module, called in each worker with `arguments`; what it returns is not looked at.
      arguments: name -> value.
    """

    where: str
    count: int
    executor: Any
    function: Callable[..., Any]
    arguments: Mapping[str, Any]

    def work(self, log: Callable[[str], None], look: Callable[[], None]) -> None:
        """Lets them work, until each has come to an end; what they have not begun is called off on the way out.

        Args:
          log: gets a line where a worker fails and others do not.
          look: called now and then, to tell how far the work is.

        Raises:
          InputError: the function cannot be sent, the executor takes nothing, a worker raised one, or none came to its
            end.
        """
        task = Task(self.function, dict(self.arguments), _settings(), _here())
        with _executor(self.executor) as executor:
            futures: list[Any] = []
            try:
                for _ in range(self.count):
                    futures.append(self._submitted(executor, task))
                while not all(future.done() for future in futures):
                    look()
                    time.sleep(_LOOKS_SECONDS)
                look()
            finally:
                for future in futures:
                    if not future.done():
                        future.cancel()
        self._judge([error for error in map(_error_of, futures) if error is not None], log)

    def _submitted(self, executor: Any, task: "Task") -> Any:
        try:
            return executor.submit(task)
        except Exception as error:
            if _is_unpicklable(error):
                raise self._unsent(error) from error
            remedy = "Look whether its scheduler is up; nothing finished is lost."
            raise fail(self.where, f"{type(executor).__name__} takes no work {reason(error)}", remedy) from error

    def _judge(self, errors: list[BaseException], log: Callable[[str], None]) -> None:
        for error in errors:
            if _is_unpicklable(error):
                raise self._unsent(error) from error
            if isinstance(error, InputError):
                raise error
        if errors and len(errors) == self.count:
            remedy = "What is finished is kept; the same call continues."
            raise fail(self.where, f"no worker came to its end {reason(errors[0])}", remedy) from errors[0]
        if errors:
            log(f"{len(errors)} of {self.count} workers failed, and the others did their part: {reason(errors[0])}")

    def _unsent(self, error: BaseException) -> InputError:
        return fail(
            self.where, f"the problem or a rule cannot be sent to another process {reason(error)}",
            'Name it as "module:function", in quotes: then each worker makes its own.',
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Task:
    """A function that is called in a worker under the settings of JAX that its sender has.

    Attributes:
      function: of a module.
      arguments: name -> value.
      settings: name -> value, of `jax.config`.
      sender: the process that sends it, in which they hold already.
    """

    function: Callable[..., Any]
    arguments: dict[str, Any]
    settings: dict[str, Any]
    sender: str

    def __call__(self) -> None:
        """Calls the function."""
        settings = dict(self.settings)
        wide = settings.pop("jax_enable_x64")
        mine = {name: getattr(jax.config, name) for name in settings}
        changed = (
            {} if _here() == self.sender else {name: settings[name] for name in mine if settings[name] != mine[name]}
        )
        with jax.enable_x64(wide):
            try:
                for name, value in changed.items():
                    jax.config.update(name, value)
                self.function(**self.arguments)
            finally:
                for name in changed:
                    jax.config.update(name, mine[name])

    def checkpoint(self) -> Any:
        """What submitit queues again where a job's time is over: the same, since the folder knows what is done."""
        return importlib.import_module("submitit.helpers").DelayedSubmission(self)


def team(
    where: str, execution: Execution, folder: Path | None, function: Callable[..., Any],
    arguments: Mapping[str, Any],
) -> Workers | None:  # fmt: skip
    """The workers that were asked for, if any.

    Args:
      where: who asks, for the errors.
      execution: the executor, and how many, where it says so.
      folder: what they share; they get it as an absolute path, by the name `folder`.
      function: of a module.
      arguments: of the function, besides.

    Returns:
      The workers; None where neither an executor nor a number of workers was given.

    Raises:
      InputError: it is no executor, it does not tell how many workers it has, or there is no folder.
    """
    executor = execution.executor
    if executor is None and execution.workers is None:
        return None
    if executor is not None and not callable(getattr(executor, "submit", None)):
        remedy = "Give one of concurrent.futures, Dask's client.get_executor(), or submitit's AutoExecutor."
        raise fail(where, f"an executor has submit(), got {type(executor).__name__}", remedy)
    count = execution.workers or getattr(executor, "_max_workers", None)
    if count is None:
        remedy = "Give execution=Execution(workers=N)."
        raise fail(where, f"{type(executor).__name__} does not tell how many workers it has", remedy)
    if folder is None:
        raise fail(where, "workers need a folder that they share", "Give out=...")
    return Workers(where, int(count), executor, function, {"folder": folder.absolute(), **arguments})


class _Processes:
    """Processes on this machine, each a pool of its own, so that one that is killed leaves the others alone."""

    def __init__(self) -> None:
        self._pools: list[concurrent.futures.ProcessPoolExecutor] = []

    def submit(self, task: Task) -> Any:
        self._pools.append(concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")))
        return self._pools[-1].submit(task)

    def end(self) -> None:
        """Ends them all; one that is still at work, because its sender was stopped, too."""
        for pool in self._pools:
            for process in dict(getattr(pool, "_processes", None) or {}).values():
                process.terminate()
            pool.shutdown(wait=False, cancel_futures=True)


@contextlib.contextmanager
def _executor(given: Any) -> Iterator[Any]:
    """The executor that was given; or one of our own, ended with the block."""
    if given is not None:
        yield given
        return
    own = _Processes()
    try:
        yield own
    finally:
        own.end()


def _error_of(future: Any) -> BaseException | None:
    try:
        future.result()
    except (Exception, concurrent.futures.CancelledError) as error:
        return error
    return None


def _is_unpicklable(error: BaseException) -> bool:
    """Whether an error is one of the three kinds in which Python says that a value cannot be pickled."""
    told = isinstance(error, TypeError | AttributeError) and "pickle" in str(error)
    return told or isinstance(error, pickle.PicklingError)


def _settings() -> dict[str, Any]:
    return {name: getattr(jax.config, name) for name in (*_SETTINGS, "jax_enable_x64")}


def _here() -> str:
    return f"{platform.node()}-{os.getpid()}"
