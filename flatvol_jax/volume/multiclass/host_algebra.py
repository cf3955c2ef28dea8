"""EP's marginals of C classes by LAPACK, one class after another: O(C n³), C + 2 matrices."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import blas, lapack

from flatvol_jax.volume.ep import Marginals, Sites
from flatvol_jax.volume.multiclass.differences import Problem, off_grid, scaled_sites
from flatvol_jax.volume.triangles import mirror_upper

_LEAF = 64


class _Routines(NamedTuple):
    """LAPACK's and BLAS's of one precision."""

    potrf: Any
    potrs: Any
    trtri: Any
    lauum: Any
    trmm: Any


_ROUTINES = {
    np.dtype(np.float64): _Routines(
        lapack.dpotrf, lapack.dpotrs, lapack.dtrtri, lapack.dlauum, blas.dtrmm
    ),
    np.dtype(np.float32): _Routines(
        lapack.spotrf, lapack.spotrs, lapack.strtri, lapack.slauum, blas.strmm
    ),
}


class Pieces(NamedTuple):
    """The results of one pass over the classes.

    Attributes:
        marginals: of the differences.
        rotated: Y_c = L_P^-1 B_c, its columns as rows, (C, n, n): rotated[c, i] = Y_c e_i.
        inverse_diagonals: diag(Ã_c^-1), (C, n).
    """

    marginals: Marginals
    rotated: Float[np.ndarray, "C n n"]
    inverse_diagonals: Float[np.ndarray, "C n"]


class HostClasses:
    """The algebra of one kernel, with memory for C matrices that all its calls share."""

    def __init__(self, kernel: np.ndarray, classes: int):
        """Take the kernel, (n, n) float64, and the number of classes."""
        self.kernel = np.asarray(kernel)
        n = len(self.kernel)
        self._work = np.empty((classes, n, n))
        self._winners = np.empty((n, n))
        self._last: tuple[Sites, Pieces] | None = None
        self._single: np.ndarray | None = None

    def marginals(self, problem: Problem, sites: Sites) -> Marginals:
        """Return what the sites make of the prior, as `ep.LinearAlgebra` asks."""
        return self.pieces(problem, sites).marginals

    def rough_marginals(self, problem: Problem, sites: Sites) -> Marginals:
        """Return the marginals with matrices of float32, in half the time and the same memory.

        u is off by some 1e-6, so that variances (1 - u)/α have three digits where α times the
        prior variance is 1e-3 (`ep.ROUGH_FLOOR`), and none where it is 1e-6.
        """
        self.forget()
        sites = Sites(*(np.asarray(leaf) for leaf in sites))
        if self._single is None:
            self._single = self.kernel.astype(np.float32)
        work, winners = (_as_single(matrices) for matrices in (self._work, self._winners))
        return _pieces(self._single, problem, sites, work, winners).marginals

    def pieces(self, problem: Problem, sites: Sites) -> Pieces:
        """Return all that one pass leaves; the pass before it if it was of these sites.

        Its arrays are overwritten by the next pass.
        """
        sites = Sites(*(np.asarray(leaf) for leaf in sites))
        if self._last is not None:
            before, pieces = self._last
            if all(np.array_equal(*pair) for pair in zip(sites, before, strict=True)):
                return pieces
        pieces = _pieces(self.kernel, problem, sites, self._work, self._winners)
        self._last = sites, pieces
        return pieces

    def forget(self) -> None:
        """Drop what is known of the last sites: another labelling begins."""
        self._last = None


def _as_single(matrices: Float[np.ndarray, "*many n n"]) -> Float[np.ndarray, "*many n n"]:
    """Return float32 matrices of the same shape in the first half of their memory."""
    size = matrices.size
    return matrices.reshape(-1).view(np.float32)[:size].reshape(matrices.shape)


def _pieces(
    kernel: Float[np.ndarray, "n n"],
    problem: Problem,
    sites: Sites,
    work: Float[np.ndarray, "C n n"],
    total: Float[np.ndarray, "n n"],
) -> Pieces:
    """Return the marginals by the equations of `docs/many_classes.md`.

    Ã_c = T_c K T_c + diag(1 on the differences), B_c = T_c Ã_c^-1 T_c = (K + N_c)^-1,
    P = Σ_c B_c = L_P L_P', t̄ = P^-1 Σ_c B_c m_c,
    E g_ic = [K B_c m_c]_i + [B_c t̄]_i/α_ic and u_ic = [Ã_c^-1]_ii - ‖L_P^-1 B_c e_i‖²/α_ic.
    NaN where a matrix has no factor: K is singular to rounding.

    Args:
        kernel: K, of the precision in which all matrices are.
        problem: the labelling.
        sites: of its differences.
        work: memory for Y_c.
        total: memory for P.
    """
    scaled, precision = scaled_sites(problem, sites), kernel.dtype
    roots, site_means = scaled.root.astype(precision), scaled.mean.astype(precision)
    routines = _ROUTINES[precision]
    total[:] = 0.0
    half_log_determinant, pulls = 0.0, np.empty(problem.own.shape, precision)
    diagonals = np.empty(problem.own.shape)
    for c, own in enumerate(problem.own):
        log_diagonal = write_precision(kernel, roots[c], own, work[c])
        if log_diagonal is None:
            return _failed(sites, work)
        half_log_determinant += log_diagonal
        diagonals[c] = work[c].diagonal() / scaled.root[c] ** 2
        total += work[c]
        pulls[c] = work[c] @ site_means[c]
    factor, failed = routines.potrf(total.T, lower=1, overwrite_a=1, clean=0)
    if failed:
        return _failed(sites, work)
    half_log_determinant += np.log(factor.diagonal()).sum(dtype=np.float64)
    winners, _ = routines.potrs(factor, pulls.sum(axis=0), lower=1)
    invert_lower(factor)
    mean, uncertainty = np.empty(pulls.shape), diagonals.copy()
    for c in range(len(pulls)):
        mean[c] = kernel @ pulls[c] + scaled.variance[c] * (work[c] @ winners)
        routines.trmm(1.0, factor, work[c].T, lower=1, overwrite_b=1)
        uncertainty[c] -= scaled.variance[c] * np.einsum("ij,ij->i", work[c], work[c])
    mean, uncertainty = off_grid(problem, mean), off_grid(problem, uncertainty)
    marginals = Marginals(mean, uncertainty, np.float64(half_log_determinant))
    return Pieces(marginals, work, diagonals)


def _failed(sites: Sites, work: np.ndarray) -> Pieces:
    nothing = np.full_like(np.asarray(sites.precision), np.nan)
    marginals = Marginals(nothing, nothing, np.float64(np.nan))
    return Pieces(marginals, work, nothing)


def write_precision(
    kernel: Float[np.ndarray, "n n"],
    root: Float[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    out: Float[np.ndarray, "n n"],
) -> float | None:
    """Write B_c to `out` and return ½ log|Ã_c|, or None where there is no factor."""
    factor = factor_of_class(kernel, root, own, out)
    if factor is None:
        return None
    half_log_determinant = float(np.log(factor.diagonal()).sum(dtype=np.float64))
    precision_from_factor(factor, root)
    mirror_upper(out)
    return half_log_determinant


def precision_from_factor(factor: np.ndarray, root: np.ndarray) -> None:
    """Turn the lower factor of Ã_c into the lower triangle of B_c = T_c Ã_c^-1 T_c, in place."""
    invert_lower(factor)
    factor *= root
    _ROUTINES[factor.dtype].lauum(factor, lower=1, overwrite_c=1)


def invert_lower(factor: np.ndarray) -> None:
    """Invert a lower triangular matrix in place, half by half, leaving what is above it.

    LAPACK's own goes column by column of blocks, which takes twice as long at a few hundred.
    """
    n, routines = len(factor), _ROUTINES[factor.dtype]
    if n <= _LEAF:
        factor[:] = routines.trtri(factor, lower=1)[0]
        return
    head, tail = slice(0, n // 2), slice(n // 2, n)
    invert_lower(factor[head, head])
    invert_lower(factor[tail, tail])
    below = routines.trmm(-1.0, factor[tail, tail], factor[tail, head], lower=1)
    factor[tail, head] = routines.trmm(
        1.0, factor[head, head], below, side=1, lower=1, overwrite_b=1
    )


def factor_of_class(
    kernel: Float[np.ndarray, "n n"],
    root: Float[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    out: Float[np.ndarray, "n n"],
) -> np.ndarray | None:
    """Return the lower factor of Ã_c, a view of `out` by columns; None where there is none."""
    np.multiply(kernel, root, out=out)
    out *= root[:, None]
    out.reshape(-1)[:: len(out) + 1] += ~own
    # Symmetric: its transpose has the columns that LAPACK works on, without a copy.
    factor, failed = _ROUTINES[out.dtype].potrf(out.T, lower=1, overwrite_a=1, clean=0)
    return None if failed else factor
