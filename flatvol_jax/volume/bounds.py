"""Bounds on the generalisation error from a volume."""

import numpy as np
from jaxtyping import Float

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray, Reals


def prior_bound(
    log_volume: Float[AnyArray, "*shape"] | float,
    train_size: int,
    delta: float,
    test_size: int | None = None,
) -> Float[Reals, "*shape"]:
    """Return the Occam bound on the error rate of a function with zero error on S (eq. 4).

    As printed, over S drawn iid, with probability at least 1 - delta:
    error ≤ (ln 1/V(f) + ln 1/delta) / |S|.

    With `test_size`, for a random split of a fixed set of n = |S| + |E| inputs, error counted
    on E: a function with k errors in the set misses S with probability at most
    (1 - |S|/n)^k, so k ≤ (ln 1/V(f) + ln 1/delta) / (-ln(1 - |S|/n)), returned as k / |E|.

    Both hold for a prior fixed before S, whatever the number of classes; neither knows of an
    attack set. Values above 1 say nothing and are returned as they are.

    Args:
        log_volume: log V(f), nats, at most 0, any shape.
        train_size: |S|.
        delta: probability with which the bound may fail, in (0, 1).
        test_size: |E|, for the second form.

    Returns:
        The bound on the error rate, the shape of `log_volume`.

    Raises:
        ValueError: log V above 0 or not finite, no examples, delta outside (0, 1).

    Reference: Zhang et al. 2021, eq. 4.
    """
    train_size = checks.count("train_size", train_size)
    chance = checks.chance("delta", delta)
    information = -_log_probability("log_volume", log_volume) - np.log(chance)
    if test_size is None:
        return information / train_size
    test_size = checks.count("test_size", test_size)
    return information / np.log1p(train_size / test_size) / test_size


def marginal_likelihood_bound(
    log_evidence: Float[AnyArray, "*shape"] | float,
    train_size: int,
    delta: float,
    gamma: float | None = None,
) -> Float[Reals, "*shape"]:
    """Return the marginal-likelihood PAC-Bayes bound from log P(S), the volume of fitting S.

    With probability at least 1 - delta over S of m iid examples, a function drawn from the
    posterior (the prior restricted to zero error on S) has, with probability at least
    1 - gamma, an error rate ε with

        -ln(1 - ε) ≤ (ln 1/P(S) + ln m + ln 1/delta + ln 1/gamma) / (m - 1).

    Without `gamma` the same without ln 1/gamma bounds the posterior's mean error rate, and so
    that of Gibbs classification.

    It needs S drawn iid and labelled by a fixed rule, a prior fixed before S, zero error on S
    and no attack set in training. It speaks of the posterior; for a network found by SGD it
    holds as far as SGD samples like it. P(S) is the volume of all functions that fit S,
    `log_volume` of the labels of S alone, with their `classes`, on the kernel of S alone; with
    EP's value instead of a certified one it is as good as EP.

    Args:
        log_evidence: log P(S), nats, at most 0, any shape.
        train_size: m = |S|, at least 2.
        delta: probability, over S, with which the bound may fail, in (0, 1).
        gamma: the same over the posterior, in (0, 1).

    Returns:
        The bound on the error rate, in [0, 1), the shape of `log_evidence`.

    Raises:
        ValueError: log P(S) above 0 or not finite, fewer than two examples, delta or gamma
            outside (0, 1).

    Reference: Valle-Pérez and Louis, "Generalization bounds for deep learning" (2020),
    theorem 5.1; the mean form is McAllester, Machine Learning 37 (1999), through
    Valle-Pérez, Camargo and Louis (2019), theorem 1.
    """
    train_size = checks.count("train_size", train_size, least=2)
    information = -_log_probability("log_evidence", log_evidence)
    information = information + np.log(train_size) - np.log(checks.chance("delta", delta))
    if gamma is not None:
        information = information - np.log(checks.chance("gamma", gamma))
    return -np.expm1(-information / (train_size - 1))


def _log_probability(
    name: str, value: Float[AnyArray, "*shape"] | float
) -> Float[np.ndarray, "*shape"]:
    values = checks.finite(name, value).astype(np.float64)
    if (values > 0).any():
        raise ValueError(
            f"{name}: got {values.max():.6g}, wanted log probabilities in nats, at most 0."
        )
    return values
