"""One network or labelling by itself: measured, certified."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.single._measure import measure
    from flatvol_jax.study.single.certificate import certificate_lines, certify, check_certificate
    from flatvol_jax.study.single.checkpoint import measure_network, network_summary
    from flatvol_jax.study.single.labelling import Labelling, read_labelling
    from flatvol_jax.study.single.table import Measured
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "Labelling",
    "Measured",
    "certificate_lines",
    "certify",
    "check_certificate",
    "measure",
    "measure_network",
    "network_summary",
    "read_labelling",
]
