"""Which quantity predicts that a network generalises? `import flatvol_jax as fv`."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:  # imported at their first use, see `_LATER`
    from flatvol_jax import study, training
    from flatvol_jax.study.audit import symmetry_audit
    from flatvol_jax.study.measures.symmetries import alpha_scale
    from flatvol_jax.study.single import measure

    __version__: str

_LATER = {
    "alpha_scale": "flatvol_jax.study.measures.symmetries",
    "measure": "flatvol_jax.study.single",
    "study": "flatvol_jax",
    "symmetry_audit": "flatvol_jax.study.audit",
    "training": "flatvol_jax",
}
"""Names that are imported at their first use, because they bring pandas or Orbax: name to where."""

__all__ = [
    "CNN",
    "FCN",
    "FlaxModel",
    "Model",
    "ResNet",
    "StaxModel",
    "__version__",
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
    "training",
    "volume",
]


def __getattr__(name: str) -> Any:
    """Import what `_LATER` names; read the version of the installed package."""
    if name == "__version__":
        return importlib.metadata.version("flatvol-jax")
    if name not in _LATER:
        raise AttributeError(f"module 'flatvol_jax' has no attribute {name!r}")
    if _LATER[name] == __name__:
        return importlib.import_module(f"{__name__}.{name}")
    return getattr(importlib.import_module(_LATER[name]), name)


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
