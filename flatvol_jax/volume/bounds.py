"""From the volume of one function to a bound on its generalisation error."""

import numpy as np

from flatvol_jax.runtime import checks


def prior_bound(
    log_volume: np.ndarray | float,
    train_size: int,
    delta: float,
    test_size: int | None = None,
) -> np.ndarray:
    """The Occam bound on the error rate of a function with zero error on S (eq. 4).

    As printed, over S drawn iid, with probability at least 1 - delta:
    error ≤ (ln 1/V(f) + ln 1/delta) / |S|.

    With `test_size`, for a random split of a fixed set of n = |S| + |E| inputs, error counted
    on E: a function with k errors in the set misses S with probability at most
    (1 - |S|/n)^k, so k ≤ (ln 1/V(f) + ln 1/delta) / (-ln(1 - |S|/n)), returned as k / |E|.

    Both hold for a prior fixed before S; neither knows of an attack set. Values above 1 say
    nothing and are returned as they are.

    Args:
        log_volume: log V(f), nats, at most 0, any shape.
        train_size: |S|.
        delta: probability with which the bound may fail, in (0, 1).
        test_size: |E|, for the second form.

    Returns:
        The bound on the error rate, the shape of `log_volume`.
    """
    values = checks.finite("log_volume", log_volume).astype(np.float64)
    if (values > 0).any():
        raise ValueError(
            f"log_volume: got {values.max():.6g}, wanted log probabilities in nats, at most 0."
        )
    train_size = checks.count("train_size", train_size)
    if not 0 < delta < 1:
        raise ValueError(f"delta: got {delta!r}, wanted a probability strictly between 0 and 1.")
    information = -values - np.log(delta)
    if test_size is None:
        return information / train_size
    test_size = checks.count("test_size", test_size)
    return information / np.log1p(train_size / test_size) / test_size
