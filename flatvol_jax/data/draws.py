"""One draw of the experiment: training set S, pool of the attack set A, test sets E1 and E2."""

from typing import NamedTuple

import jax
import numpy as np

from flatvol_jax.data.dataset import Dataset, checked
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.printing import prints_its_fields

_WRONG = 1  # folded into the key of a draw: of the wrong labels


@prints_its_fields
class Split(NamedTuple):
    """A part of a data set, binarised or of C classes.

    Attributes:
        x: (m, ...) float32 inputs.
        y: (m,) labels, int8 in {-1, +1}, or of C classes int32 in 0..C-1.
        index: (m,) int64, the rows of the data set that these are.
    """

    x: np.ndarray
    y: np.ndarray
    index: np.ndarray  # type: ignore[assignment]  # hides tuple.index, which nobody needs


@prints_its_fields
class Draw(NamedTuple):
    """Disjoint parts of one data set.

    Attributes:
        train: S.
        attack: the pool of A; its `y` are WRONG: each is minus the true label, or of C classes one
            of the C-1 others, drawn uniformly.
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
    classes: int | None = None,
) -> Draw:
    """Draw disjoint S, attack pool, E1 and E2, uniformly without replacement.

    The parts are consecutive pieces S, E1, pool, E2 of one permutation of the rows. So a
    larger pool begins with the smaller one and moves neither S nor E1, and the size of E2
    changes nothing else. A wrong label belongs to its row of the data set, so that neither changes
    it.

    Args:
        key: one JAX random key; the same key gives the same draw, with x64 off or on.
        dataset: labels in {-1, +1}, as `binarise` gives; with `classes`, 0..C-1.
        train_size: |S|, at least 1.
        attack_pool_size: the largest |A|, at least 0.
        test_size: |E1|, at least 1.
        second_test_size: |E2|; None takes all that is left, which may be nothing.
        classes: C, of labels 0..C-1 that all occur; None for -1 and +1.

    Raises:
        ValueError: labels other than -1 and +1, or 0..C-1; a size that is no count, more than
            there is.
    """
    key, dataset = checks.random_key("key", key), _labelled(dataset, classes)
    sizes, there = _sizes(train_size, test_size, attack_pool_size), len(dataset.y)
    if second_test_size is None:
        sizes["second_test_size"] = max(there - sum(sizes.values()), 0)
    else:
        sizes["second_test_size"] = checks.count("second_test_size", second_test_size, least=0)
    asked = sum(sizes.values())
    if asked > there:
        positive = int(np.sum(dataset.y == 1))
        two = f"the two groups of classes ({there - positive} and {positive})"
        raise ValueError(
            f"draw: {_sum(sizes)} = {asked} examples asked, {dataset.name!r} has {there} of "
            f"{two if classes is None else f'{classes} classes'}. Ask for fewer, or take a larger "
            "data set."
        )
    wrong = _wrong_labels(key, dataset.y, classes)
    return _cut(dataset, _permutation(key, there)[:asked], sizes, wrong)


def disjoint_draw(
    key: jax.Array,
    dataset: Dataset,
    number: int,
    draws: int,
    train_size: int,
    attack_pool_size: int,
    test_size: int,
    second_test_size: int | None = None,
    classes: int | None = None,
) -> Draw:
    """Draw S, attack pool and E1 that no other draw of the same key shares a row with.

    Draw i is the i-th block of |S| + |A| + |E1| rows of one permutation. E2 is common to all
    draws and enters no block: of the data set's own test split, or where it has none the last
    rows of the permutation. A statistic over draws is conditional on this E2. The number of draws
    moves no row.

    Args:
        key: one JAX random key for all draws.
        dataset: labels in {-1, +1}, as `binarise` gives; with `classes`, 0..C-1.
        number: which draw, from 0.
        draws: how many there are in all.
        train_size: |S|, at least 1.
        attack_pool_size: the largest |A|, at least 0.
        test_size: |E1|, at least 1.
        second_test_size: |E2|; None takes the whole test split.
        classes: C, of labels 0..C-1 that all occur; None for -1 and +1.

    Raises:
        ValueError: as `draw`; no |E2| without a test split; more draws than there are disjoint
            ones, saying how many fit.
    """
    key, dataset = checks.random_key("key", key), _labelled(dataset, classes)
    draws, number = checks.count("draws", draws), checks.count("number", number, least=0)
    sizes = _sizes(train_size, test_size, attack_pool_size)
    if number >= draws:
        raise ValueError(f"number: got {number}, wanted 0 to {draws - 1} of {draws} draws.")
    order, block = _permutation(key, len(dataset.y)), sum(sizes.values())
    pool, common = order, order[len(order) :]
    if dataset.is_test is not None and dataset.is_test.any():
        pool, common = order[~dataset.is_test[order]], order[dataset.is_test[order]]
        if second_test_size is None:
            second_test_size = len(common)
    elif second_test_size is None:
        raise ValueError(
            f"second_test_size: got None, wanted a number: {dataset.name!r} has no test split of "
            "its own, and what the draws leave would depend on how many there are."
        )
    size = checks.count("second_test_size", second_test_size, least=0)
    if not len(common):
        pool, common = np.split(order, [max(len(order) - size, 0)])
    if size > len(common):
        raise ValueError(
            f"second_test_size: got {size}, wanted at most the {len(common)} examples of "
            f"{dataset.name!r} that are kept for E2."
        )
    fitting = len(pool) // block
    if draws > fitting:
        raise ValueError(
            f"draws: got {draws} draws of {_sum(sizes)} = {block} examples each, which share none; "
            f"{dataset.name!r} has {len(pool)} for them, wanted at most {fitting} draws. Ask for "
            'fewer or smaller ones, or set hp.data.draws = "independent" and let them overlap.'
        )
    rows = np.concatenate([pool[number * block :][:block], common[:size]])
    wrong = _wrong_labels(key, dataset.y, classes)
    return _cut(dataset, rows, sizes | {"second_test_size": size}, wrong)


def _labelled(dataset: Dataset, classes: int | None) -> Dataset:
    """Return the data set with the labels of its draws; ValueError unless these are all its labels.

    They are -1 and +1, int8, or of C classes 0..C-1, int32.
    """
    if classes is None:
        dataset = _binary(checked(dataset))
        return dataset._replace(y=dataset.y.astype(np.int8))
    classes, dataset = checks.count("classes", classes, least=2), checked(dataset)
    found = np.unique(dataset.y)
    if not np.array_equal(found, np.arange(classes)):
        raise ValueError(
            f"dataset.y: got the labels {found[:12].tolist()} in {dataset.name!r}, wanted each of "
            f"0..{classes - 1}, as classes={classes} says, and no other. Try "
            "`numbered_classes(dataset)`."
        )
    return dataset._replace(y=dataset.y.astype(np.int32))


def _wrong_labels(key: jax.Array, y: np.ndarray, classes: int | None) -> np.ndarray:
    """Return a wrong label for each row: the other one, or uniformly one of the C-1 others."""
    if classes is None:
        return -y
    step = jax.random.randint(jax.random.fold_in(key, _WRONG), y.shape, 1, classes, "int32")
    return (y + np.asarray(step, y.dtype)) % classes


def _binary(dataset: Dataset) -> Dataset:
    """Return the data set; ValueError unless it has both labels -1 and +1 and no other."""
    if not np.isin(dataset.y, (-1, 1)).all():
        raise ValueError(
            f"dataset.y: got labels {np.unique(dataset.y)[:12].tolist()}, wanted only -1 and "
            "+1. Try `binarise(dataset, negative, positive)` first."
        )
    if len(np.unique(dataset.y)) < 2:
        raise ValueError(
            f"dataset.y: got only the label {dataset.y[0]} in {dataset.name!r}, wanted both: a "
            "function of one class is no classification."
        )
    return dataset


def _sizes(train_size: int, test_size: int, attack_pool_size: int) -> dict[str, int]:
    """Return the sizes of S, E1 and the pool, checked, in the order of their rows."""
    return {
        "train_size": checks.count("train_size", train_size),
        "test_size": checks.count("test_size", test_size),
        "attack_pool_size": checks.count("attack_pool_size", attack_pool_size, least=0),
    }


def _sum(sizes: dict[str, int]) -> str:
    return " + ".join(f"{name} {size}" for name, size in sizes.items())


def _cut(dataset: Dataset, rows: np.ndarray, sizes: dict[str, int], wrong: np.ndarray) -> Draw:
    """Cut rows into S, E1, pool and E2, in this order; the pool gets its wrong labels."""
    pieces = np.split(rows, np.cumsum(list(sizes.values()))[:-1])
    train, test, attack, second_test = (
        Split(dataset.x[piece], dataset.y[piece], piece) for piece in pieces
    )
    return Draw(train, attack._replace(y=wrong[attack.index]), test, second_test)


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
    if nested:
        return np.arange(size)
    return _permutation(checks.random_key("key", key), pool_size)[:size]


def _permutation(key: jax.Array, size: int) -> np.ndarray:
    """Return 0..size-1 in random order, int64."""
    order = jax.random.permutation(key, size)
    return np.asarray(order).astype(np.int64)
