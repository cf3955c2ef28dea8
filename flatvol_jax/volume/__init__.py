"""kernel + labels -> log V(f): expectation propagation, links, bounds; knows no networks."""

from flatvol_jax.volume.bounds import prior_bound
from flatvol_jax.volume.ep import Cavities
from flatvol_jax.volume.function_volume import LogVolume, log_volume
from flatvol_jax.volume.links import LINK_VARIANCE

__all__ = ["LINK_VARIANCE", "Cavities", "LogVolume", "log_volume", "prior_bound"]
