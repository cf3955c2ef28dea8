"""kernel + labels -> log V(f): expectation propagation, links, bounds; knows no networks."""

from flatvol_jax.volume.bounds import prior_bound
from flatvol_jax.volume.ep import Cavities
from flatvol_jax.volume.function_volume import LogVolume, log_volume
from flatvol_jax.volume.inputs import checked_kernel, checked_labels
from flatvol_jax.volume.links import LINK_VARIANCE

__all__ = [
    "LINK_VARIANCE",
    "Cavities",
    "LogVolume",
    "checked_kernel",
    "checked_labels",
    "log_volume",
    "prior_bound",
]
