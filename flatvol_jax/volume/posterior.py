"""The Gaussian that EP's sites make of the prior: its mean, covariance and normaliser."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jaxtyping import Float

from flatvol_jax.runtime.arrays import AnyArray


class Posterior(NamedTuple):
    """N(z; 0, K) ∏_i exp(ν_i z_i - τ_i z_i²/2) = Z_s N(z; m, Σ).

    Attributes:
        mean: m = Σν, shape (n,).
        covariance: Σ = (K^-1 + diag(τ))^-1, shape (n, n).
        log_normaliser: log Z_s, nats.
    """

    mean: Float[AnyArray, " n"]
    covariance: Float[AnyArray, "n n"]
    log_normaliser: Float[AnyArray, ""] | np.float64


@jax.jit
def gaussian_posterior(
    kernel: Float[AnyArray, "n n"],
    precision: Float[AnyArray, " n"],
    shift: Float[AnyArray, " n"],
) -> Posterior:
    """Multiply the prior N(0, K) by Gaussian sites of precision τ >= 0 and shift ν.

    With S = diag(τ) and B = I + S^½ K S^½ = L L': Σ = K - V'V for V = L^-1 S^½ K, and
    log Z_s = -½ log|B| + ½ ν'Σν (Rasmussen and Williams 2006, eqs 3.53 and 3.66).
    """
    root = jnp.sqrt(precision)
    identity = jnp.eye(len(precision), dtype=kernel.dtype)
    factor = jnp.linalg.cholesky(root[:, None] * kernel * root + identity, symmetrize_input=False)
    half = solve_triangular(factor, root[:, None] * kernel, lower=True)
    covariance = kernel - half.T @ half
    mean = covariance @ shift
    log_normaliser = 0.5 * shift @ mean - jnp.sum(jnp.log(jnp.diagonal(factor)))
    return Posterior(mean, covariance, log_normaliser)
