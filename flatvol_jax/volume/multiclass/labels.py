"""Checks of labels 0..C-1, and of the labels that repeated inputs allow."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Int, Real

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume.repetitions import Repetitions, impossible_pair


def checked_classes(classes: int) -> int:
    """Return the number of classes, at least 2."""
    if isinstance(classes, (int, np.integer)) and not isinstance(classes, bool) and classes == 1:
        raise ValueError(
            "classes: got 1, wanted at least 2: with one output there is no argmax, and every "
            "network gives the same function. One output whose sign is the label is the binary "
            "case: leave classes out and give labels of -1 and +1."
        )
    return checks.count("classes", classes, least=2)


def checked_class_labels(
    labels: Real[AnyArray, "*shape n"], n: int, classes: int
) -> Int[np.ndarray, "*shape n"]:
    """Return labels of shape (..., n) as int64, every entry 0..C-1.

    A class need not have a point: V(f) is then the volume of the functions that never give it on
    these inputs. One class alone, the constant function, is allowed, too.
    """
    labels = checks.finite("labels", labels)
    wanted = f"wanted integers 0..{classes - 1}, (..., {n})"
    if labels.dtype.kind not in "iub":
        raise ValueError(
            f"labels: got dtype {labels.dtype}, {wanted}: whole numbers as labels.astype(int); of "
            "outputs or logits, np.argmax(outputs, axis=-1)."
        )
    if labels.ndim == 0 or labels.shape[-1] != n:
        one_hot = labels.ndim and labels.shape[-1] == classes and np.isin(labels, (0, 1)).all()
        hint = " This looks like one-hot rows: np.argmax(labels, axis=-1)." if one_hot else ""
        raise ValueError(
            f"labels: got shape {labels.shape}, {wanted} for a kernel of {n} inputs.{hint}"
        )
    if labels.size == 0:
        raise ValueError(f"labels: got shape {labels.shape}, wanted at least one labelling.")
    least, most = int(labels.min()), int(labels.max())
    if least < 0 or most >= classes:
        hint = ""
        if least == 1 and most == classes:
            hint = " Numbered from 1: labels - 1."
        elif least == -1:
            hint = " Labels of -1 and +1 are the binary case: leave classes out."
        elif most >= classes:
            hint = f" Count every class that the network has an output for: classes={most + 1}?"
        raise ValueError(f"labels: got {least} to {most}, {wanted}.{hint}")
    return labels.astype(np.int64)


def class_contradiction(
    repetitions: Repetitions,
    labels: np.ndarray,
    read_rows: Callable[[slice], np.ndarray],
    noise: float = 0.0,
) -> tuple[int, int] | None:
    """Return two inputs that no function can label so, and V(f) = 0; None without such.

    Either they are one input with two labels, or opposite inputs (correlation -1) with one label:
    the largest of C outputs at one of them is the smallest at the other.

    Raises:
        NumericalFault: the outputs are not one, and the kernel does not tell them apart.
    """
    first = repetitions.kept[repetitions.place]
    clashing = np.flatnonzero(labels != labels[first])
    if len(clashing):
        return impossible_pair(int(first[clashing[0]]), int(clashing[0]), read_rows, noise)
    for j in repetitions.kept[repetitions.sign[repetitions.kept] < 0]:
        i = int(np.argmin(read_rows(slice(j, j + 1))[0]))
        if labels[i] == labels[j]:
            return impossible_pair(i, int(j), read_rows, noise)
    return None


def possible_labels(
    repetitions: Repetitions,
    labels: np.ndarray,
    read_rows: Callable[[slice], np.ndarray],
    classes: int,
) -> np.ndarray:
    """Return labels that no opposite inputs contradict, others than these at the later of two.

    EP is not defined for a function that no network has; its sites are then those of these labels.
    """
    labels = labels[repetitions.kept[repetitions.place]]
    for j in repetitions.kept[repetitions.sign[repetitions.kept] < 0]:
        i = int(np.argmin(read_rows(slice(j, j + 1))[0]))
        if labels[i] == labels[j]:
            labels[j] = (labels[j] + 1) % classes
    return labels
