"""spec + inputs -> NNGP kernel; the only room that uses neural-tangents."""

from flatvol_jax.kernels.analytic import nngp_kernel
from flatvol_jax.kernels.monte_carlo import monte_carlo_kernel

__all__ = ["monte_carlo_kernel", "nngp_kernel"]
