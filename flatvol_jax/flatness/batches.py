"""The mean loss over a data set that does not fit into memory, exact, one batch at a time."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial

from flatvol_jax.flatness.examples import number_of_examples
from flatvol_jax.runtime.precision import jax_config


def mean_over_batches(
    loss: Callable[[Any, Any], Array], data: Any, batch_size: int
) -> Callable[[Any], Array]:
    """Return the mean loss over all n examples as a function of params, a batch at a time.

        params -> (1/n) Σ_batches (size of the batch) · loss(params, batch).

    It is a loss like any other: value, gradient and Hessian products accumulate over the batches
    and equal those of the whole set to rounding. The last batch takes the examples that are left.
    A batch is read when it is needed, and read again for the backward pass, so that memory holds
    one batch and its activations.

    Args:
        loss: (params, batch) -> mean loss of the batch.
        data: pytree of NumPy arrays with one leading axis, also memory-mapped ones
            (`np.load(..., mmap_mode="r")`). Floating-point entries are cast to float64.
        batch_size: examples at a time, at most n.

    Raises:
        ValueError: no data, leading axes that differ, a batch larger than n.
    """
    data = jax.tree.map(np.asarray, data)
    size = number_of_examples(data, batch_size)
    whole, rest = divmod(size, batch_size)

    def read(first: Array, length: int) -> Any:
        words = jax.tree.map(lambda leaf: _as_short_words(leaf[:length]), data)
        shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), words)

        def rows(start):
            start = int(start)
            return jax.tree.map(lambda leaf: _as_short_words(leaf[start : start + length]), data)

        found = jax.pure_callback(rows, shapes, first, vmap_method="sequential")
        return jax.tree.map(_from_short_words, found, data)

    def total(params: Any, first: Array, length: int) -> Array:
        """Sum the loss over one batch; it is recomputed, not stored, for derivatives."""
        batch_total = jax.checkpoint(lambda p, i: length * loss(p, read(i, length)))
        return batch_total(params, first)

    def mean_loss(params: Any) -> Array:
        if not jax_config.jax_enable_x64:
            raise ValueError(
                "mean_over_batches: got called with x64 off, wanted on: hand the loss to the "
                "measures of flatvol_jax.flatness, or call it inside jax.enable_x64(True)."
            )
        firsts = batch_size * jnp.arange(whole)
        zero = jnp.zeros((), jax.tree.leaves(params)[0].dtype)
        result, _ = jax.lax.scan(
            lambda done, first: (done + total(params, first, batch_size), None), zero, firsts
        )
        if rest:
            result = result + total(params, jnp.asarray(whole * batch_size), rest)
        return result / size

    return Partial(mean_loss)


def _as_short_words(rows: np.ndarray) -> np.ndarray:
    """Return a batch in at most 32 bits a number: a callback's thread knows no x64 scope."""
    rows = np.ascontiguousarray(rows)
    return rows if rows.dtype.itemsize < 8 else rows[..., None].view(np.uint32)


def _from_short_words(rows: Array, leaf: np.ndarray) -> Array:
    if leaf.dtype.itemsize == 8:
        rows = jax.lax.bitcast_convert_type(rows, leaf.dtype)
    return rows.astype(jnp.float64) if jnp.issubdtype(leaf.dtype, jnp.floating) else rows
