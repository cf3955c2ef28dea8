"""records -> pictures and the report; reads nothing else."""

from flatvol_jax.figures.paper import paper_figure
from flatvol_jax.figures.report import write_report
from flatvol_jax.figures.scatter import attack_sweep_figure, save_figure
from flatvol_jax.figures.sweep import sweep_pictures
from flatvol_jax.figures.symmetry_audit import symmetry_audit_figure

__all__ = [
    "attack_sweep_figure",
    "paper_figure",
    "save_figure",
    "sweep_pictures",
    "symmetry_audit_figure",
    "write_report",
]
