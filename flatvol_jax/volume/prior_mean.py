"""EP for outputs whose prior mean is not 0: z ~ N(μ, K), all labels +1."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.precision import to_host
from flatvol_jax.volume.ep import (
    DENSE,
    EP,
    Cavities,
    LinearAlgebra,
    Marginals,
    Sites,
    expectation_propagation,
)
from flatvol_jax.volume.host_ep import iterated_on_host, lapack_marginals, on_cpu
from flatvol_jax.volume.posterior import Posterior, gaussian_posterior


class Shifted(NamedTuple):
    """A prior N(mean, kernel)."""

    kernel: Array
    mean: Array


def marginals_with_mean(
    mean: Float[AnyArray, " n"], centred: Callable[[Sites], Marginals], sites: Sites
) -> Marginals:
    """Return the marginals under N(μ, K) from those under N(0, K).

    With w = z - μ the sites are exp((ν - τμ) w - τw²/2) times exp(ν'μ - ½ μ'Sμ). EP takes log Z
    as ½ ν'E z - ½ log|B| and more; with m = E z what is missing is ½ μ'(ν - S m), which goes into
    the determinant's place.

    Args:
        mean: μ.
        centred: the marginals of sites under N(0, K).
        sites: τ and ν, in the coordinates of z.
    """
    precision, shift = sites
    found = centred(Sites(precision, shift - precision * mean))
    posterior = found.mean + mean
    missing = 0.5 * (mean * (shift - precision * posterior)).sum()
    return Marginals(posterior, found.uncertainty, found.half_log_determinant - missing)


def _shifted_marginals(prior: Shifted, root: Array, precision: Array, shift: Array) -> Marginals:
    def centred(sites):
        return DENSE.marginals(prior.kernel, root, *sites)

    return marginals_with_mean(prior.mean, centred, Sites(precision, shift))


SHIFTED = LinearAlgebra(lambda prior: jnp.diagonal(prior.kernel), _shifted_marginals)


def ep_with_mean(
    kernel: Float[np.ndarray, "n n"], mean: Float[np.ndarray, " n"], tolerance: float, most: int
) -> EP:
    """Return EP's fixed point of P(z > 0), z ~ N(mean, kernel), on the host.

    Args:
        kernel: K, (n, n) float64.
        mean: μ, (n,).
        tolerance: nats, on the residual.
        most: iterations.
    """
    ones, variance = np.ones(len(mean)), np.diagonal(kernel)
    start = Cavities(mean, variance / np.e)
    if on_cpu(jnp.zeros(())):
        centred = partial(lapack_marginals, kernel, ones)

        def marginals(sites):
            return marginals_with_mean(mean, centred, Sites(*map(np.asarray, sites)))

        ep = iterated_on_host(variance, marginals, ones, start, tolerance, most)
    else:
        prior = Shifted(jnp.asarray(kernel), jnp.asarray(mean))
        ep = expectation_propagation(prior, ones, start, tolerance, most, SHIFTED)
    return to_host(ep)


def posterior_with_mean(
    kernel: Float[AnyArray, "n n"],
    mean: Float[np.ndarray, " n"],
    precision: Float[AnyArray, " n"],
    shift: Float[AnyArray, " n"],
) -> Posterior:
    """Return N(μ, K) times the sites, as `gaussian_posterior` does for μ = 0."""
    found = gaussian_posterior(kernel, precision, shift - precision * mean)
    normaliser = found.log_normaliser + np.sum(mean * (shift - 0.5 * precision * mean))
    return Posterior(found.mean + mean, found.covariance, normaliser)
