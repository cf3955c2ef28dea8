"""The Boolean system: run, summary, figures and report."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.boolean.report import boolean_pictures, write_boolean_report
    from flatvol_jax.study.boolean.run import run_boolean
    from flatvol_jax.study.boolean.summary import boolean_summary
    from flatvol_jax.study.boolean.system import make_system
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "boolean_pictures",
    "boolean_summary",
    "make_system",
    "run_boolean",
    "write_boolean_report",
]
