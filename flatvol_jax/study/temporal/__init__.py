"""Flatness and volume through time: run, summary, figures and report."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.temporal.report import temporal_pictures, write_temporal_report
    from flatvol_jax.study.temporal.run import run_temporal
    from flatvol_jax.study.temporal.summary import branch_table, largest_alpha, temporal_summary
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "branch_table",
    "largest_alpha",
    "run_temporal",
    "temporal_pictures",
    "temporal_summary",
    "write_temporal_report",
]
