"""spec + inputs -> the NNGP kernel of any network, from freshly initialised copies (eq. 6)."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from flatvol_jax.kernels.neural_tangents_import import neural_tangents
from flatvol_jax.models import Spec, parameter_shapes
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope


@float64_scope
def monte_carlo_kernel(key: jax.Array, spec: Spec, x: np.ndarray, samples: int) -> np.ndarray:
    """K(x, x') ≈ σ_w²/(M N_L) Σ_m Σ_c h_mc(x) h_mc(x') + σ_b² (eq. 6), by neural-tangents.

    h_m are the N_L activations of the last hidden layer of the m-th of M initialisations;
    they are computed in float32, as the network computes them, and summed in float64. The
    estimate is unbiased, its entries' relative error falls as 1/√(M N_L), and its rank is at
    most M N_L + 1: the paper takes M = 0.1 n at N_L = 2048.

    Args:
        key: for the initialisations.
        spec: any network; `init` and `features` are used, and sigma_w, sigma_b of the readout.
        x: (n, ...) inputs, preprocessed as the network sees them.
        samples: M.

    Returns:
        (n, n) float64, exactly symmetric.

    Raises:
        ValueError: inputs not finite, or M N_L < n, where K would be singular.
    """
    x = checks.finite("x", x)
    samples = checks.count("samples", samples)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"x: got shape {x.shape}, wanted (n, ...) with at least one input.")
    inputs = jnp.asarray(x, jnp.float32)
    init_fn, apply_fn = _network(spec, inputs.shape[1:])
    params = parameter_shapes(spec, inputs.shape[1:])
    width = jax.eval_shape(apply_fn, params, inputs[:1]).shape[-1]
    if samples * width < len(x):
        raise ValueError(
            f"samples: got M = {samples}; with N_L = {width} features M N_L = {samples * width} "
            f"is below n = {len(x)}, so K is singular. Take at least "
            f"M = {-(-10 * len(x) // width)} (M N_L = 10 n)."
        )
    kernel_fn = neural_tangents().monte_carlo_kernel_fn(
        init_fn, apply_fn, key, samples, trace_axes=(-1,), device_count=0
    )
    kernel = spec.sigma_w**2 * np.asarray(kernel_fn(inputs, None, "nngp")) + spec.sigma_b**2
    return 0.5 * (kernel + kernel.T)


@functools.cache
def _network(spec: Spec, input_shape: tuple[int, ...]) -> tuple[Callable, Callable]:
    """The pair (init_fn, apply_fn) that neural-tangents wants, compiled once a spec."""
    init = jax.jit(lambda key: spec.init(key, input_shape))
    features = jax.jit(lambda params, batch: spec.features(params, batch).astype(jnp.float64))
    return lambda key, _: (None, init(key)), lambda params, batch, **_: features(params, batch)
