"""P(z > lower) for z ~ N(0, covariance): the engine of V(f) as a multivariate normal CDF."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Real

from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.runtime.printing import prints_as, with_error
from flatvol_jax.volume import inputs
from flatvol_jax.volume.correction import Correction, second_order_correction
from flatvol_jax.volume.ep import EP
from flatvol_jax.volume.method_result import METHODS
from flatvol_jax.volume.prior_mean import ep_with_mean, posterior_with_mean
from flatvol_jax.volume.repetitions import impossible_pair, signed_repetitions
from flatvol_jax.volume.result import rounding_error
from flatvol_jax.volume.sampling import (
    PROPOSALS,
    WIDEST,
    Estimate,
    sampling_estimate,
)

_JITTER = 1e-10  # on the correlations, where they are singular; what it does is in the error


def _line(found: "OrthantProbability") -> str:
    value = with_error(found.log_probability, found.standard_error)
    return f"OrthantProbability({value} nats, {found.status}; EP {found.ep:.6g})"


@prints_as(_line)
class OrthantProbability(NamedTuple):
    """log P(z > lower), with what is known of its quality.

    Attributes:
        log_probability: by the method asked for, nats; -inf where the probability is exactly 0.
        standard_error: nats, of "certified": sampling and rounding added in squares; NaN for
            "ep" and "ep_corrected", whose own error is not known.
        status: "certified", or why not ("few effective samples", "replicates disagree",
            "imprecise", "failed"); of EP "converged", "not converged" or "correction unreliable";
            "exact" where nothing was to be estimated.
        converged: whether EP reached its fixed point within the tolerance.
        iterations: Cholesky factorisations used by EP.
        residual: nats, the distance of EP's value from its fixed point.
        ep: log P by EP alone, nats.
        correction: what EP leaves out to second order; None for "ep" and where exact.
        estimate: the sampling estimate; None unless "certified".
    """

    log_probability: float
    standard_error: float
    status: str
    converged: bool
    iterations: int
    residual: float
    ep: float
    correction: Correction | None = None
    estimate: Estimate | None = None

    @property
    def probability(self) -> float:
        """Return P(z > lower)."""
        return float(np.exp(self.log_probability))


@float64_scope
def orthant_probability(
    covariance: Real[AnyArray, "n n"],
    lower: Real[AnyArray, " #n"] | float | None = None,
    key: jax.Array | None = None,
    method: str | None = None,
    *,
    tolerance: float = 1e-10,
    max_iterations: int = 200,
    proposal: str = "auto",
    particles: int = 128,
    replicates: int = 16,
) -> OrthantProbability:
    """Return log P(z_i > lower_i for all i), z ~ N(0, covariance), in nats.

    The distribution function is the same call: P(x ≤ u) for x ~ N(μ, Σ) is
    `orthant_probability(Σ, lower=μ - u)`, since -(x - μ) has the covariance Σ, too.

    A covariance may be singular. Where float64 cannot sample from it as it is, 1e-10 is added to
    the diagonal of its correlations; the standard error contains the effect on log P, by EP's
    derivative.

    Args:
        covariance: (n, n), symmetric, positive semidefinite.
        lower: (n,) or one number, -inf where there is no bound; 0 where left out.
        key: for "certified".
        method: "ep", expectation propagation; "ep_corrected", with the third-cumulant term of
            what it leaves out; "certified", an unbiased sampling estimate of P with its standard
            error, the others beside it. Left out: "certified" with a key, otherwise
            "ep_corrected".
        tolerance: nats, on EP's residual.
        max_iterations: of EP.
        proposal: what twists the sampling, "ep", "prior" or "auto".
        particles: of one replicate; the error falls as 1/√(particles replicates).
        replicates: independent estimates, whose spread gives the standard error.

    Raises:
        ValueError: a covariance that is not finite, square, symmetric and positive semidefinite;
            bounds of another length or NaN; unknown method or proposal; "certified" without key.
    """
    if method is None:
        method = "ep_corrected" if key is None else "certified"
    checks.one_of("method", method, METHODS)
    checks.one_of("proposal", proposal, PROPOSALS)
    if method == "certified" and key is None:
        raise ValueError("key: got None; method 'certified' draws samples: jax.random.key(0).")
    key = None if key is None else checks.random_key("key", key)
    sizes = checks.count("particles", particles, 2), checks.count("replicates", replicates, 2)
    limits = checks.positive("tolerance", tolerance), checks.count("max_iterations", max_iterations)

    matrix = _symmetric(covariance)
    bounds = _checked_bounds(lower, len(matrix))
    fixed = matrix.diagonal() == 0  # z_i = 0
    if (bounds == np.inf).any() or (fixed & (bounds >= 0)).any():
        return _exact_result(-np.inf)
    bounded = ~fixed & (bounds > -np.inf)
    if not bounded.any():
        return _exact_result(0.0)
    kernel = matrix[np.ix_(bounded, bounded)]
    matrix, scale = _correlation(kernel)
    bounds = bounds[bounded] / scale
    tightest = _tightest(matrix, bounds)
    if tightest is None:
        return _exact_result(-np.inf)
    kept, bounds = tightest
    matrix = matrix[np.ix_(kept, kept)]
    return _positive_probability(key, matrix, -bounds, method, proposal, sizes, limits)


def _positive_probability(
    key: jax.Array | None,
    matrix: Float[np.ndarray, "n n"],
    mean: Float[np.ndarray, " n"],
    method: str,
    proposal: str,
    sizes: tuple[int, int],
    limits: tuple[float, int],
) -> OrthantProbability:
    """Return log P(w > 0), w ~ N(mean, matrix), all else being checked."""
    jitter, ones = 0.0, np.ones(len(mean))
    if method == "certified":
        inputs.check_memory(len(mean), 3, sizes[0] * sizes[1])
        jitter = _needed_jitter(matrix)
    ep = ep_with_mean(matrix + jitter * np.eye(len(mean)), mean, *limits)
    if not np.isfinite(ep.log_volume) and jitter == 0:  # rounding has made it indefinite
        jitter = inputs.rounding_jitter(len(mean))
        ep = ep_with_mean(matrix + jitter * np.eye(len(mean)), mean, *limits)
    kernel = jnp.asarray(matrix + jitter * np.eye(len(mean)))
    rounding = rounding_error(ep, jitter)
    value: Any = ep.log_volume
    error: Any = np.nan
    correction, estimate = None, None
    status: Any = "converged" if ep.converged else "not converged"
    if method != "ep":
        posterior = posterior_with_mean(kernel, mean, *ep.sites)
        correction = to_host(second_order_correction(posterior.covariance, ones, ep.cavities))
        value = value + correction.third
        if ep.converged and not correction.reliable:
            status = "correction unreliable"
    if not rounding <= WIDEST:
        status = "imprecise"
    if method == "certified" and key is not None:
        sampled = key, kernel, ones, ep, posterior, proposal, *sizes, rounding
        estimate = sampling_estimate(*sampled, prior_mean=mean)
        value, error, status = estimate.log_volume, estimate.standard_error, estimate.status
    return _result(value, error, status, ep, correction, estimate)


def _result(
    value: float,
    error: float,
    status: str,
    ep: EP,
    correction: Correction | None,
    estimate: Estimate | None,
) -> OrthantProbability:
    return OrthantProbability(
        float(value),
        float(error),
        str(status),
        bool(ep.converged),
        int(ep.iterations),
        float(ep.residual),
        float(ep.log_volume),
        correction,
        estimate,
    )


def _exact_result(value: float) -> OrthantProbability:
    return OrthantProbability(value, 0.0, "exact", True, 0, 0.0, value)


def _symmetric(covariance: AnyArray) -> np.ndarray:
    """Return the covariance as float64, of non-negative diagonal; the rest is checked later."""
    matrix = checks.finite("covariance", covariance).astype(np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
        raise ValueError(f"covariance: got shape {matrix.shape}, wanted (n, n) with n >= 1.")
    if matrix.diagonal().min() < 0:
        worst = int(matrix.diagonal().argmin())
        raise ValueError(
            f"covariance: got a variance of {matrix[worst, worst]:.3g} at index {worst}, wanted 0 "
            "or more."
        )
    fixed = matrix.diagonal() == 0
    if np.abs(matrix[fixed]).max(initial=0) > 0 or np.abs(matrix[:, fixed]).max(initial=0) > 0:
        raise ValueError(
            "covariance: got a variance of 0 beside covariances that are not, wanted a positive "
            "semidefinite matrix."
        )
    return matrix


def _correlation(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    try:
        return inputs.checked_correlation(kernel)
    except ValueError as error:
        message = str(error).replace("kernel:", "covariance:").split(" Compute it in float64.")[0]
        raise type(error)(message) from error


def _checked_bounds(lower: AnyArray | float | None, n: int) -> np.ndarray:
    if lower is None:
        return np.zeros(n)
    array = checks.concrete("lower", lower)
    if array.dtype.kind not in "iuf" or np.isnan(array).any() or array.shape not in ((), (n,)):
        raise ValueError(
            f"lower: got {checks.shown(lower)}, wanted one real number or {n} of them, -inf where "
            "there is no bound."
        )
    return np.broadcast_to(array.astype(np.float64), (n,))


def _tightest(matrix: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the outputs that repeat none before them with the largest of their bounds.

    None where one output has to lie above a bound and below one that is not larger.
    """
    repetitions = signed_repetitions(matrix.__getitem__, len(matrix))
    kept, place = repetitions.kept, repetitions.place
    tightest = np.full(len(kept), -np.inf)
    np.maximum.at(tightest, place, bounds)
    for at in np.flatnonzero(repetitions.sign[kept] < 0):
        other = int(np.argmin(matrix[kept[at]]))
        if tightest[place[other]] >= -tightest[at]:
            impossible_pair(other, int(kept[at]), matrix.__getitem__)
            return None
    return kept, tightest


def _needed_jitter(matrix: np.ndarray) -> float:
    """Return 0, or what is added to the diagonal of correlations that cannot be sampled from."""
    try:
        inputs.check_invertible(matrix, matrix)
    except NumericalFault:
        return max(_JITTER, inputs.rounding_jitter(len(matrix)))
    return 0.0
