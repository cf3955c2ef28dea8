"""spec + inputs -> functions counted by direct sampling of the prior."""

from flatvol_jax.sampling.function_sample import Draws, FunctionSample, count_of, most_frequent
from flatvol_jax.sampling.sampler import draw_functions, sample_functions

__all__ = [
    "Draws",
    "FunctionSample",
    "count_of",
    "draw_functions",
    "most_frequent",
    "sample_functions",
]
