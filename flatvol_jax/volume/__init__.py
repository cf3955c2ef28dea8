"""log V(f) of a kernel and labels: expectation propagation, sampling, bounds; knows no networks."""

from flatvol_jax.volume._posterior_accuracy import PosteriorAccuracy, posterior_accuracy
from flatvol_jax.volume.bounds import marginal_likelihood_bound, prior_bound
from flatvol_jax.volume.correction import Correction
from flatvol_jax.volume.ep import Cavities, Sites
from flatvol_jax.volume.evidence import LogEvidence, log_evidence
from flatvol_jax.volume.function_volume import estimate_log_volume, log_volume
from flatvol_jax.volume.inputs import checked_kernel, checked_labels
from flatvol_jax.volume.kernel_error import KernelEstimate
from flatvol_jax.volume.links import LINK_VARIANCE
from flatvol_jax.volume.method_result import METHODS
from flatvol_jax.volume.orthant import OrthantProbability, orthant_probability
from flatvol_jax.volume.result import LogVolume
from flatvol_jax.volume.sampling import CERTIFIED, CERTIFIED_GIVEN_KERNEL, Estimate
from flatvol_jax.volume.splitting import Splitting, splitting_log_volume

__all__ = [
    "CERTIFIED",
    "CERTIFIED_GIVEN_KERNEL",
    "LINK_VARIANCE",
    "METHODS",
    "Cavities",
    "Correction",
    "Estimate",
    "KernelEstimate",
    "LogEvidence",
    "LogVolume",
    "OrthantProbability",
    "PosteriorAccuracy",
    "Sites",
    "Splitting",
    "checked_kernel",
    "checked_labels",
    "estimate_log_volume",
    "log_evidence",
    "log_volume",
    "marginal_likelihood_bound",
    "orthant_probability",
    "posterior_accuracy",
    "prior_bound",
    "splitting_log_volume",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
