"""Memory that work on n inputs takes, against what is there, before the work begins."""

import bisect
from collections.abc import Callable

import psutil

COMPILER_BYTES = 300 * 10**6  # XLA and the programs of one call: 0.1 to 0.3 GB on a CPU


def check_memory(name: str, n: int, needed: Callable[[int], float], advice: str) -> None:
    """Refuse n inputs whose work takes more than the host's available memory.

    The compiler's own memory is added to what is needed.

    Args:
        name: the argument that has the n inputs.
        n: how many there are.
        needed: number of inputs -> bytes beyond those in use now; must not decrease.
        advice: sentences that end the message, on what would help beside fewer inputs.

    Raises:
        ValueError: what is needed, what is free, and the number of inputs that it is enough for.
    """
    free = psutil.virtual_memory().available - COMPILER_BYTES
    if needed(n) <= free:
        return
    enough_for = max(bisect.bisect_right(range(n), free, key=needed) - 1, 0)
    raise ValueError(
        f"{name}: got n = {n}, whose work takes {(needed(n) + COMPILER_BYTES) / 1e9:.1f} GB more "
        f"than is held now; {(free + COMPILER_BYTES) / 1e9:.1f} GB are free, enough for "
        f"n = {enough_for}. {advice}"
    )
