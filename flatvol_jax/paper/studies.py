"""The paper's figures that one study draws whole: the Boolean system and the temporal study."""

from collections.abc import Callable
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from flatvol_jax.study.boolean.figures import (
    sharpness_norm_figure,
    volume_norm_figure,
    volume_sharpness_figure,
)
from flatvol_jax.study.engine.records import load_records
from flatvol_jax.study.temporal.figure import temporal_figure


class Study(NamedTuple):
    """What draws a figure, and from which records.

    Attributes:
        shows: what the figure shows.
        experiment: `meta.experiment` of the records.
        variant: `meta.scale` of the records; None for any.
        draw: records -> figure, None where they do not have it.
    """

    shows: str
    experiment: str
    variant: str | None
    draw: Callable[[pd.DataFrame], Figure | None]

    @property
    def command(self) -> str:
        """What makes its records."""
        variant = {"fig5": "", None: ""}.get(self.variant, f":{self.variant}")
        name = self.experiment
        return f"python -m experiments.{name} --config=configs/{name}.py{variant}"


_THROUGH_TIME = "flatness and log V(f) at every epoch"
STUDIES = {
    "2": Study(
        "volume and sharpness of Boolean functions", "boolean", None, volume_sharpness_figure
    ),
    "S1": Study(
        "sharpness and spectral norm of the Hessian", "boolean", None, sharpness_norm_figure
    ),
    "S2": Study("volume and spectral norm of the Hessian", "boolean", None, volume_norm_figure),
    "5": Study(f"{_THROUGH_TIME}, alpha = 5.9", "temporal", "fig5", temporal_figure),
    "S5": Study(f"{_THROUGH_TIME}, alpha = 5.0", "temporal", "S5", temporal_figure),
    "S7": Study(f"{_THROUGH_TIME}, three box sizes", "temporal", "S7", temporal_figure),
    "S8": Study(f"{_THROUGH_TIME}, 5000 after scaling", "temporal", "S8", temporal_figure),
    "S9": Study(f"{_THROUGH_TIME}, with the Hessian", "temporal", "S9", temporal_figure),
}


def study_figures(frame: pd.DataFrame, name: str, smoke: bool = False) -> dict[str, Figure]:
    """A figure for each study in the records that has it.

    Args:
        frame: records of any experiments, as `engine.records.load_sweeps` reads them.
        name: a key of `STUDIES`.
        smoke: whether a smoke run may stand in for figure 5.

    Returns:
        By the study's folder.
    """
    study = STUDIES[name]
    rows = frame[frame["meta.experiment"] == study.experiment]
    if study.variant is not None and len(rows):
        variants = (study.variant, "smoke") if smoke and name == "5" else (study.variant,)
        rows = rows[rows["meta.scale"].isin(variants)]
    found = {}
    for folder in rows["meta.workdir"].unique():
        figure = study.draw(load_records(folder))
        if figure is not None:
            found[folder] = figure
    return found
