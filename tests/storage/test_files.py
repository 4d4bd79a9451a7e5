import errno
import json
import os
import subprocess
import sys
import tracemalloc
import zipfile

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxopt_lab import training
from jaxopt_lab.core import InputError
from jaxopt_lab.storage import archives, files
from jaxopt_lab.storage.locks import locked

TREE = {"a": jnp.arange(5.0), "b": jnp.ones((2, 2), jnp.bfloat16)}
FACTS = {"chunk": 3}


@pytest.mark.parametrize(
    "name", ["../../../x", "/etc/passwd", "x" * 300, "a\0b", "..", "", ".hidden", "a/b", "κ", "CON "]
)
def test_any_name_becomes_one_part_of_a_path(name, tmp_path):
    part = files.file_name(name)
    assert 0 < len(part) <= 100
    assert (tmp_path / part).parent == tmp_path
    assert part not in (".", "..")
    (tmp_path / part).mkdir()


def test_names_that_differ_only_where_they_are_cut_stay_apart():
    assert files.file_name("x" * 300) != files.file_name("x" * 301)
    assert files.file_name("../x") != files.file_name("../../x")


def test_every_flipped_byte_of_an_archive_is_one_sentence_or_changes_nothing(tmp_path):
    path = tmp_path / "file.npz"
    archives.save(path, TREE, FACTS)
    whole, damaged = path.read_bytes(), 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x10]) + whole[place + 1 :])
        try:
            found = archives.load(path, TREE, FACTS)
        except InputError:
            damaged += 1
        else:
            chex.assert_trees_all_equal(found, jax.tree.map(np.asarray, TREE))
    assert damaged > len(whole) // 2


@pytest.mark.parametrize("length", [0, 1, 100, -1, -30])
def test_a_cut_archive_is_one_sentence(tmp_path, length):
    path = tmp_path / "file.npz"
    archives.save(path, TREE, FACTS)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match="cannot be read as a checkpoint"):
        archives.load(path, TREE)


def test_an_archive_says_whose_it_is(tmp_path):
    path = tmp_path / "file.npz"
    archives.save(path, TREE, FACTS)
    with pytest.raises(InputError, match="it belongs to another chunk: 3 in place of 4"):
        archives.load(path, TREE, {"chunk": 4})
    with pytest.raises(InputError, match=r"array 0 has the shape \(5,\) in place of \(6,\)"):
        archives.load(path, TREE | {"a": jnp.zeros(6)})
    with pytest.raises(InputError, match="it holds 2 arrays in place of 1"):
        archives.load(path, {"a": 0})


def bomb(path, size):
    """Half a megabyte that would unpack to `size` bytes, with the header of a sound file."""
    header = {"facts": {}, "leaves": [{"dtype": "float32", "shape": [size // 4]}]}
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez_compressed(
        path, **{"header": text, "leaf-0": np.zeros(size, np.uint8), "w": np.zeros(size // 4, np.float32)}
    )


def test_nothing_is_unpacked_before_its_size_is_known(tmp_path):
    path, size = tmp_path / "file.npz", 2**28
    bomb(path, size)
    assert path.stat().st_size < size / 400
    tracemalloc.start()
    with pytest.raises(InputError, match="compressed, which this package never writes"):
        archives.load(path, {"a": 0})
    with pytest.raises(InputError, match=r"w has shape \(67108864,\), the network's has \(3,\)"):
        training.load_params(path, {"w": jnp.zeros(3)})
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_a_member_that_lies_about_its_size_is_refused(tmp_path):
    path = tmp_path / "file.npz"
    with zipfile.ZipFile(path, "w") as archive, archive.open("w.npy", "w") as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (10**9,)})
    with zipfile.ZipFile(path) as archive, pytest.raises(ValueError, match="bytes in place of 4000000000"):
        archives.read_member(archive, "w.npy", None, None)


@pytest.mark.parametrize(("code", "wording"), [(errno.ENOSPC, "the disk is full"), (errno.EROFS, "cannot be written")])
def test_a_disk_that_fails_is_one_sentence_and_leaves_the_old_file_alone(tmp_path, monkeypatch, code, wording):
    path = tmp_path / "a.txt"
    files.write_text(path, "old")

    def failing(descriptor):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(InputError, match=wording):
        files.write_text(path, "new")
    assert [each.name for each in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_place_that_cannot_be_written_is_found_before_anything_is_computed(tmp_path, monkeypatch):
    files.require_writable(tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []  # a command that fails later leaves nothing behind
    (tmp_path / "kept").mkdir()
    files.require_writable(tmp_path / "kept")
    assert (tmp_path / "kept").is_dir()
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="file is a file"):
        files.require_writable(tmp_path / "file" / "results")
    with pytest.raises(InputError, match="is no name for a folder"):
        files.require_folders(files.Path("a\0b"))
    with pytest.raises(InputError, match=r"no name for a folder|cannot be written"):
        files.require_writable(tmp_path / ("x" * 300))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda place: type("Usage", (), {"free": 1000}))
    with pytest.raises(InputError, match="the disk is full"):
        files.require_writable(tmp_path)


def test_an_error_that_is_none_of_the_disk_stays_what_it_was(tmp_path):
    with pytest.raises(OSError, match="broken") as caught, files.disk_errors(tmp_path):
        raise OSError(errno.EIO, "broken")
    assert not isinstance(caught.value, InputError)


def test_a_folder_that_is_always_taken_away_is_an_error_in_the_end(tmp_path, monkeypatch):
    tries = []

    def opened(path, mode, encoding=None):
        tries.append(path)
        raise FileNotFoundError(errno.ENOENT, "gone", str(path))

    monkeypatch.setattr(files, "open", opened, raising=False)
    with pytest.raises(FileNotFoundError, match="gone"):
        files.opened(tmp_path / "folder" / "file", "w")
    assert 2 <= len(tries) < 100


def test_what_killed_processes_were_writing_is_removed_and_nothing_else(tmp_path):
    (tmp_path / "curves").mkdir()
    kept = [tmp_path / "study.json", tmp_path / ".lock", tmp_path / "notes.writing", tmp_path / "curves" / "seg.npz"]
    torn = [tmp_path / ".study.json.7-0.writing", tmp_path / "curves" / ".seg.npz.7-1.writing"]
    for path in (*kept, *torn):
        path.write_text("")
    files.remove_torn(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)


def test_what_is_set_aside_is_not_lost(tmp_path):
    path = tmp_path / "seg.npz"
    for number in (1, 2):
        path.write_text(str(number))
        assert files.set_aside(path).name == f"seg.npz.damaged-{number}"
    assert sorted(each.read_text() for each in tmp_path.iterdir()) == ["1", "2"]


@pytest.mark.parametrize(
    ("content", "wording"),
    [
        (b"", "Expecting value"),
        (b"\xff\xfe", "codec can't decode"),
        (b'{"a": NaN}', "NaN is no JSON"),
        (b"[" * 100_000, ""),
    ],
    ids=["empty", "no text", "not a number", "deep"],
)
def test_json_of_every_damage_is_one_sentence(tmp_path, content, wording):
    path = tmp_path / "study.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"cannot be read as a record .*{wording}") as caught:
        files.read_json(path, "a record")
    assert "\n" not in str(caught.value)


def test_a_lock_is_its_processs_and_ends_with_it(tmp_path):
    path = tmp_path / "locks" / "running"
    code = (
        "import pathlib, time; from jaxopt_lab.storage.locks import locked\n"
        f"with locked(pathlib.Path({str(path)!r}), 'x'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"the run: process {other.pid} works on it"), locked(path, "the run"):
            pass
        other.kill()
    with locked(path, "the run"):
        assert path.read_text() == str(os.getpid())
