import numpy as np
import pytest

from flatvol_jax.runtime import files
from flatvol_jax.runtime.cache import cached_arrays
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


def test_the_cache_computes_once_and_again_where_it_is_damaged(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.arange(3)}

    for _ in range(2):
        np.testing.assert_array_equal(cached_arrays(tmp_path, {"n": 3}, compute)["x"], [0, 1, 2])
    assert len(calls) == 1
    (stored,) = tmp_path.iterdir()
    stored.write_bytes(b"short")
    cached_arrays(tmp_path, {"n": 3}, compute)
    cached_arrays(tmp_path, {"n": 3}, compute)
    assert len(calls) == 2


def test_hashes_see_values_dtypes_and_shapes_but_not_the_order_of_names():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": 2})
    zeros = np.zeros(4, np.float32)
    others = [zeros.astype(np.float64), zeros.reshape(2, 2), zeros + 1]
    assert len({array_hash(zeros), *map(array_hash, others)}) == 4
