"""The NNGP kernel of dense ReLU networks, written out: no neural-tangents needed."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array


def is_dense_relu(layers: tuple[tuple, ...]) -> bool:
    """Tell whether these are dense layers with a ReLU between any two of them, and nothing else."""
    kinds = [layer[0] for layer in layers]
    return len(kinds) % 2 == 1 and all(
        kind == ("relu" if place % 2 else "dense") for place, kind in enumerate(kinds)
    )


def dense_relu_kernel(layers: tuple[tuple, ...]) -> Callable[[Array, Array], Array]:
    """Return the jitted (x, x2) -> K of dense layers with ReLUs between them.

    K_0 = σ_b² + σ_w² x·x'/d, and from layer to layer, with k = K(x, x), k' = K(x', x') and
    s = √(k k' - K²),

        K <- σ_b² + σ_w² (s + (π - θ) K)/(2π),   θ = atan2(s, K),
        k <- σ_b² + σ_w² k/2.

    Args:
        layers: as `Spec.kernel_layers` gives them; (n, d) inputs in float64.

    Reference: Cho and Saul 2009, eq. 11.
    """
    scales = [layer[1:] for layer in layers if layer[0] == "dense"]

    def kernel(x, x2):
        sigma_w, sigma_b = scales[0]

        def entered(products):
            return sigma_b**2 + sigma_w**2 * products / x.shape[1]

        entries = entered(jnp.dot(x, x2.T, precision="highest"))
        rows, columns = (entered(jnp.sum(inputs**2, axis=1)) for inputs in (x, x2))
        for sigma_w, sigma_b in scales[1:]:
            root = jnp.sqrt(jnp.maximum(rows[:, None] * columns - entries**2, 0))
            angle = jnp.arctan2(root, entries)
            mean = (root + (jnp.pi - angle) * entries) / (2 * jnp.pi)
            entries = sigma_b**2 + sigma_w**2 * mean
            rows, columns = (sigma_b**2 + sigma_w**2 * k / 2 for k in (rows, columns))
        return entries

    return jax.jit(kernel)
