"""The attack-set sweep (section 5.2): its run, pictures, report and comparisons."""

from typing import TYPE_CHECKING

from flatvol_jax.runtime.lazy_imports import lazy_names

if TYPE_CHECKING:
    from flatvol_jax.study.sweep.comparison import write_comparison
    from flatvol_jax.study.sweep.pictures import sweep_pictures
    from flatvol_jax.study.sweep.protocol import protocol_note
    from flatvol_jax.study.sweep.report import write_report
    from flatvol_jax.study.sweep.run import run_attack_sweep
    from flatvol_jax.study.sweep.workdir_comparison import (
        compare_workdirs,
        comparison_summary,
        write_workdir_comparison,
    )
else:
    __getattr__, __dir__ = lazy_names(__name__)

__all__ = [
    "compare_workdirs",
    "comparison_summary",
    "protocol_note",
    "run_attack_sweep",
    "sweep_pictures",
    "write_comparison",
    "write_report",
    "write_workdir_comparison",
]
