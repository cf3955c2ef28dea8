"""Which quantity predicts that a network generalises? `import flatvol_jax as fv`."""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # at run time each is imported at its first use: see `_HOMES`
    from flatvol_jax import data, flatness, kernels, models, sampling, study, training, volume
    from flatvol_jax.flatness import hessian_eigenvalues, hessian_measures, sgd_sharpness, sharpness
    from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_kernel, nngp_kernel
    from flatvol_jax.models import CNN, FCN, FlaxModel, Model, ResNet, StaxModel, as_model
    from flatvol_jax.runtime.placement import over_devices
    from flatvol_jax.sampling import sample_functions
    from flatvol_jax.study.audit import symmetry_audit
    from flatvol_jax.study.measures.symmetries import alpha_scale
    from flatvol_jax.study.single import measure
    from flatvol_jax.volume import (
        estimate_log_volume,
        log_evidence,
        log_volume,
        marginal_likelihood_bound,
        orthant_probability,
        prior_bound,
    )

    __version__: str

_ROOMS = ("data", "flatness", "kernels", "models", "sampling", "study", "training", "volume")
_HOMES = {
    "CNN": "models",
    "FCN": "models",
    "FlaxModel": "models",
    "Model": "models",
    "ResNet": "models",
    "StaxModel": "models",
    "alpha_scale": "study.measures.symmetries",
    "as_model": "models",
    "estimate_log_volume": "volume",
    "hessian_eigenvalues": "flatness",
    "hessian_measures": "flatness",
    "log_evidence": "volume",
    "log_volume": "volume",
    "marginal_likelihood_bound": "volume",
    "measure": "study.single",
    "monte_carlo_estimate": "kernels",
    "monte_carlo_kernel": "kernels",
    "nngp_kernel": "kernels",
    "orthant_probability": "volume",
    "over_devices": "runtime.placement",
    "prior_bound": "volume",
    "sample_functions": "sampling",
    "sgd_sharpness": "flatness",
    "sharpness": "flatness",
    "symmetry_audit": "study.audit",
}
"""The module of each public call. None is imported before its first use: `study` brings pandas,
`training` Orbax, `models` Flax."""

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
    """Import a room or a public call; read the version of the installed package."""
    if name == "__version__":
        return importlib.metadata.version("flatvol-jax")
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
