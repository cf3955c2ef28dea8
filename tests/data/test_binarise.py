"""Two groups of classes become -1 and +1; everything else is left out."""

import numpy as np
import pytest

from flatvol_jax.data import GROUPS, Dataset, binarise

# One-pixel "images" whose value is the class, in a scrambled order.
CLASSES = np.random.default_rng(0).permutation(np.repeat(np.arange(10), 6))
DATASET = Dataset(CLASSES[:, None].astype(np.float32) / 10, CLASSES, "tenths")


@pytest.mark.parametrize("name", GROUPS)
def test_named_groups(name):
    negative, positive = GROUPS[name]
    result = binarise(DATASET, negative, positive)
    expected = [
        (x, -1 if label in negative else 1)
        for x, label in zip(DATASET.x[:, 0], CLASSES, strict=True)
        if label in negative + positive
    ]
    assert [*zip(result.x[:, 0], result.y, strict=True)] == expected
    assert (result.x.dtype, result.y.dtype, result.name) == (np.float32, np.int8, "tenths")


def test_groups_are_the_papers():
    assert GROUPS["mnist_halves"] == (tuple(range(5)), tuple(range(5, 10)))
    assert len(binarise(DATASET, *GROUPS["mnist_halves"]).y) == len(CLASSES)
    assert len(binarise(DATASET, *GROUPS["cars_cats"]).y) == 12


def test_exchanged_groups_flip_every_label():
    one, other = binarise(DATASET, (0, 7), [4]), binarise(DATASET, np.array([4]), {7, 0})
    assert np.array_equal(one.y, -other.y)
    assert np.array_equal(one.x, other.x)


@pytest.mark.parametrize(
    ("negative", "positive", "message"),
    [
        ((), (1,), "negative: got no class"),
        ((1,), (), "positive: got no class"),
        ((1, 2), (2, 3), r"class\(es\) \[2\] are in both groups"),
        ((1,), (11, 3), r"positive: class\(es\) \[11\] have no examples"),
        ((1.5,), (3,), "negative: got .* wanted class numbers"),
        ("one", (3,), "negative: got .* wanted class numbers"),
    ],
)
def test_bad_groups(negative, positive, message):
    with pytest.raises(ValueError, match=message):
        binarise(DATASET, negative, positive)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": np.where(CLASSES == 3, np.nan, 0.5)[:, None]}, "6 NaN or infinite entries"),
        ({"x": CLASSES / 10}, "at least two dimensions"),
        ({"x": DATASET.x[:-1]}, "one label a row"),
        ({"y": CLASSES.astype(float)}, "wanted integers"),
        ({"x": np.empty((0, 1)), "y": np.empty(0, int)}, "no examples"),
    ],
)
def test_bad_dataset(changes, message):
    with pytest.raises(ValueError, match=message):
        binarise(DATASET._replace(**changes), (0,), (3,))
