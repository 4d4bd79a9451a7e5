"""The memory that is left, from files of a system made by hand."""

import types

import pytest

from jaxopt_lab.core import memory

UNKNOWN = 2**63


@pytest.fixture
def system(monkeypatch, tmp_path):
    """Writes a file of the system, which has none but these."""
    monkeypatch.setattr(memory, "pathlib", types.SimpleNamespace(Path=lambda name: tmp_path / name.strip("/")))

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


@pytest.mark.parametrize(
    ("limit", "left"), [("5000", 3000), ("max", 8 * 1024), ("200000", 8 * 1024), ("unclear", 8 * 1024), (None, 8 * 1024)]
)  # fmt: skip
def test_the_system_and_the_container_each_leave_a_part_and_the_smaller_counts(limit, left, system):
    system("proc/meminfo", "MemTotal: 16 kB\nMemAvailable: 8 kB\n")
    if limit is not None:
        system("sys/fs/cgroup/memory.max", f"{limit}\n")
        system("sys/fs/cgroup/memory.current", "2000\n")
    assert memory.available_memory() == memory.available_host_memory() == left


def test_a_system_that_says_nothing_sets_no_limit(system):
    assert memory.available_memory() == UNKNOWN
    system("proc/meminfo", "MemTotal: 16 kB\n")
    assert memory.available_memory() == UNKNOWN


@pytest.mark.parametrize(
    ("stats", "left"), [({"bytes_limit": 100, "bytes_in_use": 30}, 70), ({"bytes_limit": 100}, 100), (None, 8192)]
)
def test_a_device_tells_what_it_has_and_uses(stats, left, system, monkeypatch):
    system("proc/meminfo", "MemAvailable: 8 kB\n")
    device = types.SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(memory, "jax", types.SimpleNamespace(devices=lambda: [device]))
    assert memory.available_memory() == left
