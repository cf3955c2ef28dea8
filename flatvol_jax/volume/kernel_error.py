"""The error that log V(f) has from a sampled kernel."""

from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm, t

from flatvol_jax.runtime.arrays import Reals, Words
from flatvol_jax.runtime.jackknife import Jackknife, delete_a_group
from flatvol_jax.volume.result import LogVolume
from flatvol_jax.volume.sampling import CERTIFIED, CERTIFIED_GIVEN_KERNEL, WIDEST

_COVERED = norm.cdf(2.0)  # one-sided


@runtime_checkable
class KernelEstimate(Protocol):
    """A kernel that is the mean of independent groups of samples, as `fv.monte_carlo_estimate`'s.

    Attributes:
        kernel: K from all samples, (n, n) float64.
        group_kernels: (g, n, n) float64, each from its own samples.
        group_samples: (g,), how many those are.
    """

    @property
    def kernel(self) -> Float[np.ndarray, "n n"]:
        """Return K from all samples."""

    @property
    def group_kernels(self) -> Float[np.ndarray, "g n n"]:
        """Return K of each group."""

    @property
    def group_samples(self) -> Int[np.ndarray, " g"]:
        """Return the samples of each group."""


def ep_jackknife(
    estimate: KernelEstimate, value: Reals, ep: Callable[[np.ndarray], Reals]
) -> Jackknife:
    """Return log V by EP with the error and the bias that it has from the kernel.

    EP's own error is nearly the same with and without a group, and cancels in the differences.

    Args:
        estimate: the kernel and its groups.
        value: EP's log V of the whole kernel, any shape.
        ep: a kernel -> EP's log V, of that shape.
    """
    kernels, counts = np.asarray(estimate.group_kernels), np.asarray(estimate.group_samples)
    possible: np.ndarray = np.asarray(np.isfinite(value))
    values = []
    for share, kernel in zip(counts / counts.sum(), kernels, strict=True):
        values.append(ep((estimate.kernel - share * kernel) / (1 - share)))
    without = np.where(possible, np.stack(values), 0.0)  # V(f) = 0 whatever the kernel
    return delete_a_group(np.where(possible, value, 0.0), without, counts)


def given_this_kernel(result: LogVolume) -> LogVolume:
    """Say of a certified result that it is for this matrix, whose own error nobody knows."""
    estimate = result.estimate
    if estimate is not None:
        estimate = estimate._replace(status=status_given_kernel(estimate.status))
    return result._replace(status=status_given_kernel(result.status), estimate=estimate)


def status_given_kernel(status: np.ndarray | np.str_) -> np.ndarray:
    """Return the status for a matrix, which may have been sampled."""
    return np.where(status == CERTIFIED, CERTIFIED_GIVEN_KERNEL, status)


def with_kernel_error(result: LogVolume, effect: Jackknife, groups: int) -> LogVolume:
    """Take the kernel's bias off log V, and add its error to the standard error.

    The spread of g groups is itself uncertain: the error is Student's t of g - 1 degrees of
    freedom. It is widened so that twice the error covers as often as that of a normal: 1.16 times
    for ten groups, 7 times for two.

    The jackknife knows the bias to first order in 1/M, and not what is left of it. The whole bias
    is therefore added to the standard error, too, in squares like the other parts: where this
    makes the error bar too wide, take more samples.

    Args:
        result: for the kernel of all samples.
        effect: from `ep_jackknife`.
        groups: g.
    """
    wider = t.ppf(_COVERED, groups - 1) / norm.ppf(_COVERED)
    error, bias = np.float64(wider * effect.standard_error), np.float64(effect.bias)
    kernel = np.hypot(error, bias)
    known: dict[str, Any] = {"kernel_error": error, "kernel_bias": bias}
    total = np.where(np.isnan(result.standard_error), 0.0, result.standard_error)
    total = np.hypot(total, kernel)
    value, estimate = result.log_volume - bias, result.estimate
    status = _widened(result.status, total)
    if estimate is not None:
        estimate = estimate._replace(
            log_volume=value,
            standard_error=total,
            status=_widened(estimate.status, total),
            **known,
        )
    return result._replace(
        log_volume=value, standard_error=total, status=status, estimate=estimate, **known
    )


def _widened(status: Words, standard_error: Reals) -> np.ndarray:
    """Return "imprecise" for what is certified but for the kernel's error."""
    imprecise = (status == CERTIFIED) & (standard_error > WIDEST)
    return np.where(imprecise, "imprecise", status)
