"""The outputs of random networks that fit S: weighted particles from the posterior on S."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.volume import inputs
from flatvol_jax.volume.ep import EP, expectation_propagation, prior_cavities
from flatvol_jax.volume.host_ep import expectation_propagation_on_host, on_cpu
from flatvol_jax.volume.host_posterior import gaussian_of_sites
from flatvol_jax.volume.importance import (
    Cloud,
    cloud_replicates,
    offspring_weights,
    twisted_particles,
)
from flatvol_jax.volume.posterior import Posterior
from flatvol_jax.volume.sampling import (
    Estimate,
    chosen_proposal,
    combined_replicates,
    hardest_first,
    signed_factor,
)

MATRICES = 6.0  # n² float64 at once beside the kernel: EP's, Σ and its factor
TOLERANCE = 1e-8  # nats, of EP's residual: EP only proposes
MAX_ITERATIONS = 200


@prints_its_fields
class PosteriorOutputs(NamedTuple):
    """Particles of z ~ N(0, K) given y_i z_i > 0 for all i, R replicates of N.

    The expectation of g(z) is Σ_r Ẑ_r Σ_p w̄_rp g(z_rp) / Σ_r Ẑ_r, consistent in N R.

    Attributes:
        outputs: z, (R, N, n); of C classes (R, N, C, n).
        weights: w̄, which add up to 1 within each replicate, (R, N).
        log_estimates: log Ẑ_r, of independent unbiased estimates of P(y), nats, (R,).
        ancestors: effective number of particles at the start that have offspring at the end,
            1/Σ_g W_g² for W_g the weight of the offspring of ancestor g, (R,).
        estimate: log P(y) from all replicates.
        ep: EP's approximation of the same posterior: a Gaussian; None of more than two classes.
    """

    outputs: Float[AnyArray, "R N n"]
    weights: Float[AnyArray, "R N"]
    log_estimates: Float[np.ndarray, " R"]
    ancestors: Float[AnyArray, " R"]
    estimate: Estimate
    ep: Posterior | None


def posterior_outputs(
    key: jax.Array,
    correlation: Float[np.ndarray, "n n"],
    labels: Real[np.ndarray, " n"],
    particles: int,
    replicates: int,
) -> PosteriorOutputs:
    """Draw the outputs on S of networks that give it these labels; see `posterior_accuracy`.

    Args:
        key: for all draws.
        correlation: of the outputs, (n, n) float64, not singular.
        labels: ±1, (n,).
        particles: N.
        replicates: R.

    Raises:
        NumericalFault: the matrix is too nearly singular to sample from.
    """
    inputs.check_memory(len(labels), MATRICES, particles * replicates)
    inputs.check_invertible(correlation, correlation)
    matrix, labels = jnp.asarray(correlation), np.asarray(labels, np.float64)
    ep = _fixed_point(matrix, labels)
    gaussian = gaussian_of_sites(matrix, *ep.sites)
    return sampled_outputs(key, matrix, labels, ep, gaussian, particles, replicates)


def sampled_outputs(
    key: jax.Array,
    kernel: jax.Array,
    labels: np.ndarray,
    ep: EP,
    gaussian: Posterior,
    particles: int,
    replicates: int,
) -> PosteriorOutputs:
    """Draw the outputs given a run of EP, or from the prior where that is the better proposal.

    Args:
        key: for all draws.
        kernel: K, (n, n).
        labels: ±1, (n,) float64.
        ep: a run of EP on them.
        gaussian: of its sites.
        particles: N.
        replicates: R.
    """
    proposal = chosen_proposal("auto", ep)
    precision, shift = jnp.asarray(ep.sites.precision), jnp.asarray(labels * ep.sites.shift)
    twisted = gaussian
    if proposal == "prior":
        precision = shift = jnp.zeros(len(labels))
        twisted = Posterior(shift, kernel, np.float64(0.0))
    order = hardest_first(labels, ep)
    signed, cloud = twisted_particles(
        key,
        (labels * twisted.mean)[order],
        signed_factor(twisted.covariance, labels, order),
        precision[order],
        shift[order],
        particles,
        replicates,
    )
    outputs = jnp.zeros_like(signed).at[:, order].set(signed) * labels
    return weighted_outputs(cloud, outputs, float(twisted.log_normaliser), proposal, gaussian)


def weighted_outputs(
    cloud: Cloud,
    outputs: AnyArray,
    log_normaliser: float,
    proposal: str,
    gaussian: Posterior | None = None,
) -> PosteriorOutputs:
    """Return the particles of a cloud that has visited all coordinates.

    Args:
        cloud: P = R N particles.
        outputs: theirs, (P, ...).
        log_normaliser: log Z_s of the sites that twisted them.
        proposal: "ep" or "prior".
        gaussian: of the sites.
    """
    replicates = len(cloud.log_estimate)
    log_weight = cloud.log_weight.reshape(replicates, -1)
    particles, runs = log_weight.shape[1], jax.device_get(cloud_replicates(cloud))
    return to_host(
        PosteriorOutputs(
            outputs.reshape(replicates, particles, *outputs.shape[1:]),
            jax.nn.softmax(log_weight, axis=-1),
            log_normaliser + runs.log_estimate,
            1.0 / jnp.sum(offspring_weights(cloud) ** 2, axis=-1),
            combined_replicates(runs, log_normaliser, particles, proposal, 0.0),
            gaussian,
        )
    )


def _fixed_point(matrix: jax.Array, labels: np.ndarray) -> EP:
    run = expectation_propagation_on_host if on_cpu(matrix) else expectation_propagation
    return run(matrix, labels, prior_cavities(matrix), TOLERANCE, MAX_ITERATIONS)
