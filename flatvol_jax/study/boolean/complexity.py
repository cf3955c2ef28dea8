"""Lempel-Ziv complexity of a function's labels: how hard the string is to describe."""

import numpy as np

from flatvol_jax.runtime import checks


def lempel_ziv_complexity(labels: np.ndarray) -> float:
    """Return the complexity of a binary string x of length n, in bits.

    C_LZ(x) = log2(n)                                  if x = 0^n or 1^n,
              log2(n) [N_w(x) + N_w(x reversed)] / 2   otherwise,

    N_w the number of words of the Lempel-Ziv 1976 parsing. It stays when all labels change sign
    and when the string is reversed; for random strings it is near n, and above it at small n.

    Args:
        labels: (n,), n ≥ 1, in ±1 or in 0 and 1.

    Raises:
        ValueError: labels of another shape or with other values.

    Reference: Lempel and Ziv 1976; Dingle, Camargo and Louis 2018; Valle-Pérez, Camargo
    and Louis 2018.
    """
    values = checks.finite("labels", labels, ndim=1)
    kinds = set(values.tolist())
    if not kinds or not (kinds <= {-1, 1} or kinds <= {0, 1}):
        got = ", ".join(f"{kind:g}" for kind in sorted(kinds)[:5]) or "an empty array"
        raise ValueError(f"labels: got {got}; wanted at least one label, all ±1 or all 0 and 1.")
    bits = float(np.log2(len(values)))
    if len(kinds) == 1:
        return bits
    text = "".join("1" if value > 0 else "0" for value in values)
    return bits * (count_words(text) + count_words(text[::-1])) / 2


def count_words(text: str) -> int:
    """Count the words of the exhaustive history of `text`.

    Each word is the shortest continuation that does not occur in what stands before its last
    character; the last word may be one that does.

    Reference: Lempel and Ziv 1976; Kaspar and Schuster 1987.
    """
    words, start = 0, 0
    while start < len(text):
        end = start + 1
        while end < len(text) and text[start:end] in text[: end - 1]:
            end += 1
        words, start = words + 1, end
    return words
