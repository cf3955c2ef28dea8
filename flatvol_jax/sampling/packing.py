"""A function as bits: its labels on n inputs, +1 a one, in ⌈n/64⌉ words of 64 bits."""

import jax.numpy as jnp
import numpy as np
from jax import Array


def word_count(inputs: int) -> int:
    """Return how many words the labels on so many inputs take."""
    return -(-inputs // 64)


def pack_outputs(outputs: Array) -> Array:
    """Pack outputs (..., n) -> (..., 2 ⌈n/64⌉) uint32, a one where above 0; traceable.

    Bit i of half-word j is input 32 j + i, zero beyond the last input.
    """
    missing = -outputs.shape[-1] % 64
    ones = outputs > 0
    if missing:  # XLA on a CPU is slow at a padding of nothing
        ones = jnp.pad(ones, [(0, 0)] * (outputs.ndim - 1) + [(0, missing)])
    halves = ones.reshape(*outputs.shape[:-1], -1, 32).astype(jnp.uint32)
    return jnp.sum(halves << jnp.arange(32, dtype=jnp.uint32), axis=-1, dtype=jnp.uint32)


def join_halves(halves: np.ndarray) -> np.ndarray:
    """Join half-words (m, 2 W) uint32 of `pack_outputs` -> words (m, W) uint64."""
    halves = np.asarray(halves).astype(np.uint64)
    return np.ascontiguousarray(halves[:, ::2] | halves[:, 1::2] << np.uint64(32))


def pack_labels(labels: np.ndarray) -> np.ndarray:
    """Pack labels (m, n), one where above 0 -> words (m, ⌈n/64⌉) uint64."""
    ones = np.pad(np.asarray(labels) > 0, [(0, 0), (0, -np.shape(labels)[1] % 64)])
    packed = np.packbits(ones, axis=1, bitorder="little")
    return packed.view("<u8").astype(np.uint64)


def unpack_labels(words: np.ndarray, inputs: int) -> np.ndarray:
    """Unpack words (m, W) uint64 -> labels (m, n) int8, ±1."""
    packed = np.ascontiguousarray(words, "<u8").view(np.uint8)
    ones = np.unpackbits(packed, axis=1, count=inputs, bitorder="little")
    return np.where(ones, 1, -1).astype(np.int8)


def first_label_negative(words: np.ndarray, inputs: int) -> np.ndarray:
    """Return of each pair f, not f, the one whose label of the first input is -1."""
    used = pack_labels(np.ones((1, inputs)))
    return np.where(words[:, :1] & np.uint64(1), words ^ used, words)


def function_ids(functions: np.ndarray) -> list[str]:
    """Name functions by their labels (k, n): the words in hexadecimal, 16 digits each, joined.

    Bit i of a word is input i, +1 a one.
    """
    return ["".join(f"{word:016x}" for word in words) for words in pack_labels(functions)]
