"""Joint moments of the differences under EP's Gaussian: covariances, correction, increments."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg.blas import dsyrk, dtrsm

from flatvol_jax.volume.correction import Correction, judged_correction, tilted_cumulants
from flatvol_jax.volume.ep import EP
from flatvol_jax.volume.multiclass.differences import (
    Problem,
    on_grid,
    scaled_sites,
)
from flatvol_jax.volume.multiclass.host_algebra import Pieces, factor_of_class, mirror_upper
from flatvol_jax.volume.posterior import Posterior

_SINGLE_FROM = 500


def covariance_given_winners(
    kernel: Float[np.ndarray, "n n"],
    root: Float[np.ndarray, " n"],
    own: Bool[np.ndarray, " n"],
    work: Float[np.ndarray, "n n"],
) -> Float[np.ndarray, "n n"]:
    """Return K - K B_c K: the covariance of one class's outputs given those of the winners.

    As K - H'H with H = L_c^-1 T_c K, which keeps its digits where sites are all but flat.
    """
    factor = factor_of_class(kernel, root, own, work)
    half = dtrsm(1.0, factor, np.asfortranarray(root[:, None] * kernel), lower=1, overwrite_b=1)
    taken = dsyrk(1.0, half, trans=1, lower=1).T
    mirror_upper(taken)
    return kernel - taken


def weighted_rotations(problem: Problem, ep: EP, pieces: Pieces) -> Float[np.ndarray, "C n n"]:
    """Turn Y_c into Y_c N_c in place, (C, n, n): Cov(g_ic, g_jd) has the product of i and j.

    Cov(g_ic, g_jd) = [c = d] (K - K B_c K)_ij + (Y_c N_c)_·i' (Y_d N_d)_·j, with Y_c = L_P^-1 B_c.
    """
    pieces.rotated[:] *= scaled_sites(problem, ep.sites).variance[:, :, None]
    return pieces.rotated


def class_correction(
    problem: Problem,
    ep: EP,
    rotations: Float[np.ndarray, "C n n"],
    precision: type[np.floating] | None = None,
) -> Correction:
    """Return `correction.second_order_correction` over all pairs of differences.

    Pairs of one input are among them. One pair of classes at a time, C²/2 products of matrices,
    which from `_SINGLE_FROM` inputs on are of float32: 1e-8 of the value at 500, in half the time.

    Args:
        problem: the labelling.
        ep: a run of EP on it.
        rotations: from `weighted_rotations`.
        precision: of the products; by size where left out.
    """
    kernel, scaled = np.asarray(problem.kernel), scaled_sites(problem, ep.sites)
    if precision is None:
        precision = np.float64 if len(kernel) < _SINGLE_FROM else np.float32
    cumulants = tilted_cumulants(jnp.asarray(ep.cavities.mean), jnp.asarray(ep.cavities.variance))
    variance = 1.0 / (1.0 / np.asarray(ep.cavities.variance) + np.asarray(ep.sites.precision))
    # In units of the marginals' deviations, whose powers float32 holds whatever they are.
    third, fourth = (
        on_grid(problem, np.asarray(cumulant) / variance ** (order / 2)).astype(precision)
        for order, cumulant in zip((3, 4), cumulants, strict=True)
    )
    units = on_grid(problem, variance**-0.5)[:, :, None]
    c3 = c4 = 0.0
    for c in range(len(rotations)):
        left = (rotations[c] * units[c]).astype(precision, copy=False)
        for d in range(c, len(rotations)):
            correlation = left @ (rotations[d] * units[d]).astype(precision, copy=False).T
            if c == d:
                own, work = problem.own[c], np.empty_like(kernel)
                rest = covariance_given_winners(kernel, scaled.root[c], own, work)
                rest *= units[c]
                rest *= units[c].T
                correlation += rest
                np.fill_diagonal(correlation, 0.0)
            times, square = 1.0 if c == d else 2.0, correlation**2
            correlation *= square
            c3 += times * float(third[c] @ (correlation @ third[d]))
            square *= square
            c4 += times * float(fourth[c] @ (square @ fourth[d]))
    return judged_correction(jnp.asarray(0.5 * c3 / 6.0), jnp.asarray(0.5 * c4 / 24.0))


def class_posterior(
    problem: Problem, ep: EP, pieces: Pieces, rotations: Float[np.ndarray, "C n n"]
) -> Posterior:
    """Return the Gaussian of the sites over all n(C-1) differences, dense.

    Args:
        problem: the labelling.
        ep: a run of EP on it.
        pieces: the pass over the classes at its sites.
        rotations: from `weighted_rotations`.
    """
    kernel, scaled = np.asarray(problem.kernel), scaled_sites(problem, ep.sites)
    rows = rotations[problem.classes, problem.points]
    covariance = dsyrk(1.0, rows.T, trans=1, lower=1).T
    mirror_upper(covariance)
    work = np.empty_like(kernel)
    for c, own in enumerate(problem.own):
        rest = covariance_given_winners(kernel, scaled.root[c], own, work)
        places = np.flatnonzero(problem.classes == c)
        block = slice(places[0], places[-1] + 1) if len(places) else slice(0, 0)
        covariance[block, block] += rest[np.ix_(~own, ~own)]
    return Posterior(pieces.marginals.mean, covariance, site_normaliser(ep, pieces))


def site_normaliser(ep: EP, pieces: Pieces) -> Any:
    """Return log Z_s = -½ log|I + S M| + ½ ν'E g, the sites' part of log V(f)."""
    mean = pieces.marginals.mean
    return 0.5 * np.asarray(ep.sites.shift) @ mean - pieces.marginals.half_log_determinant


def joint_uncertainty(problem: Problem, ep: EP, pieces: Pieces) -> Float[np.ndarray, "n C C"]:
    """Return the blocks of (I + S^½ M S^½)^-1 of each input's differences, (n, C, C).

    Where the class is the label itself there is a row and column of the identity.

    Args:
        problem: the labelling.
        ep: a run of EP on it.
        pieces: the pass at its sites, its rotations not weighted yet.
    """
    variance = scaled_sites(problem, ep.sites).variance
    classes, n = problem.own.shape
    blocks = np.zeros((n, classes, classes))
    for c in range(classes):
        for d in range(c, classes):
            products = np.einsum("ij,ij->i", pieces.rotated[c], pieces.rotated[d])
            blocks[:, c, d] = blocks[:, d, c] = -products * (variance[c] * variance[d]) ** 0.5
    every = np.arange(classes)
    blocks[:, every, every] += np.where(problem.own, 1.0, pieces.inverse_diagonals).T
    return blocks


def point_increments(
    problem: Problem,
    ep: EP,
    mean: Float[np.ndarray, " d"],
    uncertainty: Float[np.ndarray, "n C C"],
) -> Float[np.ndarray, " n"]:
    """Return log P(y_i | all other labels) by EP, nats, (n,).

    Without the C-1 sites of input i, EP's Gaussian says of its differences what the other labels
    say, N(r, V). P(y_i | rest) is the probability of its orthant, which EP puts at

        Σ_c [log Φ(m_ic/√v_ic) - log ∫ s_ic N(m_ic, v_ic)] + log ∫ ∏_c s_ic N(r, V),

    (m, v) the cavities of single differences: the sites at the fixed point of the whole are at
    that of each of the n small problems. With U the block of (I + S^½ M S^½)^-1 and x the mean,
    r = x + S^-½ (U^-1 - I) (S^½ x - S^-½ ν) and the last term is
    ½ log|U| + ½ (ν'x + ν'r - r'S x).

    Args:
        problem: the labelling.
        ep: a run of EP on it, whose `increments` are the log Φ.
        mean: E g at its sites, (n(C-1),).
        uncertainty: U from `joint_uncertainty`.
    """
    root = on_grid(problem, ep.sites.precision**0.5)
    shift, mean = on_grid(problem, ep.sites.shift), on_grid(problem, mean)
    inverse_root = on_grid(problem, ep.sites.precision**-0.5)

    def site_part(half_log_determinants, cavity):
        quadratic = np.sum(shift * mean + shift * cavity - root**2 * cavity * mean, axis=0)
        return np.sum(half_log_determinants, axis=0) + 0.5 * quadratic

    excess = root * mean - inverse_root * shift
    spread = np.linalg.solve(uncertainty, excess.T[:, :, None])[:, :, 0].T - excess
    together = site_part(
        0.5 * np.linalg.slogdet(uncertainty)[1][None], mean + inverse_root * spread
    )
    diagonal = np.diagonal(uncertainty, axis1=1, axis2=2).T
    apart = site_part(0.5 * np.log(diagonal), on_grid(problem, ep.cavities.mean))
    return together - apart + np.sum(on_grid(problem, ep.increments), axis=0)
