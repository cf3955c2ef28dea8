"""Sharpness, Hessian measures and local volume of a loss; knows no networks."""

from flatvol_jax.flatness._adaptive_sharpness import AdaptiveSharpness, adaptive_sharpness
from flatvol_jax.flatness._average_sharpness import AverageSharpness, average_sharpness
from flatvol_jax.flatness._basin_volume import (
    BasinVolume,
    Preconditioner,
    basin_volume,
    log_permutations,
)
from flatvol_jax.flatness._composed import Composed, composed
from flatvol_jax.flatness._gauss_newton_diagonal import gauss_newton_diagonal
from flatvol_jax.flatness._learning_coefficient import LearningCoefficient, learning_coefficient
from flatvol_jax.flatness._normalized_sharpness import NormalizedSharpness, normalized_sharpness
from flatvol_jax.flatness._relative_flatness import RelativeFlatness, relative_flatness
from flatvol_jax.flatness._sgd_sharpness import READINGS, SgdSharpness, sgd_sharpness
from flatvol_jax.flatness._sharpness import Sharpness, ensemble_sharpness, sharpness
from flatvol_jax.flatness._spectral_density import SpectralDensity, spectral_density
from flatvol_jax.flatness.batches import mean_over_batches
from flatvol_jax.flatness.fisher_rao import FisherRao, fisher_rao_norm
from flatvol_jax.flatness.hessian import (
    Eigenvalues,
    HessianMeasures,
    hessian_eigenvalues,
    hessian_measures,
)
from flatvol_jax.flatness.rescaling import permute, rescale, rescale_normalised
from flatvol_jax.flatness.worst_case import METHODS

__all__ = [
    "METHODS",
    "READINGS",
    "AdaptiveSharpness",
    "AverageSharpness",
    "BasinVolume",
    "Composed",
    "Eigenvalues",
    "FisherRao",
    "HessianMeasures",
    "LearningCoefficient",
    "NormalizedSharpness",
    "Preconditioner",
    "RelativeFlatness",
    "SgdSharpness",
    "Sharpness",
    "SpectralDensity",
    "adaptive_sharpness",
    "average_sharpness",
    "basin_volume",
    "composed",
    "ensemble_sharpness",
    "fisher_rao_norm",
    "gauss_newton_diagonal",
    "hessian_eigenvalues",
    "hessian_measures",
    "learning_coefficient",
    "log_permutations",
    "mean_over_batches",
    "normalized_sharpness",
    "permute",
    "relative_flatness",
    "rescale",
    "rescale_normalised",
    "sgd_sharpness",
    "sharpness",
    "spectral_density",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
