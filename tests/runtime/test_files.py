import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from flatvol_jax.runtime import files
from flatvol_jax.runtime.hashing import array_hash, content_hash


def test_arrays_come_back_and_damage_is_named(tmp_path):
    path = tmp_path / "a" / "arrays.npz"
    files.write_arrays(path, {"x": np.arange(5.0)})
    np.testing.assert_array_equal(files.read_arrays(path)["x"], np.arange(5.0))
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(ValueError, match="not a whole .npz"):
        files.read_arrays(path)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "arrays.npz"
    files.write_arrays(path, {"x": np.zeros(1000)})
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match="not a whole .npz"):
        files.read_arrays(path)


def test_nothing_half_written_is_left_and_no_pickle_is_made(tmp_path):
    with pytest.raises(ValueError, match="no pickle"):
        files.write_arrays(tmp_path / "bad.npz", {"x": np.array([{}])})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "bad.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space is left .*Free some.*the same command resumes"),
        (errno.EDQUOT, "no space is left .*Free some.*the same command resumes"),
        (errno.EROFS, "the place cannot be written .*the same command resumes"),
        (errno.EACCES, "the place cannot be written .*the same command resumes"),
        (errno.EPERM, "the place cannot be written .*the same command resumes"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_a_disk_that_is_full_or_forbidden_is_said_and_leaves_nothing(
    tmp_path, monkeypatch, number, said, call
):
    path = tmp_path / "row.json"
    files.write_json(path, {"x": 1})

    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os if call == "fsync" else Path, call, refuse)
    if call == "mkdir":
        monkeypatch.setattr(os, "makedirs", refuse)
    with pytest.raises(files.StorageError, match=said) as caught:
        files.write_json(path, {"x": 2})
    monkeypatch.undo()
    assert str(path) in str(caught.value)
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert [p.name for p in tmp_path.iterdir()] == ["row.json"]
    assert json.loads(path.read_text()) == {"x": 1}


def test_other_errors_and_interrupts_come_as_they_are_and_leave_nothing(tmp_path, monkeypatch):
    for error in (KeyboardInterrupt(), MemoryError(), OSError(errno.EIO, "bad disk")):

        def refuse(*_, error=error):
            raise error

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(type(error)) as caught:
            files.write_bytes(tmp_path / "a", b"x")
        assert caught.value is error
        assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_sync_is_written_nevertheless(tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EINVAL, "no sync")

    monkeypatch.setattr(os, "fsync", refuse)
    files.write_bytes(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_file_larger_than_allowed_leaves_nothing(tmp_path):
    """A real failure half-way: the system refuses the second half of the file."""
    code = (
        "import resource, signal, sys; from flatvol_jax.runtime import files\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: files.write_bytes(sys.argv[1], bytes(2000))\n"
        "except OSError: sys.exit(3)"
    )
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a")], check=False)
    assert run.returncode == 3
    assert list(tmp_path.iterdir()) == []


def test_parts_have_names_of_their_own_in_one_process(tmp_path, monkeypatch):
    """As two hosts on one file system that have the same process id."""
    names = []

    def interrupted(part, path):
        names.append(part.name)
        if len(names) == 1:
            files.write_bytes(path, b"second")
        real(part, path)

    real = Path.replace
    monkeypatch.setattr(Path, "replace", interrupted)
    files.write_bytes(tmp_path / "a", b"first")
    assert len(set(names)) == 2
    assert (tmp_path / "a").read_bytes() == b"first"
    assert len(list(tmp_path.iterdir())) == 1


def test_only_parts_that_are_older_than_a_day_are_removed(tmp_path):
    old, new, other = (
        tmp_path / "units" / name for name in (".a.json.1.part", ".b.json.2.part", "c.part")
    )
    for path in (old, new, other):
        files.write_bytes(path, b"x")
    for path in (old, other):
        os.utime(path, (time.time() - 90_000,) * 2)
    assert files.remove_stale_parts(tmp_path) == 1
    assert {path.name for path in old.parent.iterdir()} == {new.name, other.name}
    assert files.remove_stale_parts(tmp_path / "missing") == 0


def test_whatever_is_done_to_the_bytes_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "arrays.npz"
    arrays = {"x": np.arange(3.0), "y": np.ones((2, 2), np.int8)}
    files.write_arrays(path, arrays)
    content = path.read_bytes()
    damaged = [content[:end] for end in range(0, len(content), 7)]
    for place in range(len(content)):
        for bit in (1, 128):
            flipped = bytes([content[place] ^ bit])
            damaged.append(content[:place] + flipped + content[place + 1 :])
    noticed = 0
    for foreign in damaged:
        path.write_bytes(foreign)
        try:
            found = files.read_arrays(path)
        except ValueError:
            noticed += 1
        else:  # a date in the archive, say, or a name
            for name in found.keys() & arrays.keys():
                np.testing.assert_array_equal(found[name], arrays[name])
    assert noticed > len(damaged) / 2


def test_a_single_array_is_no_archive(tmp_path):
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(ValueError, match="not a whole .npz"):
        files.read_arrays(tmp_path / "x.npy")


def test_hashes_see_values_dtypes_and_shapes_but_not_the_order_of_names():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    zeros = np.zeros(4, np.float32)
    others = [zeros.astype(np.float64), zeros.reshape(2, 2), zeros + 1]
    assert len({array_hash(zeros), *map(array_hash, others)}) == 4
