"""One network or labelling by itself: measured, certified."""

from flatvol_jax.study.single._measure import measure
from flatvol_jax.study.single.certificate import certify, check_certificate
from flatvol_jax.study.single.checkpoint import measure_network, network_summary
from flatvol_jax.study.single.table import Measured

__all__ = [
    "Measured",
    "certify",
    "check_certificate",
    "measure",
    "measure_network",
    "network_summary",
]
