"""kernel + real targets -> the exact log marginal likelihood of a Gaussian process (regression)."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real
from scipy.linalg import cho_solve
from scipy.linalg.lapack import dpotrf, dpotri

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray, Reals
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.jackknife import delete_a_group
from flatvol_jax.runtime.printing import prints_as, value_or_range, with_error
from flatvol_jax.volume.inputs import check_memory, checked_entries, rounding_jitter
from flatvol_jax.volume.kernel_error import KernelEstimate

_MATRICES = 3.0  # n² float64 at once beside the kernel: K + noise, its factor, the inverse
_LOG_2PI = float(np.log(2 * np.pi))


@prints_as(
    lambda found: (
        f"LogEvidence({with_error(found.log_evidence, found.standard_error)} nats: fit "
        f"{value_or_range(found.fit)}, volume {value_or_range(found.log_determinant)}; "
        f"leave-one-out {value_or_range(found.leave_one_out.sum(-1))})"
    )
)
class LogEvidence(NamedTuple):
    """log p(y) of one vector of targets or of many, with the terms that make it.

    The leading shape of every field is `targets.shape[:-1]`, but for the variances, which do not
    depend on the targets.

    Attributes:
        log_evidence: log N(y; 0, K + noise), nats: a log density, which may be above 0; in units
            of the targets, so that those of two networks compare on the same targets only.
        standard_error: nats, the kernel's error and its bias added in squares; NaN for a matrix,
            of which nobody knows whether it was sampled.
        fit: -½ y'(K + noise)^-1 y.
        log_determinant: -½ log|K + noise|; with fit and -(n/2) log 2π it is log_evidence.
        leave_one_out: log p(y_i | all other targets), nats, (..., n).
        means: of y_i given all other targets, (..., n).
        variances: of y_i given all other targets, the noise included, (n,).
        kernel_bias: nats, E log p(y | K̂) - log p(y | E K̂), which is taken off log_evidence; NaN
            for a matrix.
    """

    log_evidence: Float[Reals, "*shape"]
    standard_error: Float[Reals, "*shape"]
    fit: Float[Reals, "*shape"]
    log_determinant: np.float64
    leave_one_out: Float[np.ndarray, "*shape n"]
    means: Float[np.ndarray, "*shape n"]
    variances: Float[np.ndarray, " n"]
    kernel_bias: Float[Reals, "*shape"]


def log_evidence(
    kernel: Float[AnyArray, "n n"] | KernelEstimate,
    targets: Real[AnyArray, "*shape n"],
    noise: Real[AnyArray, " #n"] | float,
) -> LogEvidence:
    """Return log p(y) = log N(y; 0, K + noise I) of real targets, and its leave-one-out terms.

        log p(y) = -½ y'C^-1 y - ½ log|C| - (n/2) log 2π,   C = K + noise I,
        log p(y_i | y_-i) = log N(y_i; y_i - [C^-1 y]_i/[C^-1]_ii, 1/[C^-1]_ii).

    It is the regression network's counterpart of log V(f): exact, in O(n³). The targets have mean
    zero under the prior: take their mean off, or let σ_b be large enough to hold it.

    Args:
        kernel: K, (n, n) float64, as `fv.nngp_kernel` returns it, or a `KernelEstimate`
            (`fv.monte_carlo_estimate`): its error is then in the standard error, its bias is
            taken off the evidence. The leave-one-out terms are those of its kernel.
        targets: y, (..., n) real numbers.
        noise: variance of the targets' noise, a number of at least 0 or one an input, (n,); 0 is
            the density of the outputs themselves, for which K must be invertible.

    Raises:
        ValueError: kernel not float64, square, symmetric and finite, or with the noise not
            positive definite; targets of another length or not finite; a noise below 0.

    Reference: Rasmussen and Williams 2006, eqs 2.30 and 5.10 to 5.12.
    """
    estimate = kernel if isinstance(kernel, KernelEstimate) else None
    matrix = checked_entries(kernel.kernel if isinstance(kernel, KernelEstimate) else kernel)
    n = len(matrix)
    check_memory(n, _MATRICES)
    targets = checks.finite("targets", targets).astype(np.float64)
    if targets.ndim == 0 or targets.shape[-1] != n or targets.size == 0:
        raise ValueError(
            f"targets: got shape {targets.shape}, wanted (..., {n}) for a kernel of {n} inputs."
        )
    noise = _checked_noise(noise, n)
    found = _matrix_evidence(matrix, targets, noise)
    if estimate is None:
        return found
    kernels, counts = np.asarray(estimate.group_kernels), np.asarray(estimate.group_samples)
    without = [
        _matrix_evidence((matrix - share * part) / (1 - share), targets, noise).log_evidence
        for share, part in zip(counts / counts.sum(), kernels, strict=True)
    ]
    effect = delete_a_group(found.log_evidence, np.stack(without), counts)
    bias = np.float64(effect.bias)
    return found._replace(
        log_evidence=found.log_evidence - bias,
        standard_error=np.hypot(np.float64(effect.standard_error), bias),
        kernel_bias=bias,
    )


def _matrix_evidence(
    kernel: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "*shape n"], noise: np.ndarray
) -> LogEvidence:
    covariance = np.array(kernel, order="F")
    covariance[np.diag_indices_from(covariance)] += noise
    scale = np.sqrt(np.diagonal(covariance)).copy()
    covariance /= scale[:, None] * scale  # correlations: what is singular is so in any units
    factor, failed = dpotrf(covariance, lower=True, overwrite_a=True, clean=True)
    pivots = np.diagonal(factor)
    if failed or pivots.min() ** 2 < rounding_jitter(len(kernel)):
        raise NumericalFault(
            "kernel: got a matrix that is singular with this noise, wanted K + noise I positive "
            "definite beyond rounding. Does an input occur twice? Give the targets a noise, as "
            f"noise={1e-4 * np.diagonal(kernel).max():.1g}: its variance is part of the model, "
            "record it."
        )
    solved = cho_solve((factor, True), (targets / scale).reshape(-1, len(kernel)).T)
    solved = solved.T.reshape(targets.shape) / scale
    log_determinant = -np.sum(np.log(pivots)) - np.sum(np.log(scale))
    precisions = np.diagonal(dpotri(factor, lower=True, overwrite_c=True)[0]) / scale**2
    with np.errstate(over="ignore", invalid="ignore"):
        fit = -0.5 * np.sum(targets * solved, axis=-1)
    if not np.isfinite(fit).all():
        raise NumericalFault(
            f"targets: got numbers up to {np.abs(targets).max():.3g}, whose squares overflow; "
            "wanted numbers of order one. Scale them down, and the kernel and noise with them."
        )
    residuals, variances = solved / precisions, 1 / precisions
    leave_one_out = -0.5 * (residuals**2 / variances + np.log(variances) + _LOG_2PI)
    value = fit + log_determinant - 0.5 * len(kernel) * _LOG_2PI
    nothing = np.full(fit.shape, np.nan)[()]
    return LogEvidence(
        value,
        nothing,
        fit,
        np.float64(log_determinant),
        leave_one_out,
        targets - residuals,
        variances,
        nothing,
    )


def _checked_noise(noise: AnyArray | float, n: int) -> np.ndarray:
    values = checks.finite("noise", noise).astype(np.float64)
    if values.shape not in ((), (n,)) or (values < 0).any():
        raise ValueError(
            f"noise: got {checks.shown(noise)}, wanted a variance of at least 0, or one an input, "
            f"({n},)."
        )
    return values
