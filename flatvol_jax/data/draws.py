"""One draw of the experiment: training set S, pool of the attack set A, test sets E1 and E2."""

from typing import NamedTuple

import jax
import numpy as np

from flatvol_jax.data.dataset import Dataset, checked
from flatvol_jax.runtime import checks


class Split(NamedTuple):
    """A part of a binarised data set.

    Attributes:
        x: (m, ...) float32 inputs.
        y: (m,) int8 labels in {-1, +1}.
        index: (m,) int64, the rows of the data set that these are.
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray


class Draw(NamedTuple):
    """Disjoint parts of one data set.

    Attributes:
        train: S.
        attack: the pool of A; its `y` are FLIPPED: each is minus the true label.
        test: E1, the test inputs on which the function f is defined.
        second_test: E2, never seen by the kernel or by f; may be empty.
    """

    train: Split
    attack: Split
    test: Split
    second_test: Split


def draw(
    key: jax.Array,
    dataset: Dataset,
    train_size: int,
    attack_pool_size: int,
    test_size: int,
    second_test_size: int | None = None,
) -> Draw:
    """Draw disjoint S, attack pool, E1 and E2, uniformly without replacement.

    The parts are consecutive pieces S, E1, pool, E2 of one permutation of the rows. So a
    larger pool begins with the smaller one and moves neither S nor E1, and the size of E2
    changes nothing else.

    Args:
        key: one JAX random key; the same key gives the same draw, with x64 off or on.
        dataset: labels in {-1, +1}, as `binarise` gives.
        train_size: |S|, at least 1.
        attack_pool_size: the largest |A|, at least 0.
        test_size: |E1|, at least 1.
        second_test_size: |E2|; None takes all that is left, which may be nothing.

    Raises:
        ValueError: labels other than -1 and +1, a size that is no count, more than there is.
    """
    key, dataset = checks.random_key("key", key), checked(dataset)
    if not np.isin(dataset.y, (-1, 1)).all():
        raise ValueError(
            f"dataset.y: got labels {np.unique(dataset.y)[:12].tolist()}, wanted only -1 and "
            "+1. Try `binarise(dataset, negative, positive)` first."
        )
    sizes = {
        "train_size": checks.count("train_size", train_size),
        "test_size": checks.count("test_size", test_size),
        "attack_pool_size": checks.count("attack_pool_size", attack_pool_size, least=0),
    }
    there = len(dataset.y)
    if second_test_size is None:
        sizes["second_test_size"] = max(there - sum(sizes.values()), 0)
    else:
        sizes["second_test_size"] = checks.count("second_test_size", second_test_size, least=0)
    asked = sum(sizes.values())
    if asked > there:
        parts = " + ".join(f"{name} {size}" for name, size in sizes.items())
        positive = int(np.sum(dataset.y == 1))
        raise ValueError(
            f"draw: {parts} = {asked} examples asked, {dataset.name!r} has {there} of the two "
            f"groups of classes ({there - positive} and {positive}). Ask for fewer, or take a "
            "larger data set."
        )
    if len(np.unique(dataset.y)) < 2:
        raise ValueError(
            f"dataset.y: got only the label {dataset.y[0]} in {dataset.name!r}, wanted both: a "
            "function of one class is no classification."
        )
    ends = np.cumsum(list(sizes.values()))
    pieces = np.split(_permutation(key, there)[:asked], ends[:-1])
    train, test, attack, second_test = (
        Split(dataset.x[rows], dataset.y[rows].astype(np.int8), rows) for rows in pieces
    )
    return Draw(train, attack._replace(y=-attack.y), test, second_test)


def attack_indices(
    key: jax.Array | None, pool_size: int, size: int, nested: bool = True
) -> np.ndarray:
    """Return which members of the attack pool form A: (size,) int64, without repetition.

    Args:
        key: one JAX random key, the run's own; not used when nested (None will do).
        pool_size: members of the pool.
        size: |A|, from 0 to `pool_size`.
        nested: True takes the first |A| of the pool, so that a larger A holds each smaller
            one; False draws A from the pool anew, without replacement.
    """
    pool_size = checks.count("pool_size", pool_size, least=0)
    size = checks.count("size", size, least=0)
    if size > pool_size:
        raise ValueError(
            f"size: got |A| = {size}, wanted at most the {pool_size} of the pool. "
            "Try a larger attack_pool_size in `draw`."
        )
    order = np.arange(pool_size) if nested else _permutation(key, pool_size)
    return order[:size]


def _permutation(key: jax.Array, size: int) -> np.ndarray:
    """Return 0..size-1 in random order, int64."""
    order = jax.random.permutation(checks.random_key("key", key), size)
    return np.asarray(order).astype(np.int64)
