"""The cache of arrays: computed once, again where it is damaged, and never in the way."""

import errno
import os
import warnings

import numpy as np
import pytest

from flatvol_jax.runtime.cache import cached_arrays


@pytest.fixture
def compute():
    def compute():
        compute.calls += 1
        return {"x": np.arange(3)}

    compute.calls = 0
    return compute


def test_what_is_there_is_not_computed(tmp_path, compute):
    for _ in range(2):
        np.testing.assert_array_equal(cached_arrays(tmp_path, {"n": 3}, compute)["x"], [0, 1, 2])
    assert compute.calls == 1


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b"short", lambda b: b""])
def test_a_damaged_file_is_named_and_replaced(tmp_path, compute, damage):
    cached_arrays(tmp_path, {"n": 3}, compute)
    (stored,) = tmp_path.iterdir()
    whole = stored.read_bytes()
    stored.write_bytes(damage(whole))
    with pytest.warns(UserWarning, match=f"^{stored}: damaged, computed again.$"):
        cached_arrays(tmp_path, {"n": 3}, compute)
    cached_arrays(tmp_path, {"n": 3}, compute)
    assert compute.calls == 2
    assert stored.read_bytes() == whole


def test_a_folder_that_cannot_be_written_is_said_once(tmp_path, compute, monkeypatch):
    def refuse(_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", refuse)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # what a program shows
        for n in range(3):
            np.testing.assert_array_equal(cached_arrays(tmp_path, n, compute)["x"], [0, 1, 2])
    said = f"{tmp_path}: cannot be written (No space left on device); what is computed is not kept"
    assert [str(w.message) for w in caught] == [f"{said} there."]
    assert list(tmp_path.iterdir()) == []
