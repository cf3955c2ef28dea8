"""spec + inputs -> the analytic NNGP kernel, by neural-tangents."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from flatvol_jax.kernels.neural_tangents_import import neural_tangents
from flatvol_jax.models import Spec
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope

_ROWS = 2048  # rows of the kernel computed at once: bounds the memory of its intermediates


@float64_scope
def nngp_kernel(spec: Spec, x: np.ndarray, x2: np.ndarray | None = None) -> np.ndarray:
    """Covariance K(x, x') of the outputs of `spec` at initialisation and infinite width.

    For a fully connected ReLU network, K_0 = σ_b² + σ_w² x·x'/d and
    K_l = σ_b² + σ_w²/(2π) √(k k') (sin θ + (π - θ) cos θ), with k = K_{l-1}(x, x),
    k' = K_{l-1}(x', x'), cos θ = K_{l-1}(x, x')/√(k k') (Cho and Saul 2009).

    Args:
        spec: a network with an analytic kernel (`kernel_layers()` is not None).
        x: (n, ...) inputs, preprocessed as the network sees them.
        x2: (n2, ...) inputs; x itself when left out, and the result is exactly symmetric.

    Returns:
        (n, n2) float64.

    Raises:
        ValueError: no analytic kernel, inputs not finite or of different shapes, or a zero
            input at σ_b = 0, where the output is exactly 0.
        ImportError: neural-tangents is missing; the message gives the command.
    """
    layers = spec.kernel_layers()
    if layers is None:
        raise ValueError(
            f"spec: {type(spec).__name__} has no analytic NNGP kernel. Estimate it from the "
            "network's own last hidden layer: fv.monte_carlo_kernel(key, spec, x, samples)."
        )
    left = _checked_inputs("x", x, spec)
    right = left if x2 is None else _checked_inputs("x2", x2, spec)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"x2: got {right.shape[1]} numbers an input, x has {left.shape[1]}.")

    kernel_function = _kernel_function(layers)
    blocks = [
        np.asarray(kernel_function(left[first : first + _ROWS], right))
        for first in range(0, len(left), _ROWS)
    ]
    kernel = np.concatenate(blocks)
    return kernel if x2 is not None else 0.5 * (kernel + kernel.T)


def _checked_inputs(name: str, x: np.ndarray, spec: Spec) -> jax.Array:
    """Inputs as finite (n, d) float64; the zero input needs a bias."""
    x = checks.finite(name, x)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: got shape {x.shape}, wanted (n, ...) with at least one input.")
    flat = x.reshape(len(x), -1)
    if spec.sigma_b == 0 and not flat.any(axis=1).all():
        row = int(np.flatnonzero(~flat.any(axis=1))[0])
        raise ValueError(
            f"{name}: input {row} is zero and sigma_b = 0, so the network's output there is "
            "exactly 0 and has no sign: leave that input out of f."
        )
    return jnp.asarray(flat, jnp.float64)


@functools.cache
def _kernel_function(layers: tuple) -> Callable:
    """The jitted (x, x2) -> K of a neutral description of layers."""
    stax = neural_tangents().stax

    def layer(description):
        kind, *settings = description
        if kind == "dense":
            sigma_w, sigma_b = settings
            return stax.Dense(1, W_std=sigma_w, b_std=sigma_b)
        if kind == "relu":
            return stax.Relu()
        raise ValueError(f"kernel_layers: got the layer {kind!r}, wanted dense or relu.")

    *_, kernel_fn = stax.serial(*[layer(description) for description in layers])
    return jax.jit(lambda x, x2: kernel_fn(x, x2, "nngp"))
