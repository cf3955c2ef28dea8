"""Functions counted by direct sampling of the prior."""

from flatvol_jax.sampling.function_sample import Draws, FunctionSample, count_of, most_frequent
from flatvol_jax.sampling.gaussian import draw_gaussian_functions
from flatvol_jax.sampling.sampler import draw_functions, sample_functions

__all__ = [
    "Draws",
    "FunctionSample",
    "count_of",
    "draw_functions",
    "draw_gaussian_functions",
    "most_frequent",
    "sample_functions",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
