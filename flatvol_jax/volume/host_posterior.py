"""The Gaussian of EP's sites and its factor by LAPACK, in a third of the time that XLA takes."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dlauum, dpotrf, dtrtri

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.precision import float64_types
from flatvol_jax.volume.host_ep import on_cpu
from flatvol_jax.volume.posterior import Posterior, gaussian_posterior
from flatvol_jax.volume.triangles import mirror_upper

_SOFT = 1e-2  # of τ_i K_ii: below it 1 - diag(B^-1) has lost two digits to the difference
_MOST_SOFT = 0.25  # share of the outputs


def gaussian_of_sites(
    kernel: jax.Array, precision: Float[AnyArray, " n"], shift: Float[AnyArray, " n"]
) -> Posterior:
    """Return the prior N(0, K) times the sites: by LAPACK where K lies in the host's memory."""
    run = gaussian_posterior_on_host if on_cpu(kernel) else gaussian_posterior
    return run(kernel, precision, shift)


def gaussian_posterior_on_host(
    kernel: Float[AnyArray, "n n"],
    precision: Float[AnyArray, " n"],
    shift: Float[AnyArray, " n"],
) -> Posterior:
    """Return what `posterior.gaussian_posterior` returns, as NumPy arrays up to rounding.

    With B = I + S^½ K S^½ = L L': Σ = S^-½ (I - B^-1) S^-½, n³ operations in all. The columns of
    soft sites, where I - B^-1 is a difference of numbers near 1, are Σ e_j = K e_j - V'V e_j with
    V = L^-1 S^½ K. Where those are many, all are.
    """
    kernel, precision, shift = (np.asarray(array) for array in (kernel, precision, shift))
    soft = np.flatnonzero(precision * np.diagonal(kernel) < _SOFT)
    if len(soft) > _MOST_SOFT * len(kernel):
        with float64_types():
            return Posterior(*map(np.asarray, gaussian_posterior(kernel, precision, shift)))
    root = np.sqrt(precision)
    scaled = kernel * root
    scaled *= root[:, None]
    scaled.flat[:: len(kernel) + 1] += 1.0
    factor, failed = dpotrf(scaled.T, lower=1, overwrite_a=1, clean=1)
    if failed:
        nothing = np.full_like(kernel, np.nan)
        return Posterior(nothing[0], nothing, np.float64(np.nan))
    half_log_determinant = np.log(np.diagonal(factor)).sum()
    inverse, _ = dtrtri(factor, lower=1, overwrite_c=1)
    columns = root[:, None] * kernel[:, soft]
    columns = dtrmm(1.0, inverse, dtrmm(1.0, inverse, columns, lower=1), lower=1, trans_a=1)
    columns = kernel[:, soft] - kernel @ (root[:, None] * columns)

    covariance = -dlauum(inverse, lower=1, overwrite_c=1)[0].T  # its upper triangle counts
    mirror_upper(covariance)
    covariance.flat[:: len(kernel) + 1] += 1.0
    safe = np.maximum(root, np.finfo(np.float64).tiny)
    covariance /= safe
    covariance /= safe[:, None]
    covariance[:, soft] = columns
    covariance[soft] = columns.T
    covariance[np.ix_(soft, soft)] = 0.5 * (columns[soft] + columns[soft].T)
    mean = covariance @ shift
    return Posterior(mean, covariance, 0.5 * shift @ mean - half_log_determinant)


def signed_factor_on_host(
    covariance: Float[np.ndarray, "n n"],
    labels: Float[np.ndarray, " n"],
    order: Int[AnyArray, " n"],
) -> Float[AnyArray, "n n"]:
    """Return what `sampling.signed_factor` returns; NaN where there is no factor."""
    order = np.asarray(order)
    signs = labels[order]
    ordered = covariance[np.ix_(order, order)]
    ordered *= signs
    ordered *= signs[:, None]
    factor, failed = dpotrf(ordered.T, lower=0, overwrite_a=1, clean=1)
    if failed:
        factor = np.full_like(covariance, np.nan)
    return jnp.asarray(factor.T)
