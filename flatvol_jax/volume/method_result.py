"""EP's run on a labelling -> the result of a method: EP, its correction, a sampling estimate."""

from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from flatvol_jax.runtime.precision import to_host
from flatvol_jax.volume.correction import Correction, second_order_correction
from flatvol_jax.volume.ep import EP
from flatvol_jax.volume.host_posterior import gaussian_of_sites
from flatvol_jax.volume.result import LogVolume, rounding_error
from flatvol_jax.volume.sampling import (
    WIDEST,
    Estimate,
    impossible_estimate,
    sampling_estimate,
)

METHODS = ("ep", "ep_corrected", "certified")
"""What `log_volume` takes as `method`."""


class Options(NamedTuple):
    """Checked options of `log_volume`, which says what each is."""

    method: str
    proposal: str
    particles: int
    replicates: int
    tolerance: float
    max_iterations: int
    batch_size: int


def method_result(
    key: jax.Array | None,
    kernel: Float[jax.Array, "n n"],
    labels: Float[np.ndarray, " n"],
    ep: EP,
    options: Options,
    jitter: float = 0.0,
) -> LogVolume:
    """Add what the method asks for to a run of EP, on the host; without a key no sampling."""
    rounding = rounding_error(ep, jitter)
    if options.method == "ep":
        return volume_result(ep, None, None, rounding)
    posterior, estimate = gaussian_of_sites(kernel, *ep.sites), None
    correction = second_order_correction(posterior.covariance, labels, ep.cavities)
    if options.method == "certified" and key is not None:
        estimate = sampling_estimate(
            key,
            kernel,
            labels,
            ep,
            posterior,
            options.proposal,
            options.particles,
            options.replicates,
            rounding,
        )
    return volume_result(ep, correction, estimate, rounding)


def volume_result(
    ep: EP, correction: Correction | None, estimate: Estimate | None, rounding: Any
) -> LogVolume:
    """Return the estimate's value where there is one, otherwise EP's, corrected; on the host."""
    value: Any = ep.log_volume
    error: Any = np.nan
    status: Any = "converged" if ep.converged else "not converged"
    if correction is not None:
        value = value + correction.third
        if ep.converged and not correction.reliable:
            status = "correction unreliable"
    if not rounding <= WIDEST:
        status = "imprecise"
    if estimate is not None:
        value, error, status = estimate.log_volume, estimate.standard_error, estimate.status
    sampling_error = np.nan if estimate is None else estimate.sampling_error
    return LogVolume(
        **to_host(
            {
                "log_volume": value,
                "standard_error": np.float64(error),
                "converged": ep.converged,
                "status": np.str_(status),
                "iterations": ep.iterations,
                "residual": ep.residual,
                "ep": ep.log_volume,
                "increments": ep.increments,
                "sites": ep.sites,
                "cavities": ep.cavities,
                "correction": correction,
                "estimate": estimate,
                "sampling_error": np.float64(sampling_error),
                "kernel_error": np.float64(np.nan),
                "kernel_bias": np.float64(np.nan),
                "rounding_error": rounding,
            }
        )
    )


def impossible_result(possible: LogVolume, reason: str, options: Any) -> LogVolume:
    """Return the exact answer V(f) = 0.

    Args:
        possible: of labels without the contradiction; its sites and cavities stay.
        reason: which inputs contradict each other.
        options: of the method, and the sizes of an estimate.
    """
    certified = options.method == "certified"
    return possible._replace(
        log_volume=np.float64(-np.inf),
        standard_error=np.float64(0.0),
        status=np.str_(f"impossible: {reason}"),
        ep=np.float64(-np.inf),
        estimate=impossible_estimate(options.replicates, options.particles) if certified else None,
        sampling_error=np.float64(0.0),
        rounding_error=np.float64(0.0),
    )
