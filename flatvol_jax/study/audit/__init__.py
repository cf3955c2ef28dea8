"""The symmetry audit: its run, table and figure."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.audit.figure import symmetry_audit_figure
    from flatvol_jax.study.audit.own_network import SymmetryAudit, symmetry_audit
    from flatvol_jax.study.audit.run import run_symmetry_audit
    from flatvol_jax.study.audit.table import audit_summary, audit_table
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "SymmetryAudit",
    "audit_summary",
    "audit_table",
    "run_symmetry_audit",
    "symmetry_audit",
    "symmetry_audit_figure",
]
