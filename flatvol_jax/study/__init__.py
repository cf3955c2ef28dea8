"""config -> units -> records; what the records say: statistics, verdicts."""

from flatvol_jax.study.analysis.claims import claims_table, records_summary
from flatvol_jax.study.audit.table import audit_summary, audit_table
from flatvol_jax.study.engine.export import export_records
from flatvol_jax.study.engine.records import load_arrays, load_records

__all__ = [
    "audit_summary",
    "audit_table",
    "claims_table",
    "export_records",
    "load_arrays",
    "load_records",
    "records_summary",
]
