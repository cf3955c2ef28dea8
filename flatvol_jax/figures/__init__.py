"""records -> pictures and the report; reads nothing else."""

from flatvol_jax.figures.paper import paper_figure
from flatvol_jax.figures.scatter import attack_sweep_figure, save_figure
from flatvol_jax.study.audit.figure import symmetry_audit_figure
from flatvol_jax.study.boolean.report import boolean_pictures, write_boolean_report
from flatvol_jax.study.sweep.pictures import sweep_pictures
from flatvol_jax.study.sweep.report import write_report
from flatvol_jax.study.temporal.report import temporal_pictures, write_temporal_report

__all__ = [
    "attack_sweep_figure",
    "boolean_pictures",
    "paper_figure",
    "save_figure",
    "sweep_pictures",
    "symmetry_audit_figure",
    "temporal_pictures",
    "write_boolean_report",
    "write_report",
    "write_temporal_report",
]
