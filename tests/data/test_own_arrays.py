"""Arrays of one's own are a data set, in memory or in a file."""

import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.data.own_arrays import content_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 2, 3))
Y = RNG.integers(0, 3, 30)


def test_arrays_are_what_they_were():
    found = fv.data.from_arrays(X, Y, "mine")
    np.testing.assert_array_equal(found.x, X.astype(np.float32))
    np.testing.assert_array_equal(found.y, Y)
    assert (found.y.dtype, found.name, found.is_test) == (np.int32, "mine", None)
    for labels in (Y.astype(np.uint8), Y.astype(float), Y[:, None], Y.tolist()):
        np.testing.assert_array_equal(fv.data.from_arrays(X, labels).y, Y)


def test_a_file_is_named_by_its_path(tmp_path):
    path = str(tmp_path / "mine.npz")
    np.savez(path, x=X, y=Y, is_test=Y == 0)
    found = fv.data.load(path)
    np.testing.assert_array_equal(found.x, X.astype(np.float32))
    np.testing.assert_array_equal(found.is_test, Y == 0)
    assert found.name == path
    pair = fv.data.binarise(found, [0], [1, 2])
    assert set(pair.y) == {-1, 1}
    np.savez(path, x=X, y=Y)
    assert content_of(fv.data.load(path)) != content_of(found)
    np.savez(path, x=X, z=Y)
    with pytest.raises(ValueError, match="got the arrays x, z; wanted x"):
        fv.data.load(path)
    with pytest.raises(ValueError, match="where no file is"):
        fv.data.load(str(tmp_path / "other.npz"))
    with pytest.raises(ValueError, match="Or the path of an .npz of your own"):
        fv.data.load("mine")


def test_inputs_of_any_range_need_no_preprocessing():
    np.testing.assert_array_equal(fv.data.preprocess(X, "none"), X.astype(np.float32))
    with pytest.raises(ValueError, match="try 'standardise' or 'none'"):
        fv.data.preprocess(X, "unit")


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:4], r"dataset.y: got shape \(4,\), wanted \(30,\)"),
        (X, Y + 0.5, "y: got float64 labels .*wanted class numbers"),
        (X, Y > 0, "y: got bool labels"),
        (X, Y * 2**40, "y: got labels up to"),
        (np.where(X > 0, np.nan, X), Y, "x: got .* NaN"),
        (Y, Y, "dataset.x: got shape"),
        ([["a"]], [1], "x: got"),
    ],
)
def test_bad_arrays_say_what_is_wanted(x, y, message):
    with pytest.raises(ValueError, match=message):
        fv.data.from_arrays(x, y)
