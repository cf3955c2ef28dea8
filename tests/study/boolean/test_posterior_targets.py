import jax
import numpy as np
import pytest

from flatvol_jax import data
from flatvol_jax.models import FCN
from flatvol_jax.sampling import draw_functions, most_frequent
from flatvol_jax.study.boolean.posterior_targets import target_labels, train_rows

X = data.load("boolean7").x


@pytest.fixture(scope="module")
def draws():
    return draw_functions(jax.random.key(0), FCN((8,), 1.0, 0.1), X[:20], 50)


def test_formulas_on_every_input(draws):
    for name, rule in {
        "first_bit": lambda bits: bits[0],
        "and": lambda bits: bits[0] and bits[1],
        "majority": lambda bits: sum(bits) >= 4,
    }.items():
        labels = target_labels(name, X, draws)
        assert labels.dtype == np.int8
        assert labels.tolist() == [1 if rule(bits) else -1 for bits in X.tolist()]
        np.testing.assert_array_equal(target_labels(name, 2 * X - 1, draws), labels)


def test_rank_is_the_place_in_the_direct_sample(draws):
    functions = most_frequent(draws).functions
    for rank in (0, 3, len(functions) - 1):
        np.testing.assert_array_equal(target_labels(f"rank_{rank}", X[:20], draws), functions[rank])
    with pytest.raises(ValueError, match=f"a rank up to {len(functions) - 1}"):
        target_labels(f"rank_{len(functions)}", X[:20], draws)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("majorty", "and, first_bit, majority, rank_K. Did you mean 'majority'"),
        ("rank_K", "a number in the place of K"),
        ("rank_-1", "wanted one of"),
    ],
)
def test_unknown_names_are_refused_with_the_choices(draws, name, message):
    with pytest.raises(ValueError, match=message):
        target_labels(name, X[:20], draws)


def test_train_rows_are_distinct_nested_and_fixed_by_the_key():
    key = jax.random.key(3)
    rows = train_rows(key, 128, 64)
    assert len(np.unique(rows)) == 64
    assert set(rows) <= set(range(128))
    np.testing.assert_array_equal(rows[:32], train_rows(key, 128, 32))
    assert set(rows) != set(train_rows(jax.random.key(4), 128, 64))
    for size in (0, 128):
        with pytest.raises(ValueError, match="train_size"):
            train_rows(key, 128, size)
