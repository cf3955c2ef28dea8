"""What every volume estimator asks of its kernel and labels."""

import jax
import numpy as np
from scipy.linalg.lapack import dpotrf

from flatvol_jax.runtime import checks, memory
from flatvol_jax.runtime.faults import NumericalFault

_SYMMETRY = 1e-10  # relative to the largest variance
_NEGATIVE = 1e-11  # eigenvalues below minus this share of the trace are not rounding
_LARGEST_VARIANCE = 1e100
_LEAST_PIVOT = 1e-10  # conditional variances below this share of the largest are rounding
_ROWS = 1024


def ep_matrices(batch_size: int = 1, noise: bool = True) -> float:
    """The number of n² float64 that EP holds at once beside the kernel it is given.

    K as JAX has it, and K with the link's noise where there is any. Of each labelling under way
    the scaled K, its factor and the inverse of that. XLA also writes out the squares that go
    into the column norms, of one or two labellings at a time. 0.3 of it are masks.
    """
    return 1.2 + noise + 3.1 * batch_size + min(batch_size, 2)


def checked_kernel(kernel: np.ndarray, matrices: float | None = None) -> np.ndarray:
    """Return a kernel that is float64, square, finite, symmetric and positive semidefinite.

    Args:
        kernel: what the caller gave.
        matrices: how many arrays of its size the work ahead holds at once beside it; left out,
            those of EP, one labelling at a time, whatever the link.
    """
    kernel = checked_entries(kernel)
    check_memory(len(kernel), ep_matrices() if matrices is None else matrices)
    slack = rounding(kernel)
    if _least_pivot(kernel, slack) is None:
        least = np.linalg.eigvalsh(kernel)[0]
        raise NumericalFault(
            f"kernel: got an indefinite matrix, least eigenvalue {least:.3g}; wanted positive "
            f"semidefinite. If this is rounding, add a jitter and record it: "
            f"K + {max(-2 * least, slack):.1g} * np.eye({len(kernel)})."
        )
    return kernel


def checked_entries(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel that is float64, square, finite, symmetric, of positive diagonal.

    It is read some rows at a time, so that it may be a `np.memmap`.
    """
    kernel = checks.concrete("kernel", kernel)
    if kernel.dtype != np.float64:
        raise ValueError(
            f"kernel: got dtype {kernel.dtype}, wanted float64: rounding the kernel to float32 "
            "moves log V by 0.01 to 0.1 nats already at n = 500. nngp_kernel returns float64; "
            "compute your own inside `with jax.enable_x64(True):` and convert it with np.asarray."
        )
    n = len(kernel) if kernel.ndim else 0
    if kernel.shape != (n, n) or n == 0:
        raise ValueError(f"kernel: got shape {kernel.shape}, wanted (n, n) with n >= 1.")
    if not all(np.isfinite(kernel[i : i + _ROWS]).all() for i in range(0, n, _ROWS)):
        checks.finite("kernel", kernel)
    _check_symmetric(kernel)
    diagonal = np.diagonal(kernel)
    if diagonal.min() <= 0:
        worst = int(diagonal.argmin())
        raise NumericalFault(
            f"kernel: got K[{worst}, {worst}] = {diagonal[worst]:.3g}, wanted a positive "
            "diagonal. A zero is an input whose output is exactly 0 (sigma_b = 0 at the zero "
            "input): leave that input out."
        )
    if diagonal.min() < 1 / _LARGEST_VARIANCE or diagonal.max() > _LARGEST_VARIANCE:
        raise NumericalFault(
            f"kernel: got variances from {diagonal.min():.3g} to {diagonal.max():.3g}, wanted "
            f"{1 / _LARGEST_VARIANCE:g} to {_LARGEST_VARIANCE:g}: their squares must be finite. "
            "Under the Heaviside link log V does not depend on the scale: divide K by it."
        )
    return kernel


def rounding(kernel: np.ndarray) -> float:
    """How far below 0 the eigenvalues of a positive semidefinite kernel may be."""
    return _NEGATIVE * float(np.trace(kernel))


def check_invertible(kernel: np.ndarray) -> None:
    """Refuse a kernel that is too nearly singular to sample from its conditionals."""
    pivot = _least_pivot(kernel, 0.0)
    scale = np.diagonal(kernel).max()
    if pivot is None or pivot < _LEAST_PIVOT * scale:
        least = np.linalg.eigvalsh(kernel)[0]
        raise NumericalFault(
            f"kernel: got a nearly singular matrix, least eigenvalue {least:.3g} beside a "
            f"largest variance of {scale:.3g}; sampling wants every output to keep at least "
            f"{_LEAST_PIVOT:g} of that given the others. Add a jitter and record it, "
            f"K + {10 * _LEAST_PIVOT * scale:.1g} * np.eye({len(kernel)}), or use method='ep'."
        )


def check_memory(n: int, matrices: float, particles: int = 0) -> None:
    """Refuse what the host cannot hold beside the kernel: n² float64 each, and particles.

    A particle is n float64 twice, and a fifth of that for what XLA keeps of a block of them.
    """
    if jax.default_backend() == "gpu":  # whose memory is its own; a TPU leaves EP to the host
        return
    memory.check_memory(
        "kernel",
        n,
        lambda n: 8 * n * (matrices * n + 2.4 * particles),
        "Take fewer inputs, a smaller batch_size, fewer particles or replicates, or a machine "
        "with more memory.",
    )


def _check_symmetric(kernel: np.ndarray) -> None:
    largest = np.abs(np.diagonal(kernel)).max()
    for begin in range(0, len(kernel), _ROWS):
        rows = slice(begin, begin + _ROWS)
        asymmetry = np.abs(kernel[rows] - kernel[:, rows].T).max()
        if asymmetry > _SYMMETRY * largest:
            raise ValueError(
                f"kernel: got |K - K'| up to {asymmetry:.3g}, wanted a symmetric matrix; "
                "if this is rounding, pass (K + K.T) / 2."
            )


def _least_pivot(kernel: np.ndarray, slack: float) -> float | None:
    """Least squared diagonal entry of the Cholesky factor of K + slack I; None where it fails."""
    matrix = np.array(kernel, order="F")
    matrix[np.diag_indices_from(matrix)] += slack
    factor, failed = dpotrf(matrix, lower=True, overwrite_a=True, clean=False)
    return None if failed else float(np.diagonal(factor).min() ** 2)


def checked_labels(labels: np.ndarray, n: int) -> np.ndarray:
    """Return labels of shape (..., n) as int8, every entry -1 or +1."""
    labels = checks.finite("labels", labels)
    if labels.ndim == 0 or labels.shape[-1] != n:
        raise ValueError(
            f"labels: got shape {labels.shape}, wanted (..., {n}) for a kernel of {n} inputs."
        )
    if labels.size == 0:
        raise ValueError(f"labels: got shape {labels.shape}, wanted at least one labelling.")
    if not (np.abs(labels) == 1).all():
        values = ", ".join(f"{value:g}" for value in np.unique(labels)[:5])
        raise ValueError(
            f"labels: got the values {values}, wanted -1 and +1 only. From 0 and 1: 2 * y - 1; "
            "from network outputs: np.where(output > 0, 1, -1)."
        )
    return labels.astype(np.int8)
