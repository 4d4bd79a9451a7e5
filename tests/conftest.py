"""Four virtual CPU devices for the sharding laws, and a compilation cache so that a second run of the tests is quick."""

import os
import pathlib

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from jaxopt_lab.training import enable_compilation_cache

enable_compilation_cache(pathlib.Path(__file__).parents[1] / ".cache" / "xla")
