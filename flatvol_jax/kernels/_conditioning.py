"""The conditioning of a kernel, and the jitter that it may need, as a number to record."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Real

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class Conditioning(NamedTuple):
    """The spectrum of a kernel in a few numbers.

    Attributes:
        least: least eigenvalue; below 0 by rounding where the kernel is nearly singular.
        largest: largest eigenvalue.
        condition_number: largest / least; infinite where least is not above 0.
        effective_rank: exp of the entropy of the eigenvalues as shares of the trace, between
            1 and n (Roy and Vetterli 2007).
        numerical_rank: number of eigenvalues above n ε largest, ε that of float64; a kernel
            with fewer than n is singular to working precision.
    """

    least: float
    largest: float
    condition_number: float
    effective_rank: float
    numerical_rank: int


def conditioning(kernel: Real[AnyArray, "n n"]) -> Conditioning:
    """Condition number and ranks of a symmetric kernel (n, n), from all of its eigenvalues.

    Costs 4/3 n³ operations.

    Raises:
        ValueError: not a finite square matrix, not symmetric, or of no positive eigenvalue.
    """
    kernel = _checked(kernel)
    values = np.linalg.eigvalsh(kernel)
    least, largest = float(values[0]), float(values[-1])
    if largest <= 0:
        raise ValueError(f"kernel: got largest eigenvalue {largest:.3g}, wanted one above 0.")
    shares = values[values > 0] / values[values > 0].sum()
    return Conditioning(
        least,
        largest,
        largest / least if least > 0 else np.inf,
        float(np.exp(-np.sum(shares * np.log(shares)))),
        int(np.sum(values > len(kernel) * np.finfo(np.float64).eps * largest)),
    )


@prints_its_fields
class Jittered(NamedTuple):
    """A kernel with what was added to its diagonal.

    Attributes:
        kernel: (n, n) float64.
        jitter: the number added, to be recorded; 0 where none was needed.
    """

    kernel: Float[np.ndarray, "n n"]
    jitter: float


def add_jitter(kernel: Real[AnyArray, "n n"], relative: float | None = None) -> Jittered:
    """Return K + jitter I, with jitter = relative x mean diagonal.

    It is the kernel of the network plus independent noise of variance `jitter` on each
    output, so it changes log V(f): record it beside every number that comes of it.

    Args:
        kernel: (n, n) symmetric.
        relative: the jitter asked for; left out, 0 if K has a Cholesky factorisation, else the
            least of 1e-14, 1e-13, ..., 1e-6 with which it has one.

    Raises:
        ValueError: not a finite symmetric square matrix, `relative` not above 0, or 1e-6 is not
            enough: then K is not a covariance up to rounding.
    """
    kernel = _checked(kernel)
    identity, unit = np.eye(len(kernel)), float(np.trace(kernel)) / len(kernel)
    if relative is not None:
        jitter = checks.positive("relative", relative) * unit
        return Jittered(kernel + jitter * identity, jitter)
    for jitter in (0.0, *(10.0**power * unit for power in range(-14, -5))):
        jittered = kernel + jitter * identity
        try:
            np.linalg.cholesky(jittered)
        except np.linalg.LinAlgError:
            continue
        return Jittered(jittered, jitter)
    raise ValueError(
        f"kernel: got least eigenvalue {np.linalg.eigvalsh(kernel)[0]:.3g} at mean diagonal "
        f"{unit:.3g}, wanted positive semidefinite up to rounding: a jitter of 1e-6 of the "
        "diagonal does not mend it. Look for what made it indefinite."
    )


def _checked(kernel: Real[AnyArray, "n n"]) -> Float[np.ndarray, "n n"]:
    kernel = checks.finite("kernel", kernel, ndim=2).astype(np.float64, copy=False)
    if kernel.shape[0] != kernel.shape[1] or not kernel.size:
        raise ValueError(f"kernel: got shape {kernel.shape}, wanted (n, n) with n >= 1.")
    if not np.allclose(kernel, kernel.T, rtol=0, atol=1e-10 * np.abs(kernel).max()):
        raise ValueError("kernel: not symmetric; if this is rounding, pass (K + K.T) / 2.")
    return kernel
