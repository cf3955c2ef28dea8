"""Draws of C classes: the same rows as of two, and wrong labels that are spread over the others."""

import jax
import numpy as np
import pytest
from scipy.stats import chi2

from flatvol_jax import data

KEY = jax.random.key(0)
CLASSES = 4
RNG = np.random.default_rng(0)
POOL = 3000
DIGITS = data.Dataset(
    np.arange(4000, dtype=np.float32)[:, None], RNG.integers(0, CLASSES, 4000), "made up"
)
TRUE = DIGITS.y


@pytest.fixture(scope="module")
def drawn():
    return data.draw(KEY, DIGITS, 300, POOL, 200, classes=CLASSES)


def test_the_rows_are_those_of_two_classes(drawn):
    two = DIGITS._replace(y=np.where(TRUE > 1, 1, -1))
    for part, other in zip(drawn, data.draw(KEY, two, 300, POOL, 200), strict=True):
        np.testing.assert_array_equal(part.index, other.index)
        assert part.y.dtype == np.int32
        assert other.y.dtype == np.int8


def test_all_labels_of_the_pool_are_wrong_and_uniform_among_the_others(drawn):
    for part in (drawn.train, drawn.test, drawn.second_test):
        np.testing.assert_array_equal(part.y, TRUE[part.index])
    step = (drawn.attack.y - TRUE[drawn.attack.index]) % CLASSES
    assert (step > 0).all()
    counts = np.array(
        [
            np.bincount(step[TRUE[drawn.attack.index] == c], minlength=CLASSES)[1:]
            for c in range(CLASSES)
        ]
    )
    expected = counts.sum(axis=1, keepdims=True) / (CLASSES - 1)
    assert chi2.sf(np.sum((counts - expected) ** 2 / expected), CLASSES * (CLASSES - 2)) > 1e-3


def test_a_larger_pool_begins_with_the_smaller_one_and_its_wrong_labels(drawn):
    smaller = data.draw(KEY, DIGITS, 300, 50, 200, classes=CLASSES)
    np.testing.assert_array_equal(smaller.attack.y, drawn.attack.y[:50])
    np.testing.assert_array_equal(smaller.attack.index, drawn.attack.index[:50])
    blocks = [
        data.disjoint_draw(KEY, DIGITS, i, 5, 100, 100, 100, 50, classes=CLASSES) for i in range(5)
    ]
    again = data.disjoint_draw(KEY, DIGITS, 1, 2, 100, 100, 100, 50, classes=CLASSES)
    np.testing.assert_array_equal(again.attack.y, blocks[1].attack.y)
    rows = np.concatenate([part.index for block in blocks for part in block[:3]])
    assert len(np.unique(rows)) == 5 * 300
    assert not np.isin(blocks[0].second_test.index, rows).any()


def test_two_classes_get_the_other_label():
    two = DIGITS._replace(y=TRUE % 2)
    attack = data.draw(KEY, two, 10, 40, 10, classes=2).attack
    np.testing.assert_array_equal(attack.y, 1 - two.y[attack.index])


def test_classes_are_numbered():
    gaps = data.numbered_classes(DIGITS._replace(y=3 * TRUE + 5))
    np.testing.assert_array_equal(gaps.y, TRUE)
    with pytest.raises(ValueError, match="only the class 5"):
        data.numbered_classes(DIGITS._replace(y=0 * TRUE + 5))


@pytest.mark.parametrize("y", [TRUE + 1, np.where(TRUE > 1, 1, -1), np.where(TRUE == 3, 0, TRUE)])
def test_other_labels_are_refused(y):
    with pytest.raises(ValueError, match=r"wanted each of 0\.\.3, as classes=4 says"):
        data.draw(KEY, DIGITS._replace(y=y), 10, 10, 10, classes=CLASSES)
    with pytest.raises(ValueError, match="classes: got 1"):
        data.draw(KEY, DIGITS._replace(y=y), 10, 10, 10, classes=1)
    with pytest.raises(ValueError, match="has 4000 of 4 classes"):
        data.draw(KEY, DIGITS, 3000, 1000, 1000, classes=CLASSES)
