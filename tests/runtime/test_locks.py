import os
import subprocess
import sys

import pytest

from flatvol_jax.runtime.locks import folder_lock

OTHER = """
import sys
from flatvol_jax.runtime.locks import folder_lock

with folder_lock(sys.argv[1], sys.argv[2] or None):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def another(tmp_path):
    """Another process that holds the folder, or a shard of it; ends with the test."""
    started = []

    def hold(shard=""):
        process = subprocess.Popen(
            [sys.executable, "-c", OTHER, str(tmp_path), shard],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()


def test_a_held_folder_is_refused_and_the_holder_named(another, tmp_path):
    process = another()
    with (
        pytest.raises(ValueError, match=rf"in use by another process.*\"pid\": {process.pid}"),
        folder_lock(tmp_path),
    ):
        raise AssertionError
    with pytest.raises(ValueError, match="--shard=0/2"), folder_lock(tmp_path, "0-of-2"):
        raise AssertionError


def test_other_shards_go_together_and_the_same_one_does_not(another, tmp_path):
    another("0-of-2")
    with folder_lock(tmp_path, "1-of-2"):
        with pytest.raises(ValueError, match="in use"), folder_lock(tmp_path, "0-of-2"):
            raise AssertionError
        with pytest.raises(ValueError, match="in use"), folder_lock(tmp_path):
            raise AssertionError


def test_a_killed_holder_holds_no_longer(another, tmp_path):
    process = another()
    process.kill()
    process.wait()
    with folder_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / ".lock").read_text()


def test_it_is_free_again_after_the_block(tmp_path):
    for _ in range(2):
        with folder_lock(tmp_path):
            assert str(os.getpid()) in (tmp_path / ".lock").read_text()
