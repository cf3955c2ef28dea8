"""loss + parameters -> sharpness and Hessian measures; knows no networks."""

from flatvol_jax.flatness.hessian import (
    Eigenvalues,
    HessianMeasures,
    hessian_eigenvalues,
    hessian_measures,
)
from flatvol_jax.flatness.sgd_sharpness import SgdSharpness, sgd_sharpness
from flatvol_jax.flatness.sharpness import METHODS, Sharpness, sharpness

__all__ = [
    "METHODS",
    "Eigenvalues",
    "HessianMeasures",
    "SgdSharpness",
    "Sharpness",
    "hessian_eigenvalues",
    "hessian_measures",
    "sgd_sharpness",
    "sharpness",
]
