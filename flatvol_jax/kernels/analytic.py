"""spec + inputs -> the analytic NNGP kernel, by neural-tangents where it is installed."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jaxtyping import Float, Real

from flatvol_jax.kernels.blocks import BLOCK_BYTES, Progress, in_blocks
from flatvol_jax.kernels.neural_tangents_import import neural_tangents
from flatvol_jax.kernels.relu_recursion import dense_relu_kernel, is_dense_relu
from flatvol_jax.kernels.variation import check_varies
from flatvol_jax.models import Spec, checked_spec, parameter_shapes
from flatvol_jax.models.cnn import as_images
from flatvol_jax.runtime import checks, memory
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.cache import cached_arrays
from flatvol_jax.runtime.faults import NumericalFault
from flatvol_jax.runtime.hashing import array_hash
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.spread import usable_devices

_VERSION = 1  # of the numbers: raise it when the same spec and inputs give others


@float64_scope
def nngp_kernel(
    spec: Spec,
    x: Real[AnyArray, "n ..."],
    x2: Real[AnyArray, "n2 ..."] | None = None,
    cache: epath.PathLike | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n n2"]:
    """Return the covariance K(x, x') of a spec's outputs at initialisation and infinite width.

    For a fully connected ReLU network, K_0 = σ_b² + σ_w² x·x'/d and
    K_l = σ_b² + σ_w²/(2π) √(k k') (sin θ + (π - θ) cos θ), with k = K_{l-1}(x, x),
    k' = K_{l-1}(x', x'), cos θ = K_{l-1}(x, x')/√(k k') (Cho and Saul 2009). A convolution
    carries one such covariance for each pair of pixels (p, p') and averages it over the filter,
    σ_b² + σ_w²/|filter| Σ_δ K(x, p + δ; x', p' + δ), zero outside the image; the readout sees
    the mean over all (p, p') after global average pooling, over p = p' after flattening
    (Novak et al. 2019).

    It is computed in blocks of bounded memory, those on and above the diagonal where x2 is
    left out. A pair of 28 x 28 images costs, on two CPU cores, 20 ms a layer with global
    average pooling, 0.02 ms a layer with flattening.

    Args:
        spec: a network with an analytic kernel (`kernel_layers()` is not None).
        x: (n, ...) inputs, preprocessed as the network sees them.
        x2: (n2, ...) inputs; x itself when left out, and the result is exactly symmetric.
        cache: folder where the kernel is kept, checksummed, under the hash of spec and inputs,
            and read when it is there intact.
        progress: called as `progress(done, total)` after each block; not on a cache hit.

    Returns:
        (n, n2) float64.

    Raises:
        ValueError: no analytic kernel, inputs not finite or of different shapes or of a shape
            that the network cannot take, or a zero input at σ_b = 0, where the output is
            exactly 0; more memory than is there.
        ImportError: neural-tangents is missing and the network is more than dense layers with
            ReLUs between them; the message gives the command.
    """
    layers = checked_spec(spec).kernel_layers()
    checks.function("progress", progress)
    cache = checks.folder("cache", cache)
    if layers is None:
        raise ValueError(
            f"spec: {type(spec).__name__} has no analytic NNGP kernel. Estimate it from the "
            "network's own last hidden layer: fv.monte_carlo_kernel(key, spec, x, samples)."
        )
    left = _checked_inputs("x", x, spec, layers)
    right = None if x2 is None else _checked_inputs("x2", x2, spec, layers)
    if right is not None and left.shape[1:] != right.shape[1:]:
        raise ValueError(f"x2: got inputs of shape {right.shape[1:]}, x has {left.shape[1:]}.")

    _check_memory(len(x), None if x2 is None else len(x2), cache is not None)

    def compute():
        kernel = in_blocks(_kernel_function(layers), left, right, progress)
        if not np.isfinite(kernel).all():
            raise NumericalFault(
                "x: got inputs whose products overflow float64, the kernel has NaN or infinite "
                "entries; wanted inputs of order one. Scale them down."
            )
        if right is None:
            check_varies(kernel, np.asarray(left), float(np.finfo(np.float64).eps))
        return {"kernel": kernel}

    if cache is None:
        return compute()["kernel"]
    inputs = array_hash(x) if x2 is None else array_hash(x, x2)
    key = {"nngp_kernel": _VERSION, "spec": spec.describe(), "inputs": inputs}
    return cached_arrays(cache, key, compute)["kernel"]


def _checked_inputs(
    name: str, x: Real[AnyArray, "n ..."], spec: Spec, layers: tuple
) -> Float[jax.Array, "n ..."]:
    """Return inputs as float64 in the shape that the first layer takes; zero ones need a bias."""
    x = checks.finite(name, x)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"{name}: got shape {x.shape}, wanted (n, ...) with at least one input.")
    parameter_shapes(spec, x.shape[1:])  # refuses shapes that the network cannot take
    nonzero = np.any(x.reshape(len(x), -1), axis=1)
    inputs = jnp.asarray(x, jnp.float64)
    kind, *settings = layers[0]
    if kind == "images":
        inputs = as_images(inputs, *settings)
    elif kind == "dense":
        inputs = inputs.reshape(len(x), -1)
    row = int(nonzero.argmin())
    if spec.sigma_b == 0 and not nonzero[row]:
        zero = inputs[row : row + 1]
        if _kernel_function(layers)(zero, zero) == 0:  # hidden layers may have biases of their own
            raise ValueError(
                f"{name}: input {row} is zero and sigma_b = 0, so the network's output there is "
                "exactly 0 and has no sign: leave that input out of f."
            )
    return inputs


def _check_memory(n: int, n2: int | None, cached: bool) -> None:
    """Refuse more inputs than memory holds: the kernel, and a block or the file that is written."""
    blocks = 1.2 * BLOCK_BYTES * len(usable_devices())  # each with a copy to make it symmetric

    def needed(n):
        kernel = 8 * n * (n2 or n)
        return kernel + max(blocks, kernel if cached else 0)

    memory.check_memory(
        "x",
        n,
        needed,
        "Take fewer inputs, parts of them at a time through x2, no cache, or a machine with more "
        "memory.",
    )


@functools.cache
def _kernel_function(layers: tuple) -> Callable:
    """Return the jitted (x, x2) -> K of a neutral description of layers."""
    try:
        stax = neural_tangents().stax
    except ImportError:
        if is_dense_relu(layers):
            return dense_relu_kernel(layers)
        raise

    def layer(description):
        match description:
            case ("dense", sigma_w, sigma_b):
                return stax.Dense(1, W_std=sigma_w, b_std=sigma_b)
            case ("conv", filter_shape, strides, padding, sigma_w, sigma_b):
                return stax.Conv(1, filter_shape, strides, padding, W_std=sigma_w, b_std=sigma_b)
            case ("relu",):
                return stax.Relu()
            case ("global_average_pool",):
                return stax.GlobalAvgPool()
            case ("flatten",):
                return stax.Flatten()
            case ("stax", *network):
                return tuple(network)
        raise ValueError(f"kernel_layers: got {description!r}, wanted a layer of models/spec.py.")

    hidden = [layer(description) for description in layers if description[0] != "images"]
    *_, kernel_fn = stax.serial(*hidden)
    return jax.jit(lambda x, x2: kernel_fn(x, x2, "nngp"))
