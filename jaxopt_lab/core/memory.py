"""`available_memory`: how many bytes a device can still give, asked before a large array is made."""

import pathlib

import jax


def available_memory() -> int:
    """Bytes that the default device can still give; on a CPU, what the system and the container's limit leave.

    Reference: the MemAvailable estimate of proc(5), and memory.max of cgroups(7).
    """
    device = jax.devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    return available_host_memory()


def available_host_memory() -> int:
    """Bytes that the system and the container's limit leave to the host."""
    return min(_system_memory(), _container_memory())


def _system_memory() -> int:
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return 2**63
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 2**63)


def _container_memory() -> int:
    group = pathlib.Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
        return 2**63 if limit == "max" else int(limit) - int(used)
    except (OSError, ValueError):
        return 2**63
