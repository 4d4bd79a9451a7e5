"""Four virtual CPU devices for the sharding laws, and a compilation cache so that a second run of the tests is quick."""

import gc
import os
import pathlib

import pytest

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# NumPy's and SciPy's threads wait for each other by spinning: of two test processes on two cores that costs half.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax

from jaxopt_lab.training import enable_compilation_cache

enable_compilation_cache(pathlib.Path(__file__).parents[1] / ".cache" / "xla")


def pytest_collection_finish():
    """What was imported stays: the garbage collector need not look through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def programs_are_freed():
    """A compiled program holds several memory maps, of which Linux grants a process 65,530: enough for half of the tests.

    A process that holds thousands of programs also compiles the next one more slowly, by a third in some folders.
    """
    yield
    jax.clear_caches()
