"""The Boolean system: run, summary, figures and report."""

from flatvol_jax.study.boolean.report import boolean_pictures, write_boolean_report
from flatvol_jax.study.boolean.run import run_boolean
from flatvol_jax.study.boolean.summary import boolean_summary
from flatvol_jax.study.boolean.system import make_system

__all__ = [
    "boolean_pictures",
    "boolean_summary",
    "make_system",
    "run_boolean",
    "write_boolean_report",
]
