"""Which quantity predicts that a network generalises? `import flatvol_jax as fv`."""

import importlib
from typing import TYPE_CHECKING

from flatvol_jax import data, flatness, kernels, models, sampling, volume
from flatvol_jax.flatness import (
    hessian_eigenvalues,
    hessian_measures,
    sgd_sharpness,
    sharpness,
)
from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_kernel, nngp_kernel
from flatvol_jax.models import CNN, FCN, FlaxModel, Model, ResNet, StaxModel, as_model
from flatvol_jax.runtime.placement import over_devices
from flatvol_jax.sampling import sample_functions
from flatvol_jax.volume import (
    estimate_log_volume,
    log_evidence,
    log_volume,
    marginal_likelihood_bound,
    orthant_probability,
    prior_bound,
)

if TYPE_CHECKING:  # at run time imported at their first use: see below
    from flatvol_jax import study
    from flatvol_jax.study.audit import symmetry_audit
    from flatvol_jax.study.measures.symmetries import alpha_scale
    from flatvol_jax.study.single import measure

__all__ = [
    "CNN",
    "FCN",
    "FlaxModel",
    "Model",
    "ResNet",
    "StaxModel",
    "alpha_scale",
    "as_model",
    "data",
    "estimate_log_volume",
    "flatness",
    "hessian_eigenvalues",
    "hessian_measures",
    "kernels",
    "log_evidence",
    "log_volume",
    "marginal_likelihood_bound",
    "measure",
    "models",
    "monte_carlo_estimate",
    "monte_carlo_kernel",
    "nngp_kernel",
    "orthant_probability",
    "over_devices",
    "prior_bound",
    "sample_functions",
    "sampling",
    "sgd_sharpness",
    "sharpness",
    "study",
    "symmetry_audit",
    "volume",
]


_FROM_STUDY = {
    "alpha_scale": "flatvol_jax.study.measures.symmetries",
    "measure": "flatvol_jax.study.single",
    "symmetry_audit": "flatvol_jax.study.audit",
}


def __getattr__(name: str):
    """What belongs to `fv.study` is imported at its first use: it brings pandas."""
    if name == "study":
        return importlib.import_module("flatvol_jax.study")
    if name in _FROM_STUDY:
        return getattr(importlib.import_module(_FROM_STUDY[name]), name)
    raise AttributeError(f"module 'flatvol_jax' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return what is public, and nothing that is only imported."""
    return sorted([*__all__, "__all__", "__doc__", "__file__", "__name__", "__path__"])
