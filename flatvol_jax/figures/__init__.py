"""records -> pictures and the report; reads nothing else."""

from flatvol_jax.figures.report import write_report
from flatvol_jax.figures.scatter import attack_sweep_figure, save_figure

__all__ = ["attack_sweep_figure", "save_figure", "write_report"]
