"""A random network that fits S beside trained ones: run, summary, figure and report."""

from flatvol_jax.study.posterior.report import posterior_pictures, write_posterior_report
from flatvol_jax.study.posterior.run import run_posterior
from flatvol_jax.study.posterior.summary import claim_table, posterior_summary, size_table

__all__ = [
    "claim_table",
    "posterior_pictures",
    "posterior_summary",
    "run_posterior",
    "size_table",
    "write_posterior_report",
]
