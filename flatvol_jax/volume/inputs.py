"""What every volume estimator asks of its kernel and labels."""

import numpy as np

from flatvol_jax.runtime import checks

_SYMMETRY = 1e-10  # relative to the largest entry
_NEGATIVE = 1e-11  # eigenvalues below minus this share of the trace are not rounding


def checked_kernel(kernel: np.ndarray) -> np.ndarray:
    """Return a kernel that is float64, square, finite, symmetric and positive semidefinite."""
    kernel = checks.concrete("kernel", kernel)
    if kernel.dtype != np.float64:
        raise ValueError(
            f"kernel: got dtype {kernel.dtype}, wanted float64: rounding the kernel to float32 "
            "moves log V by 0.01 to 0.1 nats already at n = 500. nngp_kernel returns float64; "
            "compute your own inside `with jax.enable_x64(True):` and convert it with np.asarray."
        )
    checks.finite("kernel", kernel, ndim=2)
    n = len(kernel)
    if kernel.shape != (n, n) or n == 0:
        raise ValueError(f"kernel: got shape {kernel.shape}, wanted (n, n) with n >= 1.")
    asymmetry = np.abs(kernel - kernel.T).max()
    if asymmetry > _SYMMETRY * np.abs(kernel).max():
        raise ValueError(
            f"kernel: got |K - K'| up to {asymmetry:.3g}, wanted a symmetric matrix; "
            "if this is rounding, pass (K + K.T) / 2."
        )
    diagonal = np.diagonal(kernel)
    if diagonal.min() <= 0:
        worst = int(diagonal.argmin())
        raise ValueError(
            f"kernel: got K[{worst}, {worst}] = {diagonal[worst]:.3g}, wanted a positive "
            "diagonal. A zero is an input whose output is exactly 0 (sigma_b = 0 at the zero "
            "input): leave that input out."
        )
    slack = _NEGATIVE * np.trace(kernel)
    try:
        np.linalg.cholesky(kernel + slack * np.eye(n))
    except np.linalg.LinAlgError:
        least = np.linalg.eigvalsh(kernel)[0]
        raise ValueError(
            f"kernel: got an indefinite matrix, least eigenvalue {least:.3g}; wanted positive "
            f"semidefinite. If this is rounding, add a jitter and record it: "
            f"K + {max(-2 * least, slack):.1g} * np.eye({n})."
        ) from None
    return kernel


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
