"""An unbiased estimate of V(f) with a standard error and a verdict on that error."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int, Shaped
from scipy.special import logsumexp
from scipy.stats import chi2

from flatvol_jax.runtime.arrays import AnyArray, Counts, Reals, Words
from flatvol_jax.runtime.printing import (
    prints_as,
    value_or_counts,
    value_or_range,
    with_error,
)
from flatvol_jax.volume.ep import EP
from flatvol_jax.volume.host_posterior import signed_factor_on_host
from flatvol_jax.volume.importance import Replicates, twisted_importance_sampling
from flatvol_jax.volume.posterior import Posterior

PROPOSALS = ("auto", "ep", "prior")
CERTIFIED = "certified"
"""The `status` of an estimate whose replicates agree, whose particles are effective and whose
standard error covers the kernel's."""
CERTIFIED_GIVEN_KERNEL = "certified given this kernel"
"""The same of a kernel that came as a matrix: if it was sampled, its error is not covered."""

_COUNTABLE = -2.0  # nats; from this EP value on the prior itself is the better proposal
WIDEST = 0.25  # nats; beyond it log V and its error are no longer nearly normal
_LEAST_EFFECTIVE = 0.1  # share of the particles
_ROUNDING = 1e-20
_CHANCE = 1e-3  # of "replicates disagree" when they agree


@prints_as(
    lambda found: (
        f"Estimate({with_error(found.log_volume, found.standard_error)} nats, "
        f"{value_or_counts(found.status)}; effective samples "
        f"{value_or_range(np.round(found.effective_sample_size))} of "
        f"{value_or_range(found.particles)})"
    )
)
class Estimate(NamedTuple):
    """A sampling estimate of one P(f), or of many with a leading shape.

    Attributes:
        log_volume: log of the mean of R replicates, nats. The mean is unbiased for V(f), its
            log is below log V by about standard_error²/2 on average.
        standard_error: nats, `sampling_error`, `kernel_error` and the rounding of the kernel
            added in squares; without the kernel's where the status says "given this kernel".
        within_error: nats, the sampling's from inside the runs (from the particles' ancestors);
            agrees with sampling_error unless the weights have a heavy tail.
        effective_sample_size: (Σw)²/Σw², least of the run, summed over replicates.
        particles: all particles, N R.
        log_replicates: log V_r, nats, shape (..., R).
        status: "certified", "certified given this kernel" for a matrix, which may have been
            sampled, or why the word is only "estimate": "few effective samples" (below a tenth
            of the particles), "replicates disagree" (their spread exceeds what the runs say of
            themselves, at 0.1%: a heavy tail), "imprecise" (standard error above 0.25 nats),
            "failed" (not finite: the kernel is too nearly singular).
        proposal: "ep" or "prior", what twisted the sampling.
        sampling_error: nats, from the spread of the replicates: sd(V_r) / (√R mean V_r).
        kernel_error: nats, see `LogVolume`; NaN for a matrix.
        kernel_bias: nats, see `LogVolume`, taken off log_volume; NaN for a matrix.
    """

    log_volume: Float[Reals, "*shape"]
    standard_error: Float[Reals, "*shape"]
    within_error: Float[Reals, "*shape"]
    effective_sample_size: Float[Reals, "*shape"]
    particles: Int[Counts, "*shape"]
    log_replicates: Float[np.ndarray, "*shape R"]
    status: Shaped[Words, "*shape"]
    proposal: Shaped[Words, "*shape"]
    sampling_error: Float[Reals, "*shape"]
    kernel_error: Float[Reals, "*shape"]
    kernel_bias: Float[Reals, "*shape"]


def sampling_estimate(
    key: Array,
    kernel: Float[AnyArray, "n n"] | None,
    labels: Float[AnyArray, " n"],
    ep: EP,
    posterior: Posterior,
    proposal: str,
    particles: int,
    replicates: int,
    rounding_error: float | np.float64 = 0.0,
    prior_mean: Float[AnyArray, " n"] | None = None,
) -> Estimate:
    """Estimate P(y) by sequential importance sampling, the hardest coordinates first.

    Args:
        key: for all draws.
        kernel: K, (n, n) float64; only "prior" needs it.
        labels: ±1, (n,) float64.
        ep: a run of EP on them, at its fixed point or not.
        posterior: the Gaussian of its sites.
        proposal: "ep", or "prior", which leaves the sites out: plain Monte Carlo with each
            half-line integrated exactly, whose weights lie in [0, 1]; "auto" takes "prior"
            where EP's log V is above -2 nats.
        particles: N, of one replicate.
        replicates: R.
        rounding_error: nats, what the rounding of K does to log V; in the standard error.
        prior_mean: of the outputs, (n,), which "prior" samples from; 0 where left out. The
            posterior knows of it.
    """
    proposal = chosen_proposal(proposal, ep)
    precision, shift = ep.sites.precision, labels * ep.sites.shift
    if proposal == "prior":
        if kernel is None:
            raise ValueError("kernel: got None, wanted K: proposal 'prior' samples from it.")
        precision = shift = jnp.zeros_like(labels)
        mean = shift if prior_mean is None else prior_mean
        posterior = Posterior(mean, kernel, np.float64(0.0))
    order = hardest_first(labels, ep)
    runs = twisted_importance_sampling(
        key,
        (labels * posterior.mean)[order],
        signed_factor(posterior.covariance, labels, order),
        precision[order],
        shift[order],
        particles,
        replicates,
    )
    runs = jax.device_get(runs)
    normaliser = float(posterior.log_normaliser)
    return combined_replicates(runs, normaliser, particles, proposal, rounding_error)


def chosen_proposal(proposal: str, ep: EP) -> str:
    """Return "ep" or "prior": what "auto" means for this run of EP."""
    if proposal == "auto":
        return "prior" if ep.log_volume > _COUNTABLE else "ep"
    return proposal


def hardest_first(labels: Float[AnyArray, " n"], ep: EP) -> Int[Array, " n"]:
    """Return the order of sampling: outputs least expected to have their sign come first."""
    return jnp.argsort(labels * ep.cavities.mean / jnp.sqrt(ep.cavities.variance))


def signed_factor(
    covariance: Float[AnyArray, "n n"], labels: Float[AnyArray, " n"], order: Int[Array, " n"]
) -> Float[AnyArray, "n n"]:
    """Return the Cholesky factor of the covariance of y z, its coordinates reordered.

    A NumPy array is factorised by LAPACK.
    """
    if isinstance(covariance, np.ndarray):
        return signed_factor_on_host(covariance, np.asarray(labels), order)
    return _device_signed_factor(covariance, labels, order)


@jax.jit
def _device_signed_factor(
    covariance: Float[AnyArray, "n n"], labels: Float[AnyArray, " n"], order: Int[Array, " n"]
) -> Float[Array, "n n"]:
    signs = labels[order]
    ordered = covariance[order][:, order] * signs[:, None] * signs
    return jnp.linalg.cholesky(ordered, symmetrize_input=False)


def combined_replicates(
    runs: Replicates,
    log_normaliser: float,
    particles: int,
    proposal: str,
    rounding_error: float | np.float64,
) -> Estimate:
    """Join independent replicates into one estimate, with what its error is worth."""
    replicates = len(runs.log_estimate)
    log_total = logsumexp(runs.log_estimate)
    relative = np.exp(runs.log_estimate - log_total) * replicates  # V_r / mean V_r
    sampling_error = float(np.std(relative, ddof=1) / np.sqrt(replicates))
    standard_error = float(np.hypot(sampling_error, rounding_error))
    # Each run's variance is relative to P(y)²: the mean over runs is that of one run.
    within = float(np.sqrt(max(float(np.mean(runs.relative_variance)), 0.0) / replicates))
    effective = float(np.sum(runs.effective_sample_size))
    freedom = replicates - 1
    spread = freedom * sampling_error**2
    if not np.isfinite(log_total):
        status = "failed"
    elif effective < _LEAST_EFFECTIVE * particles * replicates:
        status = "few effective samples"
    elif standard_error > WIDEST:
        status = "imprecise"
    elif spread > chi2.isf(_CHANCE, freedom) * within**2 + _ROUNDING:
        status = "replicates disagree"
    else:
        status = CERTIFIED
    return Estimate(
        np.float64(log_normaliser + log_total - np.log(replicates)),
        np.float64(standard_error),
        np.float64(within),
        np.float64(effective),
        np.int64(particles * replicates),
        log_normaliser + np.asarray(runs.log_estimate),
        np.str_(status),
        np.str_(proposal),
        np.float64(sampling_error),
        np.float64(np.nan),
        np.float64(np.nan),
    )


def impossible_estimate(replicates: int, particles: int) -> Estimate:
    """Return the exact answer log V = -inf, in the form of an estimate."""
    nowhere = np.full(replicates, -np.inf)
    total = particles * replicates
    return Estimate(
        np.float64(-np.inf),
        np.float64(0.0),
        np.float64(0.0),
        np.float64(total),
        np.int64(total),
        nowhere,
        np.str_(CERTIFIED),
        np.str_("exact"),
        np.float64(0.0),
        np.float64(np.nan),
        np.float64(np.nan),
    )
