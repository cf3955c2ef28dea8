"""Targets of the Boolean posterior by name, and the training set that shows a part of one."""

import re

import jax
import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.randomness import named_key
from flatvol_jax.sampling import Draws, most_frequent

FORMULAS = {
    "first_bit": lambda bits: bits[:, 0],
    "and": lambda bits: bits[:, :2].all(axis=1),
    "majority": lambda bits: 2 * bits.sum(axis=1) > bits.shape[1],
}


def target_labels(name: str, x: np.ndarray, draws: Draws) -> np.ndarray:
    """Return labels (n,) int8, ±1, of a target function on the inputs of a cube.

    - "first_bit": +1 if and only if x_1 = 1.
    - "and": +1 if and only if x_1 = x_2 = 1.
    - "majority": +1 if and only if more than half of the bits are 1.
    - "rank_K": the function of rank K in the direct sample, 0 the most frequent.

    Args:
        name: one of these.
        x: (n, d) inputs; a bit is 1 where it is above 0, so in {0, 1} and in {-1, 1}.
        draws: the direct sample, on the same inputs.

    Raises:
        ValueError: another name, or a rank beyond the functions that were drawn.
    """
    if name in FORMULAS:
        return np.where(FORMULAS[name](np.asarray(x) > 0), 1, -1).astype(np.int8)
    rank = re.fullmatch(r"rank_(\d+)", name)
    if rank is None:
        checks.one_of("target", name, (*FORMULAS, "rank_K"))
        raise ValueError(
            "target: got 'rank_K', wanted a number in the place of K: rank_0 is the most "
            "frequent function of the direct sample."
        )
    place = int(rank[1])
    functions = most_frequent(draws, place + 1).functions
    if place >= len(functions):
        raise ValueError(
            f"target: got {name!r}, wanted a rank up to {len(functions) - 1}: the direct sample "
            "has no more functions."
        )
    return functions[place]


def train_rows(key: jax.Array, inputs: int, size: int) -> np.ndarray:
    """Return the rows of S, (size,): uniform without replacement, the same for every target.

    A larger S begins with the smaller one.

    Raises:
        ValueError: no rows, or all of them, which leaves one function.
    """
    if checks.count("train_size", size) >= inputs:
        raise ValueError(f"train_size: got {size}, wanted less than the {inputs} inputs.")
    return np.asarray(jax.random.permutation(named_key(key, "train_rows"), inputs))[:size]
