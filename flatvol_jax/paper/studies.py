"""The paper's figures that one study draws whole: the Boolean system and the temporal study."""

from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from flatvol_jax.paper.registry import is_there, part_of
from flatvol_jax.study.analysis.columns import EXPERIMENT, SCALE, WORKDIR
from flatvol_jax.study.engine.records import load_records


class Study(NamedTuple):
    """What draws a figure, and from which records.

    Attributes:
        shows: what the figure shows.
        experiment: `meta.experiment` of the records.
        variant: `meta.scale` of the records; None for any.
        draw: the function of the experiment's folder, as `registry.part_of` takes it: records ->
            figure, None where they do not have it.
    """

    shows: str
    experiment: str
    variant: str | None
    draw: str

    @property
    def command(self) -> str:
        """Return what makes its records."""
        variant = {"fig5": "", None: ""}.get(self.variant, f":{self.variant}")
        name = self.experiment
        return f"python -m experiments.{name} --config=configs/{name}.py{variant}"


_VOLUME, _NORM = "volume and sharpness of Boolean functions", "spectral norm of the Hessian"
_TIME, _CURVES = "flatness and log V(f) at every epoch", "figure.temporal_figure"
_EVERY = {
    "2": Study(_VOLUME, "boolean", None, "figures.volume_sharpness_figure"),
    "S1": Study(f"sharpness and {_NORM}", "boolean", None, "figures.sharpness_norm_figure"),
    "S2": Study(f"volume and {_NORM}", "boolean", None, "figures.volume_norm_figure"),
    "5": Study(f"{_TIME}, alpha = 5.9", "temporal", "fig5", _CURVES),
    "S5": Study(f"{_TIME}, alpha = 5.0", "temporal", "S5", _CURVES),
    "S7": Study(f"{_TIME}, three box sizes", "temporal", "S7", _CURVES),
    "S8": Study(f"{_TIME}, 5000 after scaling", "temporal", "S8", _CURVES),
    "S9": Study(f"{_TIME}, with the Hessian", "temporal", "S9", _CURVES),
}
STUDIES = {name: study for name, study in _EVERY.items() if is_there(study.experiment)}


def study_figures(frame: pd.DataFrame, name: str, smoke: bool = False) -> dict[str, Figure]:
    """Draw a figure for each study in the records that has it.

    Args:
        frame: records of any experiments, as `engine.records.load_sweeps` reads them.
        name: a key of `STUDIES`.
        smoke: whether a smoke run may stand in for figure 5.

    Returns:
        By the study's folder.
    """
    study = STUDIES[name]
    draw = part_of(study.experiment, study.draw)
    rows = frame[frame[EXPERIMENT] == study.experiment]
    if study.variant is not None and len(rows):
        variants = (study.variant, "smoke") if smoke and name == "5" else (study.variant,)
        rows = rows[rows[SCALE].isin(variants)]
    figures = {folder: draw(load_records(folder)) for folder in rows[WORKDIR].unique()}
    return {folder: figure for folder, figure in figures.items() if figure is not None}
