import json
import os
import subprocess
import sys
import time

import pytest

from jaxopt_lab.core import InputError
from jaxopt_lab.storage import claims
from jaxopt_lab.storage.claims import Claims
from jaxopt_lab.storage.locks import locked


def taken(by, pieces=("a", "b", "c"), most=1):
    """What a worker gets when it asks for pieces."""
    with by.choosing() as (held, mine):
        mine += [piece for piece in pieces if piece not in held][:most]
    return mine


def test_what_one_worker_has_no_other_gets_until_it_asks_again(tmp_path):
    with Claims(tmp_path) as one, Claims(tmp_path) as two:
        assert (taken(one), taken(two), taken(two)) == (["a"], ["b"], ["b"])
        assert taken(one, ["b", "c"]) == ["c"]  # what it had is given back
        assert taken(two) == ["a"]


def test_what_a_worker_had_is_free_when_it_ends(tmp_path):
    with Claims(tmp_path) as two:
        with Claims(tmp_path) as one:
            assert taken(one, most=3) == ["a", "b", "c"]
            assert taken(two) == []
        assert taken(two) == ["a"]


def test_what_a_dead_process_had_is_free_at_once(tmp_path):
    text = (
        "import pathlib, time; from jaxopt_lab.storage.claims import Claims\n"
        f"with Claims(pathlib.Path({str(tmp_path)!r})) as one, one.choosing() as (held, mine): mine += ['a']\n"
        f"with Claims(pathlib.Path({str(tmp_path)!r})) as one:\n"
        "    with one.choosing() as (held, mine): mine += ['a']\n"
        "    print('has it', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "has it\n"
        with Claims(tmp_path) as two:
            assert taken(two, ["a"]) == []
            other.kill()
            other.wait()
            assert taken(two, ["a"]) == ["a"]
    assert list((tmp_path / "locks" / "workers").iterdir()) == []


def test_of_another_machine_the_heartbeat_tells(tmp_path):
    """Its lock says nothing here, so that only the age of its file counts, by the disk's clock."""
    with Claims(tmp_path, patience=60.0) as mine:
        other = tmp_path / "locks" / "workers" / "elsewhere-1-0"
        other.touch()
        (tmp_path / "locks" / "claims.json").write_text(json.dumps({"a": "elsewhere-1-0"}))
        assert taken(mine, ["a"]) == []
        old = time.time() - 61
        os.utime(other, (old, old))
        assert taken(mine, ["a"]) == ["a"]


def test_a_worker_beats_and_one_that_was_taken_for_dead_appears_again(tmp_path):
    with Claims(tmp_path, patience=0.2) as mine:
        (file,) = (tmp_path / "locks" / "workers").iterdir()
        before = file.stat().st_mtime_ns
        time.sleep(0.3)
        assert file.stat().st_mtime_ns > before
        file.unlink()
        assert taken(mine) == ["a"]
        with pytest.raises(InputError, match="works on it"), locked(file, "x"):
            pass


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 3}', '{"a": "../../x"}', '{"a": null}'])
def test_claims_that_cannot_be_read_hold_nothing(text, tmp_path):
    with Claims(tmp_path) as mine:
        (tmp_path / "locks" / "claims.json").write_text(text)
        assert taken(mine) == ["a"]


def test_a_disk_without_locks_is_said_plainly(tmp_path, monkeypatch):
    def refused(file, operation):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(claims.fcntl, "flock", refused)
    with (
        pytest.raises(InputError, match=r"grants no lock \(Function not implemented\)\. Take a disk that does"),
        Claims(tmp_path),
    ):
        pass
