"""Labels, errors, margins and cross-entropy of the outputs of a network.

A network has one output, whose sign is the label, -1 or +1, or C outputs, whose largest is the
label, 0..C-1. These functions take either, (n,) or (n, C), NumPy arrays or traced ones.
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray

A = TypeVar("A", Array, np.ndarray)  # the outputs are on the host where the labels are


def output_count(spec: Any) -> int:
    """Return the number of outputs of a network; 1 where its spec does not say."""
    return getattr(spec, "outputs", 1)


def output_labels(outputs: A) -> A:
    """Return the labels (n,): +1 where a single output is above 0, else -1; of C the largest.

    Of several outputs that are largest together the first counts: see `tied_outputs`.
    """
    numpy = jnp if isinstance(outputs, jax.Array) else np
    if outputs.ndim == 1:
        return numpy.where(outputs > 0, 1, -1)
    return numpy.argmax(outputs, axis=-1)


def wrong_labels(outputs: A, y: AnyArray) -> A:
    """Return which inputs (n,) the outputs give another label than y; all that are NaN."""
    numpy = jnp if isinstance(outputs, jax.Array) else np
    if outputs.ndim == 1:
        return (outputs > 0) != (y > 0)
    return (numpy.argmax(outputs, axis=-1) != y) | numpy.isnan(outputs).any(axis=-1)


def tied_outputs(outputs: A) -> A:
    """Return where the label is a matter of convention, (n,) bool.

    That is an output of exactly 0, or a largest of C outputs that two classes share: no strict
    inequality of V(f) holds there. -1 and the lower class are the labels then.
    """
    if outputs.ndim == 1:
        return outputs == 0
    return (outputs == outputs.max(axis=-1, keepdims=True)).sum(axis=-1) > 1


def label_margins(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return by how much the output of the label y leads, (n,): y f, or f_y - max of the others."""
    if outputs.ndim == 1:
        return y * outputs.astype(np.float64)
    own = np.asarray(y)[:, None] == np.arange(outputs.shape[1])
    values = outputs.astype(np.float64)
    return values[own] - np.where(own, -np.inf, values).max(axis=1)


def cross_entropy(outputs: Array, y: Array) -> Array:
    """Return the cross-entropy of each input, (n,), nats.

    log(1 + exp(-y f)) of one output; log Σ_c exp f_c - f_y of C. Two outputs have that of their
    difference f_1 - f_0 with label 1 for +1.
    """
    if outputs.ndim == 1:
        return optax.sigmoid_binary_cross_entropy(outputs, (y + 1) / 2)
    return optax.softmax_cross_entropy_with_integer_labels(outputs, jnp.asarray(y, jnp.int32))


def check_labels(name: str, y: np.ndarray, outputs: int) -> None:
    """Check that labels are those of a network with so many outputs.

    Raises:
        ValueError: labels not ±1 with one output; not whole numbers 0..C-1 with C.
    """
    if outputs == 1:
        if not (np.abs(y) == 1).all():
            raise ValueError(
                f"{name}: got the values {np.unique(y)[:5]}, wanted -1 and +1 only. Of C classes "
                "0..C-1 take a network with an output for each: outputs=C."
            )
        return
    classes = np.arange(outputs)
    if not np.isin(y, classes).all():
        hint = ""
        if np.isin(y, (-1, 1)).all():
            hint = " Labels -1 and +1 are those of a network with one output."
        elif np.isin(y, classes + 1).all():
            hint = " Numbered from 1: take 1 off."
        raise ValueError(
            f"{name}: got the values {np.unique(y)[:5]}, wanted whole numbers 0 to {outputs - 1}, "
            f"the classes of a network with {outputs} outputs.{hint}"
        )


def logits(found: Any, x: Array, outputs: int, subject: str) -> Array:
    """Return what a user's network gives as (n,) of one output, (n, C) of C.

    Args:
        found: (n,) or (n, 1) of one output, (n, C) of C.
        x: the inputs, of which the number is compared.
        outputs: how many it is to have.
        subject: how the message begins, "network: Net gives".

    Raises:
        ValueError: no array, or another number of outputs.
    """
    shape, n = getattr(found, "shape", None), len(x)
    if outputs > 1 and shape == (n, outputs):
        return found
    if outputs == 1 and shape in ((n,), (n, 1)):
        return found.reshape(n)
    got = f"outputs of shape {shape}" if shape is not None else f"a {type(found).__name__}"
    wanted = "one logit an input, (n, 1) or (n,)" if outputs == 1 else f"(n, {outputs})"
    hint = ""
    if shape is not None and len(shape) == 2 and shape[0] == n and shape[1] > 1:
        hint = f" Is it a network of {shape[1]} classes? Say so: outputs={shape[1]}."
        if shape[1] == 2:
            hint += " Of two logits a and b the difference b - a is one output with labels ±1."
    raise ValueError(f"{subject} {got} for {n} inputs, wanted {wanted}.{hint}")


def checked_outputs(outputs: int) -> int:
    """Return the number of outputs, at least 1."""
    return checks.count("outputs", outputs, most=2**20)
