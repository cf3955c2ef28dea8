"""One network or labelling by itself: measured, certified."""

from flatvol_jax.study.single.certificate import certify, check_certificate
from flatvol_jax.study.single.measure import measure_network, network_summary

__all__ = [
    "certify",
    "check_certificate",
    "measure_network",
    "network_summary",
]
