"""Draws that share no example, a common E2, and inputs that are left out."""

import jax
import numpy as np
import pytest

from flatvol_jax.data import Dataset, binarise, disjoint_draw, leave_out

N = 100
RANDOM = np.random.default_rng(0)
IS_TEST = RANDOM.permutation(np.arange(N) < 20)
DATASET = Dataset(
    RANDOM.random((N, 3), np.float32), RANDOM.choice(np.array([-1, 1], np.int8), N), "noise"
)
WITH_TEST = DATASET._replace(is_test=IS_TEST)
KEY = jax.random.key(7)


def rows(draw):
    """Return the rows of S, pool and E1."""
    return np.concatenate([part.index for part in draw[:3]])


def test_draws_share_no_example_and_none_of_the_test_split():
    draws = [disjoint_draw(KEY, WITH_TEST, i, 4, 8, 5, 7) for i in range(4)]
    used = np.concatenate([rows(draw) for draw in draws])
    assert len(np.unique(used)) == len(used) == 4 * 20
    assert not IS_TEST[used].any()
    for draw in draws:
        assert [len(part.y) for part in draw] == [8, 5, 7, 20]
        assert np.array_equal(np.sort(draw.second_test.index), np.flatnonzero(IS_TEST))
        assert np.array_equal(draw.attack.y, -WITH_TEST.y[draw.attack.index])


def test_without_a_test_split_the_last_rows_are_the_common_e2():
    draws = [disjoint_draw(KEY, DATASET, i, 3, 8, 5, 7, 40) for i in range(3)]
    used = np.concatenate([rows(draw) for draw in draws])
    assert len(np.unique(used)) == 60
    for draw in draws:
        assert np.array_equal(draw.second_test.index, draws[0].second_test.index)
        assert not np.intersect1d(draw.second_test.index, used).size


def test_the_number_of_draws_moves_no_example():
    for dataset in (WITH_TEST, DATASET):
        few, many = (disjoint_draw(KEY, dataset, 1, draws, 8, 5, 7, 20) for draws in (2, 4))
        for one, other in zip(few, many, strict=True):
            np.testing.assert_array_equal(one.index, other.index)


def test_too_many_draws_say_how_many_fit():
    with pytest.raises(ValueError, match=r"draws: got 5 draws .* 20 examples each.* at most 4"):
        disjoint_draw(KEY, WITH_TEST, 0, 5, 8, 5, 7)
    with pytest.raises(ValueError, match=r"second_test_size: got None.*no test split"):
        disjoint_draw(KEY, DATASET, 0, 2, 8, 5, 7)
    with pytest.raises(ValueError, match=r"second_test_size: got 21, wanted at most the 20"):
        disjoint_draw(KEY, WITH_TEST, 0, 2, 8, 5, 7, 21)
    with pytest.raises(ValueError, match=r"number: got 2, wanted 0 to 1"):
        disjoint_draw(KEY, WITH_TEST, 2, 2, 8, 5, 7)


def test_inputs_of_another_set_are_left_out():
    seen = Dataset(DATASET.x[10:30], DATASET.y[10:30], "seen")
    left = leave_out(WITH_TEST, seen)
    kept = np.r_[0:10, 30:N]
    np.testing.assert_array_equal(left.x, DATASET.x[kept])
    np.testing.assert_array_equal(left.y, DATASET.y[kept])
    np.testing.assert_array_equal(left.is_test, IS_TEST[kept])
    with pytest.raises(ValueError, match="every input"):
        leave_out(seen, DATASET)
    with pytest.raises(ValueError, match=r"seen: got inputs of shape \(2,\)"):
        leave_out(DATASET, seen._replace(x=seen.x[:, :2]))


def test_two_groups_of_classes_keep_the_split():
    classes = WITH_TEST._replace(y=np.arange(N, dtype=np.int32) % 4)
    binary = binarise(classes, (0,), (2,))
    np.testing.assert_array_equal(binary.is_test, IS_TEST[::2])


def test_a_split_of_another_length_is_refused():
    with pytest.raises(ValueError, match=r"dataset.is_test: got bool of shape \(99,\)"):
        leave_out(DATASET._replace(is_test=IS_TEST[:-1]), DATASET)
