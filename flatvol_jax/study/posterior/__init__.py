"""A random network that fits S beside trained ones: run, summary, figure and report."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.posterior.report import posterior_pictures, write_posterior_report
    from flatvol_jax.study.posterior.run import run_posterior
    from flatvol_jax.study.posterior.summary import claim_table, posterior_summary, size_table
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "claim_table",
    "posterior_pictures",
    "posterior_summary",
    "run_posterior",
    "size_table",
    "write_posterior_report",
]
