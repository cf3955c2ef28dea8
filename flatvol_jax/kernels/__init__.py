"""spec + inputs -> NNGP kernel; the only room that uses neural-tangents."""

from flatvol_jax.kernels.analytic import nngp_kernel
from flatvol_jax.kernels.conditioning import Conditioning, Jittered, add_jitter, conditioning
from flatvol_jax.kernels.monte_carlo import monte_carlo_kernel
from flatvol_jax.kernels.neural_tangents_import import neural_tangents

__all__ = [
    "Conditioning",
    "Jittered",
    "add_jitter",
    "conditioning",
    "monte_carlo_kernel",
    "neural_tangents",
    "nngp_kernel",
]
