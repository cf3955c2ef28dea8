"""The sampler that estimates V(f) of C classes: all differences together, or input blocks."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import psutil

from flatvol_jax.runtime import memory
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume.ep import EP
from flatvol_jax.volume.multiclass.blocked import blocked_estimate
from flatvol_jax.volume.multiclass.differences import Problem, difference_covariance
from flatvol_jax.volume.posterior import Posterior
from flatvol_jax.volume.result import rounding_error
from flatvol_jax.volume.sampling import Estimate, chosen_proposal, sampling_estimate

TOGETHER = 10_000
"""The number of differences, n(C-1), up to which they are sampled under one covariance, where
there is memory for it: at equal numbers of particles its error is smaller than that of blocks."""


def class_estimate(
    key: jax.Array,
    problem: Problem,
    ep: EP,
    posterior: Callable[[], Posterior],
    log_normaliser: AnyArray | np.float64 | float,
    options: Any,
    rounding: float,
) -> Estimate:
    """Estimate V(f) without bias, by the sampler that suits the size.

    Args:
        key: for all draws.
        problem: the labelling.
        ep: a run of EP on it, on the host.
        posterior: makes the Gaussian of its sites, over all differences.
        log_normaliser: log Z_s of its sites.
        options: `proposal`, `particles` and `replicates`.
        rounding: nats, what the rounding of K does to log V.
    """
    sizes = options.particles, options.replicates
    if not sampled_together(len(problem.points), options):
        return blocked_estimate(key, problem, ep, log_normaliser, *sizes, rounding)
    proposal = chosen_proposal(options.proposal, ep)
    kernel = jnp.asarray(difference_covariance(problem)) if proposal == "prior" else None
    ones = np.ones(len(problem.points))
    return sampling_estimate(key, kernel, ones, ep, posterior(), proposal, *sizes, rounding)


def sampled_together(differences: int, options: Any) -> bool:
    """Return whether so many differences are sampled under one covariance."""
    needed = _bytes_together(differences, options.particles * options.replicates)
    return differences <= TOGETHER and needed < 0.5 * psutil.virtual_memory().available


def _bytes_together(differences: int, particles: int) -> float:
    """Return the bytes of the covariance, its reordered copy, its factor and XLA's work space."""
    return 8 * differences * (5 * differences + 2.4 * particles)


def check_sampling(n: int, classes: int, options: Any) -> None:
    """Refuse what the samplers cannot hold, or do not know, before EP begins."""
    differences, particles = n * (classes - 1), options.particles * options.replicates
    together = sampled_together(differences, options)
    if not together and options.proposal == "prior":
        raise ValueError(
            f"proposal: got 'prior' for n(C-1) = {differences} differences, which samples them "
            f"together, up to {TOGETHER} and as memory allows; wanted 'ep' or 'auto'."
        )

    def needed(inputs):
        count = inputs * (classes - 1)
        held = 8 * inputs**2 * (classes + 3)
        if together:
            return held + _bytes_together(count, particles)
        return held + 8 * inputs * (3 * inputs + 3.4 * classes * particles)

    memory.check_memory("kernel", n, needed, "Take fewer inputs, particles or replicates.")


def class_rounding_error(ep: EP, classes: int, jitter: float = 0.0) -> np.float64:
    """Return at most what the rounding of K does to log V(f), nats; see `rounding_error`.

    K_ij stands in up to C² entries of the differences' covariance, and moves them together; in
    the trace norm the derivative by K is at most C times that by M.
    """
    precision = 1.0 / (ep.cavities.variance + 1.0 / ep.sites.precision)
    pull = precision * (ep.sites.shift / ep.sites.precision - ep.cavities.mean)
    moved = 0.5 * jitter * np.sum(pull**2 + precision)
    return np.float64(classes * (rounding_error(ep) + np.float64(moved)))
