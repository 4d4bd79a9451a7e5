"""Devices: the persistent compilation cache, on by default for scripts, what a run runs on, and its name."""

import functools
import os
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from jaxopt_lab.core import fail


def enable_compilation_cache(folder: str | os.PathLike[str] | None = None) -> pathlib.Path:
    """Keeps compiled programs on disk, so that a second process starts its first step at once.

    Args:
      folder: where; defaults to the environment's JAX_COMPILATION_CACHE_DIR, else jaxopt_lab under the user's
        cache folder.

    Returns:
      The folder in use.
    """
    home = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache"))
    chosen = pathlib.Path(folder or os.environ.get("JAX_COMPILATION_CACHE_DIR") or home / "jaxopt_lab" / "xla")
    jax.config.update("jax_compilation_cache_dir", str(chosen))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return chosen


def device_kind() -> str:
    """The kind of the default device, with the number of such devices when there are several."""
    devices = jax.devices()
    return devices[0].device_kind + (f" x {len(devices)}" if len(devices) > 1 else "")


def choose_devices(where: str, devices: int | None, usual: int) -> int:
    """The number of local devices that was asked for, or the usual one.

    Raises:
      InputError: there are not so many.
    """
    local = len(jax.local_devices())
    if devices is not None and devices > local:
        raise fail(where, f"devices must be at most {local}, got {devices}", "There are no more here.")
    return devices or usual


def device_mesh(num_devices: int) -> Mesh | None:
    """The first local devices as a mesh of one axis; None for a single one."""
    return Mesh(np.array(jax.local_devices()[:num_devices]), ("configurations",)) if num_devices > 1 else None


def measure_bandwidth(dim: int, repeats: int = 9) -> float:
    """Bytes per second of a jitted, donated x * a + y on float32 vectors [d]: what memory gives in this process.

    Args:
      dim: d; take it as large as the arrays in question.
      repeats: timed calls; the median counts.

    Returns:
      12 d bytes (two read, one written) over the median time.
    """
    update = functools.partial(jax.jit, donate_argnums=0)(lambda x, y: x * jnp.float32(0.999) + y)
    x, y = jnp.zeros(dim, jnp.float32), jnp.ones(dim, jnp.float32)
    seconds = []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        x = jax.block_until_ready(update(x, y))
        seconds.append(time.perf_counter() - began)
    return 12 * dim / float(np.median(seconds[2:]))
