"""Relative flatness of one layer: the Hessian of its weights, weighted by the weights."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from flatvol_jax.flatness import hessian
from flatvol_jax.flatness._composed import Composed, LossFunction
from flatvol_jax.flatness._gauss_newton_diagonal import checked_gauss_newton, sum_over_examples
from flatvol_jax.flatness.objective import (
    Loss,
    checked_objective,
    checked_operator,
    curvature_product,
)
from flatvol_jax.flatness.paths import Path, replace_leaf, weight_at
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class RelativeFlatness(NamedTuple):
    """Relative flatness of a layer with weights W and Hessian block H, in units of the loss.

    Attributes:
        value: κ_Tr = Σ_ss' ⟨w_s, w_s'⟩ Tr H_ss'.
        standard_error: of value, 0 where it is exact.
        norm_trace: ‖W‖_F² Tr H.
        norm_trace_se: its standard error, 0 where it is exact.
        norm_lambda_max: ‖W‖_F² λ_max(H).
        residual: ‖W‖_F² ‖Hv - λ_max v‖, 0 where it is exact.
        converged: whether that is at most 1e-6 of ‖W‖_F² times the spectral norm.
    """

    value: float
    standard_error: float
    norm_trace: float
    norm_trace_se: float
    norm_lambda_max: float
    residual: float
    converged: bool


@float64_scope
def relative_flatness(
    key: Array,
    loss: LossFunction,
    params: Any,
    layer: Path,
    operator: str = "hessian",
    example: Callable[[Any, Array], Array] | None = None,
    lambda_max: bool = True,
) -> RelativeFlatness:
    """Return the relative flatness of one layer, κ_Tr, and two simpler measures of the same kind.

        κ_Tr = Σ_ss' ⟨w_s, w_s'⟩ Tr H_ss' = Tr H (I ⊗ W'W),    ‖W‖_F² Tr H,    ‖W‖_F² λ_max(H).

    w_s are the weights into output s of the layer, H_ss' the block of ∇²L between w_s and w_s'.

    "hessian" is exact up to 1,000 weights, estimated by `hessian_measures` beyond: H is the
    Hessian of U -> L(W + U) and (I ⊗ R) H (I ⊗ R') that of U -> L(W + UR), both at 0. With
    R'R = W'W the trace of the second is κ_Tr.

    "gauss_newton" takes J'(∇²outer)J for H, which are equal where the network is piecewise
    linear in this layer's weights, as a ReLU network is almost everywhere. Both traces are then
    exact at any size, κ_Tr = Σ_n c_n ‖J_n W'‖_F² with c_n = ∂²outer/∂f_n² and J_n = ∂f_n/∂W; for
    outputs (n, C) the sum is over the eigenvectors of each example's curvature. See
    `gauss_newton_diagonal` on both and on their cost.

    All are unchanged under layer-wise scaling. κ_Tr is also unchanged when single outputs of this
    layer are scaled (and the next layer's inputs back), not when single inputs are.

    Args:
        key: for the start vectors and the probes.
        loss: mean loss, params -> scalar; a `Composed` for "gauss_newton".
        params: pytree of parameters w.
        layer: path of the weights W, (..., fan_in, fan_out): all axes but the last are inputs.
        operator: "hessian" or "gauss_newton".
        example: for "gauss_newton", (params, i) -> output of example i alone.
        lambda_max: whether λ_max is wanted; "gauss_newton" has both traces without it, for a
            small part of the work, and then it and its residual are NaN.

    Raises:
        ValueError: an unknown path or operator, a loss that is not a finite scalar or does not
            fit the operator.

    Reference: Petzka, Kamp, Adilova, Sminchisescu, Boley 2021, "Relative flatness and
    generalization", for κ_Tr; Petzka et al. 2019, "A reparameterization-invariant flatness
    measure for deep neural networks", for the other two.
    """
    checked_operator(operator, loss)
    if example is not None and operator != "gauss_newton":
        raise ValueError(f'example: got one with operator {operator!r}, try "gauss_newton".')
    if not checks.boolean("lambda_max", lambda_max) and operator != "gauss_newton":
        raise ValueError(f'lambda_max: got False with operator {operator!r}, try "gauss_newton".')
    objective = checked_objective(loss, params)
    params = objective.params
    matrix = _matrix(weight_at(params, layer))
    norm = float(jnp.sum(matrix**2))
    factor, identity = jnp.linalg.qr(matrix, mode="r"), jnp.eye(matrix.shape[1])
    change = jnp.zeros_like(matrix)
    key, weighted_key = jax.random.split(key)

    def in_layer(function, factor):
        return Partial(_moved, _Layer(function, params, layer, factor))

    value_se = trace_se = 0.0
    layer_loss: Loss = in_layer(objective.loss, identity)
    if isinstance(loss, Composed) and operator == "gauss_newton":
        separate = checked_gauss_newton(loss, params, example)
        layer_loss = Composed(loss.outer, in_layer(loss.inner, identity))
        outputs = in_layer(separate.outputs, identity)
        alone = None if separate.example is None else in_layer(separate.example, identity)
        value, trace = map(float, _traces(outputs, alone, change, factor, separate.curvature))

    if not lambda_max:
        top, residual, converged = np.nan, np.nan, True
    elif matrix.size <= hessian.DENSE_UP_TO:
        block = np.asarray(_block(layer_loss, change, operator))
        asymmetry = 0.5 * float(np.linalg.norm(block - block.T))  # which is rounding
        values = np.linalg.eigvalsh(0.5 * (block + block.T))
        top = hessian.without_rounding(values, matrix.size, asymmetry)[-1]
        residual, converged = 0.0, True
        if operator == "hessian":
            pairs = np.trace(block.reshape(matrix.shape * 2), axis1=0, axis2=2)
            value, trace = float(np.sum(pairs * (matrix.T @ matrix))), float(np.trace(block))
    elif operator == "gauss_newton":
        found = hessian.hessian_eigenvalues(key, layer_loss, change, 1, operator)
        top, residual, converged = found.values[0], found.residuals[0], found.converged[0]
    else:
        plain = hessian.hessian_measures(key, layer_loss, change, k=1)
        top, residual = plain.lambda_max, plain.residuals[0]
        converged = residual <= hessian.TOLERANCE * plain.spectral_norm
        trace, trace_se = plain.trace, plain.trace_se
        start = jnp.zeros((len(matrix), len(factor)))
        weighted = hessian.hessian_measures(
            weighted_key, in_layer(objective.loss, factor), start, k=1
        )
        value, value_se = weighted.trace, weighted.trace_se
    return RelativeFlatness(
        value,
        value_se,
        norm * trace,
        norm * trace_se,
        norm * float(top),
        norm * float(residual),
        bool(converged),
    )


def _matrix(weights: Float[Array, "*fan_in fan_out"]) -> Float[Array, "inputs fan_out"]:
    """Return the weights as a matrix, (fan_in, fan_out)."""
    return weights.reshape(-1, weights.shape[-1])


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("function", "params", "factor"),
    meta_fields=("path",),
)
@dataclass(frozen=True)
class _Layer:
    """A function of the parameters, of which one weight array moves; its path is static."""

    function: Callable
    params: Any
    path: Path
    factor: Float[Array, "rank fan_out"]


def _moved(layer: _Layer, change: Array, *rest) -> Array:
    """Call the function where the layer's weights are W + change · factor."""
    weights = weight_at(layer.params, layer.path)
    moved = weights + (change @ layer.factor).reshape(weights.shape)
    return layer.function(replace_leaf(layer.params, layer.path, moved), *rest)


@partial(jax.jit, static_argnames="operator")
@fast_convolutions
def _block(loss: Loss, change: Float[Array, "inputs rank"], operator: str) -> Float[Array, "P P"]:
    """Return the whole matrix, a product at a time: the network may be larger than the layer."""
    product, size = curvature_product(loss, change, operator)
    return jax.lax.map(product, jnp.eye(size))


@jax.jit
@fast_convolutions
def _traces(
    outputs: Partial, example: Partial | None, change: Array, factor: Array, curvature: Array
) -> tuple[Array, Array]:
    """Return Σ_n c_n ‖J_n W'‖_F² and Σ_n c_n ‖J_n‖_F²."""

    def norms(jacobian):
        return jnp.sum((jacobian @ factor.T) ** 2), jnp.sum(jacobian**2)

    return sum_over_examples(norms, outputs, change, curvature, example)
