"""The symmetry audit: its run, table and figure."""

from flatvol_jax.study.audit.figure import symmetry_audit_figure
from flatvol_jax.study.audit.own_network import SymmetryAudit, symmetry_audit
from flatvol_jax.study.audit.run import run_symmetry_audit
from flatvol_jax.study.audit.table import audit_summary, audit_table

__all__ = [
    "SymmetryAudit",
    "audit_summary",
    "audit_table",
    "run_symmetry_audit",
    "symmetry_audit",
    "symmetry_audit_figure",
]
