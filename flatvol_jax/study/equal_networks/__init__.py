"""Networks of one S that differ by their seed: run, summary, figure and report."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.equal_networks.report import (
        equal_networks_pictures,
        write_equal_networks_report,
    )
    from flatvol_jax.study.equal_networks.run import run_equal_networks
    from flatvol_jax.study.equal_networks.summary import equal_networks_summary, measure_table
    from flatvol_jax.study.equal_networks.tables import draw_table
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "draw_table",
    "equal_networks_pictures",
    "equal_networks_summary",
    "measure_table",
    "run_equal_networks",
    "write_equal_networks_report",
]
