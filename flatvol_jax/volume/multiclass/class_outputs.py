"""The outputs of random networks of C classes that fit S, and what they answer elsewhere."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume import inputs
from flatvol_jax.volume.multiclass.blocked import blocked_particles
from flatvol_jax.volume.multiclass.class_volume import ClassEP, ClassRun
from flatvol_jax.volume.multiclass.differences import difference_covariance
from flatvol_jax.volume.multiclass.estimate import check_sampling, sampled_together
from flatvol_jax.volume.posterior_outputs import (
    MAX_ITERATIONS,
    TOLERANCE,
    PosteriorOutputs,
    sampled_outputs,
    weighted_outputs,
)

_NODES = np.arange(-6.0, 6.5, 0.5)  # of the trapezoidal rule around the largest mean


class _Options(NamedTuple):
    """What EP and the samplers of C classes take of a call."""

    particles: int
    replicates: int
    method: str = "certified"
    proposal: str = "auto"
    tolerance: float = TOLERANCE
    max_iterations: int = MAX_ITERATIONS


def class_posterior_outputs(
    key: jax.Array,
    correlation: np.ndarray,
    labels: np.ndarray,
    classes: int,
    particles: int,
    replicates: int,
) -> PosteriorOutputs:
    """Draw the outputs on S of networks that give it these labels; see `posterior_accuracy`.

    Args:
        key: for all draws.
        correlation: of each output, (n, n) float64, not singular.
        labels: 0..C-1, (n,).
        classes: C.
        particles: N.
        replicates: R.

    Returns:
        Particles of shape (R, N, C, n), of which the mean over classes is taken off: it is
        independent of all differences and decides no argmax. No Gaussian of EP.
    """
    options = _Options(particles, replicates)
    check_sampling(len(labels), classes, options)
    inputs.check_invertible(correlation, correlation)
    run = ClassEP(correlation, classes, options).run(labels, None)
    draw = _drawn_together if sampled_together(len(run.problem.points), options) else _drawn_blocks
    return draw(key, run, particles, replicates)


def _drawn_together(
    key: jax.Array, run: ClassRun, particles: int, replicates: int
) -> PosteriorOutputs:
    assert run.posterior is not None  # of method "certified"
    problem, ones = run.problem, np.ones(len(run.problem.points))
    covariance = jnp.asarray(difference_covariance(problem))
    found = sampled_outputs(key, covariance, ones, run.ep, run.posterior(), particles, replicates)
    outputs = np.zeros((replicates, particles, *problem.own.shape))
    outputs[:, :, problem.classes, problem.points] = -np.asarray(found.outputs)
    return found._replace(outputs=_centred(outputs), ep=None)


def _drawn_blocks(
    key: jax.Array, run: ClassRun, particles: int, replicates: int
) -> PosteriorOutputs:
    cloud, outputs = blocked_particles(key, run.problem, run.ep, particles, replicates)
    centred = _centred(outputs())
    return weighted_outputs(cloud, centred, float(run.log_normaliser), "ep")


def _centred(outputs: np.ndarray) -> np.ndarray:
    """Take off the mean over classes, in place; (..., C, n)."""
    outputs -= outputs.mean(axis=-2, keepdims=True)
    return outputs


@jax.jit
def mean_answers(
    outputs: AnyArray, weights: AnyArray, response: AnyArray, deviation: AnyArray
) -> jax.Array:
    """Return Σ_p w̄_p P(argmax_c f_c(x_e) = c | particle p), (m, C).

    Given a particle f_c(x_e) ~ N(μ_c, σ²), the same σ for all classes and independent, so that

        P(argmax = c) = ∫ ∏_d Φ((t - μ_d)/σ) h((t - μ_c)/σ) dt/σ,   h = φ/Φ,

    by the trapezoidal rule in steps of σ/2 around the largest mean, whose error is below 1e-8, in
    float32, which is six times as fast and right to 1e-6.

    Args:
        outputs: of the particles on S, (N, C, n).
        weights: w̄, (N,).
        response: K_SS^-1 K_SE, (n, m).
        deviation: σ, (m,), above 0.
    """
    nodes = jnp.asarray(_NODES, jnp.float32)

    def answers(particle):
        scaled = (particle @ response).T / deviation[:, None]
        scaled = jnp.float32(scaled - jnp.max(scaled, axis=1)[:, None])
        distance = nodes - scaled[:, :, None]  # (m, C, T)
        below = ndtr(distance)
        hazard = jnp.exp(-0.5 * distance**2) / (below * jnp.sqrt(2 * jnp.pi))
        return jnp.sum(jnp.prod(below, axis=1)[:, None] * hazard, axis=-1) * (nodes[1] - nodes[0])

    def add(total, weighted):
        weight, particle = weighted
        return total + weight * answers(particle), None

    shape = (response.shape[1], outputs.shape[1])
    return jax.lax.scan(add, jnp.zeros(shape), (weights, outputs))[0]
