"""The classes that a function f tells apart: two groups of them, or each by itself."""

from collections.abc import Iterable

import numpy as np

from flatvol_jax.data.dataset import Dataset, checked
from flatvol_jax.runtime import checks

GROUPS = {
    "mnist_halves": ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9)),
    "cars_cats": ((1,), (3,)),
    "mnist_0_7": ((0,), (7,)),
    "mnist_3_5": ((3,), (5,)),
}
"""The paper's two problems (section 5.2), each (negative classes, positive classes):
`binarise(dataset, *GROUPS["mnist_halves"])`. CIFAR-10: automobile is 1, cat is 3. Then the two of
Peleg and Hein (2024)."""


ALL_CLASSES = "all"
"""In the place of a group's name: each class by itself, `numbered_classes(dataset)`."""


def numbered_classes(dataset: Dataset) -> Dataset:
    """Return the data set with its classes numbered 0..C-1, in the order of their numbers (int32).

    Raises:
        ValueError: fewer than two classes.
    """
    dataset = checked(dataset)
    present, numbers = np.unique(dataset.y, return_inverse=True)
    if len(present) < 2:
        raise ValueError(
            f"dataset.y: got only the class {present[0]} in {dataset.name!r}, wanted at least two."
        )
    return dataset._replace(y=numbers.reshape(dataset.y.shape).astype(np.int32))


def binarise(dataset: Dataset, negative: Iterable[int], positive: Iterable[int]) -> Dataset:
    """Keep the examples of two groups of classes, in their order, labelled -1 and +1 (int8).

    Args:
        dataset: its `y` are class numbers.
        negative: the classes that become -1.
        positive: the classes that become +1.

    Raises:
        ValueError: a group that is empty, the two sharing a class, a class without examples.
    """
    dataset = checked(dataset)
    present = np.unique(dataset.y)
    low = _classes("negative", negative, present)
    high = _classes("positive", positive, present)
    both = np.intersect1d(low, high)
    if len(both):
        raise ValueError(f"negative, positive: class(es) {both.tolist()} are in both groups.")
    is_high = np.isin(dataset.y, high)
    kept = np.flatnonzero(is_high | np.isin(dataset.y, low))
    labels = np.where(is_high[kept], 1, -1).astype(np.int8)
    return dataset.keep(kept)._replace(y=labels)


def _classes(name: str, group: Iterable[int], present: np.ndarray) -> np.ndarray:
    try:
        classes = checks.concrete(name, list(group))
    except TypeError as error:
        raise ValueError(
            f"{name}: got {checks.shown(group)}, wanted class numbers like (0, 1)."
        ) from error
    if not classes.size:
        raise ValueError(f"{name}: got no class, wanted at least one of {_listed(present)}.")
    if classes.ndim != 1 or classes.dtype.kind not in "iu":
        raise ValueError(
            f"{name}: got {checks.shown(classes.tolist())}, wanted class numbers like (0, 1)."
        )
    absent = np.setdiff1d(classes, present)
    if len(absent):
        raise ValueError(
            f"{name}: class(es) {absent.tolist()} have no examples. There are {_listed(present)}."
        )
    return classes


def _listed(classes: np.ndarray) -> str:
    """Return class numbers as text for a message, a long list cut."""
    shown = ", ".join(str(label) for label in classes[:20])
    return shown if len(classes) <= 20 else f"{shown}, ... ({len(classes)} classes)"
