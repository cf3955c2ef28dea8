"""The NNGP kernel of a spec on given inputs; the only room that uses neural-tangents."""

from flatvol_jax.kernels._conditioning import Conditioning, Jittered, add_jitter, conditioning
from flatvol_jax.kernels.analytic import nngp_kernel
from flatvol_jax.kernels.monte_carlo import (
    MonteCarloKernel,
    monte_carlo_estimate,
    monte_carlo_kernel,
)
from flatvol_jax.kernels.monte_carlo_jackknife import Jackknife, jackknife
from flatvol_jax.kernels.neural_tangents_import import neural_tangents

__all__ = [
    "Conditioning",
    "Jackknife",
    "Jittered",
    "MonteCarloKernel",
    "add_jitter",
    "conditioning",
    "jackknife",
    "monte_carlo_estimate",
    "monte_carlo_kernel",
    "neural_tangents",
    "nngp_kernel",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
