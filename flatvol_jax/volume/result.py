"""The result log V(f): the value, its error and what the error covers."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from flatvol_jax.runtime.arrays import Counts, Flags, Reals, Words
from flatvol_jax.runtime.printing import (
    prints_as,
    value_or_counts,
    value_or_range,
    with_error,
)
from flatvol_jax.volume.correction import Correction
from flatvol_jax.volume.ep import EP, Cavities, Sites
from flatvol_jax.volume.repetitions import Repetitions
from flatvol_jax.volume.sampling import Estimate

_EPSILON = float(np.finfo(np.float64).eps)


@prints_as(
    lambda found: (
        f"LogVolume({with_error(found.log_volume, found.standard_error)} nats, "
        f"{value_or_counts(found.status)}; EP {value_or_range(np.round(found.ep, 2))})"
    )
)
class LogVolume(NamedTuple):
    """log V(f) of one labelling or of many, with what is known of its quality.

    The leading shape of every field is `labels.shape[:-1]`. With C > 2 classes sites and cavities
    are of the differences f_{i,y_i} - f_ic, (..., n, C), all 0 at the label itself; under probit
    of the outputs with their noise.

    Attributes:
        log_volume: log V(f) by the method asked for, nats.
        standard_error: nats, the known errors `sampling_error`, `kernel_error` and
            `rounding_error`, added in squares. EP's own error is in none of them: NaN for the
            methods "ep" and "ep_corrected" of a matrix; of a kernel estimate the kernel's part.
            The finite width of a network is never in it.
        converged: whether EP reached its fixed point within the tolerance.
        status: of the method: "converged" or "not converged" (EP), "correction unreliable"
            for "ep_corrected", the words of `Estimate.status` for "certified"; "imprecise" where
            the standard error or the rounding of the kernel exceeds 0.25 nats; where V(f) = 0,
            "impossible: ..." with the inputs that make it so.
        iterations: Cholesky factorisations used by EP.
        residual: nats, the distance of EP's value from its fixed point, not its own error.
        ep: log V(f) by EP alone, nats.
        increments: log P(y_i | all other labels) by EP, nats, (..., n).
        sites: EP's Gaussian sites, (..., n).
        cavities: mean and variance of each output given all other labels, (..., n); they
            start another run (`start=`).
        correction: what EP leaves out to second order; None for "ep".
        estimate: the sampling estimate; None unless "certified".
        sampling_error: nats, the standard error of sampling; NaN for EP.
        kernel_error: nats, the standard error that the kernel's own gives log V, widened where
            its groups are few; NaN for a matrix, of which nobody knows whether it was sampled.
        kernel_bias: nats, E log V(K̂) - log V(E K̂), which is taken off log_volume; NaN for a
            matrix.
        rounding_error: nats, what the rounding of the kernel's entries to float64 does to log V,
            by EP's derivative.
    """

    log_volume: Float[Reals, "*shape"]
    standard_error: Float[Reals, "*shape"]
    converged: Bool[Flags, "*shape"]
    status: Shaped[Words, "*shape"]
    iterations: Int[Counts, "*shape"]
    residual: Float[Reals, "*shape"]
    ep: Float[Reals, "*shape"]
    increments: Float[np.ndarray, "*shape n"]
    sites: Sites
    cavities: Cavities
    correction: Correction | None
    estimate: Estimate | None
    sampling_error: Float[Reals, "*shape"]
    kernel_error: Float[Reals, "*shape"]
    kernel_bias: Float[Reals, "*shape"]
    rounding_error: Float[Reals, "*shape"]

    @property
    def corrected(self) -> Float[Reals, "*shape"]:
        """Return EP and the third-cumulant term of what it leaves out, nats."""
        if self.correction is None:
            raise ValueError("corrected: got a result of method 'ep'; ask for 'ep_corrected'.")
        return self.ep + np.asarray(self.correction.third)


def rounding_error(ep: EP, jitter: float = 0.0) -> np.float64:
    """Return what entries of C that are off by ε, each by itself, do to log V(f), in nats.

    By EP d log V/dC = ½ (b b' - A), A = (C + S^-1)^-1 for sites of covariance S^-1 and mean μ and
    b = A μ. For independent errors of standard deviation ε on both sides of the diagonal that is
    ε/√2 ‖b b' - A‖ in standard deviation (Frobenius), at most

        ε/√2 Σ_i (b_i² + A_ii),

    and each A_ii = 1/(v_i + 1/τ_i), b_i = A_ii (ν_i/τ_i - m_i) of cavities (m, v) and sites
    (τ, ν). A jitter on the diagonal moves log V by ½ jitter Σ_i (b_i² - A_ii). On ordinary
    kernels it is 1e-12 nats; it is large where outputs can hardly be told apart.
    """
    mean, variance = map(np.asarray, ep.cavities)
    precision, shift = map(np.asarray, ep.sites)
    information = 1.0 / (variance + 1.0 / precision)
    pull = information * (shift / precision - mean)
    entries = _EPSILON * 0.5**0.5 * np.sum(pull**2 + information)
    return np.float64(entries + 0.5 * jitter * np.abs(np.sum(pull**2 - information)))


def in_output_units(
    result: LogVolume, repetitions: Repetitions, prior: np.ndarray, noise: float
) -> LogVolume:
    """Go from outputs of unit variance, noise and all, to those that the caller knows.

    A repeated output has what its first occurrence has, and its label is certain given that one.

    Args:
        result: of the correlations among the outputs that are kept.
        repetitions: which those are.
        prior: K_ii, the variances of all outputs.
        noise: variance of the link's noise.
    """
    _, place, sign = repetitions
    repeated = np.bincount(place)[place] > 1
    scale = np.sqrt(prior + noise)
    mean, variance = (np.asarray(leaf)[place] for leaf in result.cavities)
    variance = variance * scale**2
    if noise > 0:  # of a variance far below the noise the difference may be rounding
        variance = np.clip(variance - noise, _EPSILON * prior, prior)
    precision, shift = (np.asarray(leaf)[place] for leaf in result.sites)
    precision, shift = precision / scale**2, shift / scale
    widened = 1.0 + noise * precision  # the site integrated over the noise
    return result._replace(
        increments=np.where(repeated, 0.0, result.increments[place]),
        sites=Sites(precision / widened, sign * shift / widened),
        cavities=Cavities(sign * mean * scale, variance),
    )
