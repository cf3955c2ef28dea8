"""Adaptive sharpness: the box and the ball of every coordinate scale with its weight."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jaxtyping import Float

from flatvol_jax.flatness._composed import LossFunction
from flatvol_jax.flatness.objective import checked_objective
from flatvol_jax.flatness.worst_case import expansion, worst_case
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.runtime.printing import prints_its_fields

NORMS = ("inf", "2")


@prints_its_fields
class AdaptiveSharpness(NamedTuple):
    """Rise of the loss, in units of the loss.

    Attributes:
        value: max L(w + δ) - L(w), the best found: a lower bound.
        max_loss: L(w + δ).
        loss: L(w).
        first_order: g·δ.
        second_order: ½ δ'Hδ.
        remainder: value - first_order - second_order.
        converged: whether the search that found it had stopped rising.
        history: the running maximum of the loss over its evaluations.
        gradients: gradient evaluations (a Hessian product counts as two).
    """

    value: float
    max_loss: float
    loss: float
    first_order: float
    second_order: float
    remainder: float
    converged: bool
    history: Float[np.ndarray, " evaluations"]
    gradients: int


@float64_scope
def adaptive_sharpness(
    loss: LossFunction,
    params: Any,
    rho: float,
    norm: str = "inf",
    key: Array | None = None,
) -> AdaptiveSharpness:
    """Return how much the loss rises at most where each weight moves by a share ρ of itself.

        max L(w + δ) - L(w) over ‖δ / |w|‖ ≤ ρ, elementwise division.

    In the ∞-norm the box |δ_i| ≤ ρ |w_i|, in the 2-norm the ellipsoid Σ (δ_i / w_i)² ≤ ρ². Any
    symmetry that multiplies each weight by a positive number carries the set along: the value is
    invariant under layer-wise and neuron-wise rescaling. Coordinates at zero do not move.

    Args:
        loss: full-batch mean loss, params -> scalar; see `sharpness` on how often it is compiled.
        params: pytree of parameters w.
        rho: size of the set, relative to the weights.
        norm: "inf" or "2".
        key: for the random starts; `jax.random.key(0)` when left out.

    Raises:
        ValueError: a loss that is not a finite scalar, no parameters, ρ ≤ 0, unknown norm.

    Reference: Kwon et al. 2021 (ASAM), eq. 2; Andriushchenko et al. 2023. `average_sharpness`
    is the average over Gaussian δ in place of the maximum.
    """
    rho, norm = checks.positive("rho", rho), checks.one_of("norm", norm, NORMS)
    objective = checked_objective(loss, params)
    key = jax.random.key(0) if key is None else key
    scale = rho * jnp.abs(ravel_pytree(objective.params)[0])
    found = worst_case(key, objective, scale, norm)
    parts = to_host(expansion(objective.loss, objective.params, scale, found.delta))
    first, second = float(parts.first_order), float(parts.second_order)
    value = float(parts.value) - objective.value
    return AdaptiveSharpness(
        value=value,
        max_loss=float(parts.value),
        loss=objective.value,
        first_order=first,
        second_order=second,
        remainder=value - first - second,
        converged=found.converged,
        history=found.history,
        gradients=found.gradients,
    )
