"""The parts of a draw: disjoint, uniform, and none moved by the size of a later one."""

import jax
import numpy as np
import pytest

from flatvol_jax.data import Dataset, attack_indices, draw

N = 60
RANDOM = np.random.default_rng(0)
DATASET = Dataset(
    RANDOM.random((N, 3), np.float32), RANDOM.choice(np.array([-1, 1], np.int8), N), "noise"
)
KEY = jax.random.key(7)


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_parts_are_disjoint_rows_of_the_dataset():
    result = draw(KEY, DATASET, 20, 10, 15)
    assert [len(part.y) for part in result] == [20, 10, 15, 15]
    assert np.array_equal(np.sort(np.concatenate([part.index for part in result])), np.arange(N))
    for part in result:
        assert np.array_equal(part.x, DATASET.x[part.index])
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int8)
    for part in (result.train, result.test, result.second_test):
        assert np.array_equal(part.y, DATASET.y[part.index])


def test_attack_labels_are_flipped():
    attack = draw(KEY, DATASET, 20, 10, 15).attack
    assert np.array_equal(attack.y, -DATASET.y[attack.index])


def test_second_test_size_moves_nothing_else():
    whole = draw(KEY, DATASET, 20, 10, 15)
    some = draw(KEY, DATASET, 20, 10, 15, second_test_size=4)
    none = draw(KEY, DATASET, 20, 10, 15, second_test_size=0)
    for other in (some, none):
        assert all(same(a, b) for a, b in zip(whole[:3], other[:3], strict=True))
    assert np.array_equal(some.second_test.index, whole.second_test.index[:4])
    assert none.second_test.x.shape == (0, 3)


def test_larger_pool_begins_with_the_smaller_and_moves_neither_train_nor_test():
    small, large = draw(KEY, DATASET, 20, 5, 15), draw(KEY, DATASET, 20, 25, 15)
    assert same(small.train, large.train)
    assert same(small.test, large.test)
    assert np.array_equal(small.attack.index, large.attack.index[:5])


def test_all_examples_may_be_used_up():
    result = draw(KEY, DATASET, 30, 10, 20)
    assert len(result.second_test.y) == 0
    assert len(draw(KEY, DATASET, 30, 0, 20, 10).attack.y) == 0


def test_key_decides_whatever_the_x64_setting():
    first = draw(KEY, DATASET, 20, 10, 15)
    with jax.enable_x64(True):
        second = draw(jax.random.key(7), DATASET, 20, 10, 15)
    assert all(same(a, b) for a, b in zip(first, second, strict=True))
    other = draw(jax.random.key(8), DATASET, 20, 10, 15)
    assert not np.array_equal(first.train.index, other.train.index)


def test_every_example_is_as_likely_in_every_part():
    trials, sizes = 400, (3, 2, 4, 1)
    small = Dataset(DATASET.x[:10], DATASET.y[:10], "ten")
    hits = np.zeros((4, 10))
    for key in jax.random.split(KEY, trials):
        for part, split in enumerate(draw(key, small, *sizes)):
            hits[part, split.index] += 1
    chance = np.array(sizes)[:, None] / 10
    # Binomial; 40 counts, so 4 standard deviations are exceeded once in 400 such tests.
    assert np.all(abs(hits - trials * chance) < 4 * np.sqrt(trials * chance * (1 - chance)))


@pytest.mark.parametrize("second", [None, 8])
def test_request_larger_than_the_data_lists_the_parts(second):
    with pytest.raises(ValueError, match="examples asked") as caught:
        draw(KEY, DATASET, 40, 15, 10, second)
    total = 65 + (second or 0)
    parts = f"train_size 40 + test_size 10 + attack_pool_size 15 + second_test_size {second or 0}"
    assert f"{parts} = {total} examples asked, 'noise' has 60" in str(caught.value)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 1, 1), "train_size"),
        ((1, -1, 1), "attack_pool_size"),
        ((1, 1, 2.5), "test_size"),
        ((1, 1, 1, -1), "second_test_size"),
    ],
)
def test_sizes_that_are_no_counts(sizes, message):
    with pytest.raises(ValueError, match=message):
        draw(KEY, DATASET, *sizes)


def test_classes_not_yet_binarised():
    with pytest.raises(ValueError, match="binarise"):
        draw(KEY, DATASET._replace(y=np.arange(N)), 1, 1, 1)


def test_infinite_inputs():
    with pytest.raises(ValueError, match="NaN or infinite"):
        draw(KEY, DATASET._replace(x=np.full((N, 3), np.inf)), 1, 1, 1)


@pytest.mark.parametrize("key", [0, None, jax.random.split(KEY, 2)])
def test_no_single_key(key):
    with pytest.raises(ValueError, match="wanted one JAX random key"):
        draw(key, DATASET, 1, 1, 1)


def test_traced_key():
    with pytest.raises(ValueError, match="got a JAX tracer"):
        jax.jit(lambda key: draw(key, DATASET, 1, 1, 1))(KEY)


def test_raw_key_is_the_same_key():
    raw = draw(jax.random.PRNGKey(7), DATASET, 20, 10, 15)
    assert same(raw.train, draw(KEY, DATASET, 20, 10, 15).train)


def test_nested_attack_is_the_first_of_the_pool():
    assert np.array_equal(attack_indices(None, 50, 20), np.arange(20))
    assert len(attack_indices(KEY, 50, 0)) == 0


def test_redrawn_attack_is_a_draw_without_replacement():
    first = attack_indices(KEY, 50, 20, nested=False)
    assert len(np.unique(first)) == 20
    assert first.min() >= 0
    assert first.max() < 50
    assert np.array_equal(first, attack_indices(KEY, 50, 20, nested=False))
    assert set(first) != set(attack_indices(jax.random.key(8), 50, 20, nested=False))
    assert set(attack_indices(KEY, 50, 50, nested=False)) == set(range(50))


@pytest.mark.parametrize("nested", [True, False])
def test_attack_larger_than_the_pool(nested):
    with pytest.raises(ValueError, match="at most the 50 of the pool"):
        attack_indices(KEY, 50, 51, nested)
