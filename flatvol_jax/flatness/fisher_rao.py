"""The Fisher-Rao norm of the parameters: one derivative of the losses in the direction of w."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import Array

from flatvol_jax.flatness.objective import (
    Loss,
    checked_loss,
    checked_params,
    checked_shape,
    evaluate,
)
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class FisherRao(NamedTuple):
    """The Fisher-Rao norm over a sample.

    Attributes:
        squared_norm: ‖w‖_fr² = mean of ⟨w, ∇l_n⟩², in units of the loss squared.
        norm: its square root.
        standard_error: of squared_norm, as the mean over n independent examples: how far it lies
            from the expectation over new ones at these parameters. For the sample itself it is
            exact. NaN for a single example.
    """

    squared_norm: float
    norm: float
    standard_error: float


@float64_scope
def fisher_rao_norm(losses: Callable[[Any], Array], params: Any) -> FisherRao:
    """Return the Fisher-Rao norm of the parameters.

        ‖w‖_fr² = E_n ⟨w, ∇_w l_n⟩² = w'Fw, F the empirical Fisher matrix.

    The labels are those of the sample. For a ReLU network without biases, of L hidden layers, it
    is (L + 1)² E_n (l'(f_n) f_n)². Unchanged under layer-wise and neuron-wise scaling, with
    biases too: where l(Tw) = l(w) for a matrix T, ⟨Tw, ∇l(Tw)⟩ = ⟨w, ∇l(w)⟩.

    Args:
        losses: params -> the loss of each example, (n,). Data bound by `jax.tree_util.Partial`
            are arguments of the compiled program.
        params: pytree of parameters w, all of which enter the norm.

    Raises:
        ValueError: losses that are not a finite vector, no parameters.

    Reference: Liang, Poggio, Rakhlin, Stokes 2019, "Fisher-Rao metric, geometry, and complexity
    of neural networks".
    """
    function, params = checked_loss(losses), checked_params(params)
    shape = checked_shape(
        evaluate, function, params, "losses", "the vector of the examples' losses"
    )
    if not (hasattr(shape, "shape") and len(shape.shape) == 1 and shape.size > 0):
        raise ValueError(
            f"losses: got {shape} from losses(params), wanted the vector of the examples' "
            "losses, (n,), before their mean."
        )
    values, slopes = (np.asarray(part, np.float64) for part in _along(function, params))
    checks.finite("losses", values)
    squares = slopes**2
    mean = float(squares.mean())
    error = squares.std(ddof=1) / np.sqrt(len(squares)) if len(squares) > 1 else np.nan
    return FisherRao(mean, float(np.sqrt(mean)), float(error))


@jax.jit
def _along(losses: Loss, params: Any) -> tuple[Array, Array]:
    """Return l_n and ⟨w, ∇l_n⟩."""
    return jax.jvp(lambda p: losses(p), (params,), (params,))
