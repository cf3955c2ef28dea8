"""Checks of the kernel and the labels that every volume estimator makes."""

import jax
import numpy as np
from jaxtyping import Float, Int, Real
from scipy.linalg.lapack import dpotrf

from flatvol_jax.runtime import checks, memory
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.volume.correlation import correlation_matrix, output_scales
from flatvol_jax.volume.ep import Cavities

_SYMMETRY = 1e-10  # relative to the outputs' standard deviations
_NEGATIVE = 1e-11  # eigenvalues of correlations below minus this share of n are not rounding
_LARGEST_VARIANCE = 1e100
_PIVOT = 2 * np.finfo(np.float64).eps  # times n: what rounding does to a conditional variance
_ROWS = 1024


def ep_matrices(batch_size: int = 1, noise: bool = True) -> float:
    """Return the number of n² float64 that EP holds at once beside the kernel it is given.

    The correlations as JAX has them, and those that they are made of where the link has noise.
    Of each labelling under way the scaled matrix, its factor and the inverse of that. XLA also
    writes out the squares that go into the column norms, of one or two labellings at a time. 0.3
    of it are masks.
    """
    return 1.2 + noise + 3.1 * batch_size + min(batch_size, 2)


def checked_kernel(
    kernel: Float[AnyArray, "n n"], matrices: float | None = None
) -> Float[np.ndarray, "n n"]:
    """Return a kernel that is float64, square, finite, symmetric and positive semidefinite.

    Args:
        kernel: what the caller gave.
        matrices: how many arrays of its size the work ahead holds at once beside it; left out,
            those of EP, one labelling at a time, whatever the link.
    """
    checked_correlation(kernel, matrices=matrices)
    return np.asarray(kernel)


def checked_correlation(
    kernel: Float[AnyArray, "n n"], noise: float = 0.0, matrices: float | None = None
) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, " n"]]:
    """Check a kernel; return the correlations of K + noise I, and each output's scale.

    K is positive semidefinite exactly where its correlations are; those show it for every output,
    however small its variance. The noise is added after the check.

    Args:
        kernel: what the caller gave.
        noise: variance of the link's noise.
        matrices: as in `checked_kernel`.
    """
    kernel = checked_entries(kernel)
    check_memory(len(kernel), ep_matrices() if matrices is None else matrices)
    matrix, slack = correlation_matrix(kernel), rounding(len(kernel))
    if _least_pivot(matrix, slack) is None:
        least = np.linalg.eigvalsh(matrix)[0]
        raise NumericalFault(
            f"kernel: got an indefinite matrix, its correlations have least eigenvalue "
            f"{least:.3g}; wanted positive semidefinite, {-slack:.1g} or more. Compute it in "
            f"float64. {jitter_advice(kernel, max(-2 * least, slack))}"
        )
    scale = output_scales(kernel, noise)
    if noise > 0:
        share = output_scales(kernel) / scale
        matrix = matrix * (share[:, None] * share)
        np.fill_diagonal(matrix, 1.0)
    return matrix, scale


def jitter_advice(kernel: Float[AnyArray, "n n"], share: float) -> str:
    """Say what a jitter of this share of the largest variance is."""
    jitter = share * np.diagonal(kernel).max()
    return (
        f"K + {jitter:.1g} * np.eye({len(kernel)}) is another prior, that of a network with noise "
        "of this variance on its outputs, and has another log V: take it only as that, recorded."
    )


def checked_entries(kernel: Float[AnyArray, "n n"]) -> Float[np.ndarray, "n n"]:
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
            "Under the Heaviside link log V does not depend on an output's scale: divide by it."
        )
    _check_symmetric(kernel)
    return kernel


def rounding(n: int) -> float:
    """Return how far below 0 the eigenvalues of n positive semidefinite correlations may be."""
    return _NEGATIVE * n


def rounding_jitter(n: int) -> float:
    """Return what rounding does to the eigenvalues and the factorisation of n correlations."""
    return _PIVOT * n


def check_invertible(matrix: Float[np.ndarray, "n n"], kernel: Float[AnyArray, "m m"]) -> None:
    """Refuse correlations that are too nearly singular to sample from their conditionals.

    An output's variance given those before it must exceed what rounding does to it. The kernel
    is for the message.
    """
    pivot, least = _least_pivot(matrix, 0.0), rounding_jitter(len(matrix))
    if pivot is None or pivot < least:
        value = np.linalg.eigvalsh(matrix)[0]
        raise NumericalFault(
            f"kernel: got a singular matrix: its correlations have least eigenvalue {value:.3g}, "
            f"and sampling wants every output to keep at least {least:.1g} of its variance given "
            "the others, which float64 can tell from 0. Method 'ep' takes it. Inputs of which one "
            "raw column hides the others are to be scaled. " + jitter_advice(kernel, 1e-10)
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
    scale = output_scales(kernel)
    for begin in range(0, len(kernel), _ROWS):
        rows = slice(begin, begin + _ROWS)
        difference = np.abs(kernel[rows] - kernel[:, rows].T)
        if difference.max() <= _SYMMETRY * scale.min() ** 2:
            continue
        asymmetry = (difference / scale / scale[rows, None]).max()
        if asymmetry > _SYMMETRY:
            raise ValueError(
                f"kernel: got |K - K'| up to {difference.max():.3g}, {asymmetry:.3g} of the "
                "outputs' standard deviations; wanted a symmetric matrix; if this is rounding, "
                "pass (K + K.T) / 2."
            )


def _least_pivot(kernel: np.ndarray, slack: float) -> float | None:
    """Return the least squared pivot of the Cholesky factor of K + slack I; None where it fails."""
    matrix = np.array(kernel, order="F")
    matrix[np.diag_indices_from(matrix)] += slack
    factor, failed = dpotrf(matrix, lower=True, overwrite_a=True, clean=False)
    return None if failed else float(np.diagonal(factor).min() ** 2)


def checked_labels(labels: Real[AnyArray, "*shape n"], n: int) -> Int[np.ndarray, "*shape n"]:
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
            "from network outputs: np.where(output > 0, 1, -1). Labels 0..C-1 of C classes: "
            "fv.log_volume(..., classes=C)."
        )
    return labels.astype(np.int8)


def checked_start(start: Cavities, n: int) -> Cavities:
    """Return cavities of n outputs that are finite, of variances above 0."""
    if not isinstance(start, Cavities):
        raise ValueError(
            f"start: got {type(start).__name__}, wanted the `cavities` of another labelling's "
            "LogVolume."
        )
    mean = checks.finite("start.mean", start.mean, ndim=1)
    variance = checks.finite("start.variance", start.variance, ndim=1)
    if len(mean) != n or len(variance) != n or (variance <= 0).any():
        raise ValueError(
            f"start: got cavities of shapes {mean.shape} and {variance.shape}, the least "
            f"variance {variance.min(initial=np.inf)}; wanted ({n},) and variances above 0."
        )
    return Cavities(mean, variance)
