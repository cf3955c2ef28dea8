"""config -> units -> records; what the records say: statistics, verdicts."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.analysis.claims import claims_table, records_summary
    from flatvol_jax.study.audit.table import audit_summary, audit_table
    from flatvol_jax.study.engine.export import export_records
    from flatvol_jax.study.engine.records import load_arrays, load_records
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "audit_summary",
    "audit_table",
    "claims_table",
    "export_records",
    "load_arrays",
    "load_records",
    "records_summary",
]
