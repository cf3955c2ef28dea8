"""The median time of a call, compilation apart."""

import time

import jax
import numpy as np


def seconds(function, *arguments, repeats: int = 5) -> float:
    """Median seconds of a call after the first one; waits until results are there."""
    jax.block_until_ready(function(*arguments))
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(function(*arguments))
        times.append(time.perf_counter() - began)
    return float(np.median(times))
