"""Average-case sharpness: the mean rise of the loss under Gaussian noise on the parameters."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from flatvol_jax.flatness._composed import LossFunction
from flatvol_jax.flatness.objective import Loss, checked_objective, flat_loss
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class AverageSharpness(NamedTuple):
    """The mean rise of the loss, in units of the loss.

    Attributes:
        value: E L(w + δ) - L(w).
        standard_error: of value, over the pairs.
        loss: L(w).
        rises: ½ (L(w + δ) + L(w - δ)) - L(w) of each pair, (samples,).
    """

    value: float
    standard_error: float
    loss: float
    rises: Float[np.ndarray, " samples"]


@float64_scope
def average_sharpness(
    key: Array,
    loss: LossFunction,
    params: Any,
    rho: float,
    adaptive: bool = True,
    samples: int = 64,
) -> AverageSharpness:
    """Return how much the loss rises on average under Gaussian noise on the parameters.

        E L(w + δ) - L(w), δ ~ N(0, ρ² diag(c²)), c = |w| or 1.

    Antithetic pairs ±δ: the first order cancels in each. To second order in ρ the value is
    ½ ρ² Σ H_ii c_i². With c = |w| it is unchanged under layer-wise and neuron-wise scaling by
    positive factors, and with the same key so is each pair, to rounding.

    Args:
        key: for the noise.
        loss: mean loss, params -> scalar; see `sharpness` on how often it is compiled.
        params: pytree of parameters w.
        rho: standard deviation of the noise, relative to |w_i| if adaptive.
        adaptive: whether c = |w|, elementwise; else c = 1.
        samples: pairs; 2 · samples losses are evaluated.

    Raises:
        ValueError: a loss that is not a finite scalar, no parameters, ρ ≤ 0, samples < 2.

    Reference: Andriushchenko et al. 2023, "A modern look at the relationship between sharpness
    and generalization".
    """
    rho = checks.positive("rho", rho)
    samples = checks.count("samples", samples, least=2)
    objective = checked_objective(loss, params)
    rises = np.asarray(_rises(key, objective.loss, objective.params, rho, bool(adaptive), samples))
    error = rises.std(ddof=1) / np.sqrt(samples)
    return AverageSharpness(float(rises.mean()), float(error), objective.value, rises)


@partial(jax.jit, static_argnames=("adaptive", "samples"))
@fast_convolutions
def _rises(
    key: Array,
    loss: Loss,
    params: Any,
    rho: Float[Array, ""] | float,
    adaptive: bool,
    samples: int,
) -> Float[Array, " samples"]:
    """Return the mean rise of each pair, (samples,); vmaps over key, params and rho."""
    function, w = flat_loss(loss, params)
    scale = rho * (jnp.abs(w) if adaptive else jnp.ones_like(w))
    start = function(w)

    def rise(pair_key):
        delta = scale * jax.random.normal(pair_key, w.shape, w.dtype)
        return 0.5 * ((function(w + delta) - start) + (function(w - delta) - start))

    return jax.lax.map(rise, jax.random.split(key, samples))
