"""A function as bits in words of 64: its labels on n inputs, +1 a one, or its class numbers.

A label of C classes takes ⌈log2 C⌉ bits, one after another, the lowest first; of one output one.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array

MOST_CLASSES = 128  # that labels of int8 tell apart


def bits_of_label(outputs: int) -> int:
    """Return the bits that a label takes, of a network with so many outputs."""
    return 1 if outputs == 1 else (outputs - 1).bit_length()


def word_count(inputs: int, outputs: int = 1) -> int:
    """Return how many words the labels on so many inputs take."""
    return -(-inputs * bits_of_label(outputs) // 64)


def pack_largest(outputs: Array) -> Array:
    """Pack the argmax of outputs (..., n, C) as `pack_outputs` packs signs; traceable."""
    bits = jnp.arange(bits_of_label(outputs.shape[-1]))
    ones = jnp.argmax(outputs, axis=-1)[..., None] >> bits & 1
    return pack_outputs(ones.reshape(*ones.shape[:-2], -1))


def pack_functions(functions: np.ndarray, outputs: int) -> np.ndarray:
    """Pack labels (m, n), ±1 of one output, 0..C-1 of C, into words (m, W) uint64."""
    if outputs == 1:
        return pack_labels(functions)
    return pack_labels(_bits(functions, outputs))


def unpack_functions(words: np.ndarray, inputs: int, outputs: int) -> np.ndarray:
    """Return the labels (m, n) int8 in words (m, W), ±1 of one output, 0..C-1 of C."""
    if outputs == 1:
        return unpack_labels(words, inputs)
    bits = bits_of_label(outputs)
    ones = unpack_labels(words, inputs * bits).reshape(-1, inputs, bits) > 0
    return np.sum(ones << np.arange(bits), axis=-1).astype(np.int8)


def pack_known(labels: np.ndarray, outputs: int, known: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the words (1, W) of labels (n,) where they are known, and a one for each known bit."""
    used = np.repeat(known, bits_of_label(outputs))[None]
    if outputs > 1:
        labels = _bits(np.where(known, labels, 0)[None], outputs)[0]
    return pack_labels((labels > 0) & used), pack_labels(used)


def _bits(functions: np.ndarray, outputs: int) -> np.ndarray:
    """Return the bits of labels (m, n) 0..C-1, (m, n ⌈log2 C⌉)."""
    bits = np.arange(bits_of_label(outputs))
    return (np.asarray(functions)[..., None].astype(np.int64) >> bits & 1).reshape(
        len(functions), -1
    )


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
