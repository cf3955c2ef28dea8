"""Which quantity predicts that a network generalises? `import flatvol_jax as fv`."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:  # `study` brings pandas, `training` Orbax, `models` Flax
    from flatvol_jax import data, flatness, kernels, models, sampling, study, training, volume
    from flatvol_jax._version import __version__
    from flatvol_jax.flatness import hessian_eigenvalues, hessian_measures, sgd_sharpness, sharpness
    from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_kernel, nngp_kernel
    from flatvol_jax.models import CNN, FCN, FlaxModel, Model, ResNet, StaxModel, as_model
    from flatvol_jax.runtime.compiled_programs import keep_compiled_programs
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
else:
    __getattr__, __dir__ = lazy_names(__name__)

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
    "keep_compiled_programs",
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
