"""Four virtual CPU devices for the sharding laws, programs that are compiled quickly, and a cache of them.

Most of the tests' time is compilation, and most of that is the optimization of programs that run for milliseconds: here
XLA optimizes less. XLA_FLAGS in the environment, with the same flags at other values, gives the programs that users run.
"""

import gc
import importlib.metadata
import os
import pathlib

import pytest

# A flag that jaxlib does not know ends the process: later ones have but one way to emit fusions. Of two equal flags the
# later one holds, so what the environment gives wins.
os.environ["XLA_FLAGS"] = " ".join(
    (
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false" if importlib.metadata.version("jaxlib").startswith("0.10.") else "",
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=4",
    )
)
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
