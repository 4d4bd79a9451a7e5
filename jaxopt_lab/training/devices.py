"""Devices: the persistent compilation cache, on by default for scripts, and a name for what a run ran on."""

import os
import pathlib

import jax


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
