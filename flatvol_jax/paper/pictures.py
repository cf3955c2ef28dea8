"""Every figure of the paper as a picture for the report, with the folders that it is drawn from."""

from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.paper.records import networks, sweep
from flatvol_jax.paper.scatter_figures import paper_figure
from flatvol_jax.paper.schematic import schematic_figure
from flatvol_jax.paper.studies import STUDIES, study_figures
from flatvol_jax.study.analysis.columns import SCALE, WORKDIR
from flatvol_jax.study.engine.records import load_records
from flatvol_jax.study.sweep.maximisation import maximisation_figure

PAPER = ("1", "2", "3", "4", "5", *(f"S{number}" for number in range(1, 19)))
NOT_PAPER = "C1"  # ten classes beside two; only where there are records of both
ORDER = tuple(
    name for name in (*PAPER, NOT_PAPER) if name in ("1", "S4") or name in {**FIGURES, **STUDIES}
)
ASCENT = "how far the maximisation of the loss is from its end"


class PaperPicture(NamedTuple):
    """One drawing of one of the paper's figures.

    Attributes:
        name: the paper's number, or C1.
        shows: what it shows.
        figure: None where there are no records.
        folders: workdirs of the records.
        missing: commands that make the records it lacks.
    """

    name: str
    shows: str
    figure: Figure | None
    folders: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def paper_pictures(frame: pd.DataFrame, scale: str) -> Iterator[PaperPicture]:
    """Yield all figures in the paper's order, then that of ten classes where it has records.

    A study that several folders have is drawn for each.

    Args:
        frame: records of any studies, as `engine.records.load_sweeps` reads them.
        scale: of the sweeps that are drawn.
    """
    for name in ORDER:
        if name == "1":
            yield PaperPicture(name, "volume and local flatness, a schematic", schematic_figure())
        elif name == "S4":
            yield _ascent_picture(frame)
        elif name in FIGURES:
            picture = _sweeps_picture(frame, name, scale)
            if not (name == NOT_PAPER and picture.missing):
                yield picture
        else:
            yield from _study_pictures(frame, name, scale)


def _sweeps_picture(frame: pd.DataFrame, name: str, scale: str) -> PaperPicture:
    layout, rows = FIGURES[name], networks(frame)
    rows = rows[rows[SCALE] == scale]
    found = {system: sweep(rows, system)[WORKDIR].unique().tolist() for system in layout.systems}
    folders = tuple(path for paths in found.values() for path in paths)
    missing = tuple(system.command(scale) for system, paths in found.items() if not paths)
    figure = paper_figure(frame, name, scale)[0] if folders else None
    return PaperPicture(name, layout.shows, figure, folders, missing)


def _study_pictures(frame: pd.DataFrame, name: str, scale: str) -> Iterator[PaperPicture]:
    study = STUDIES[name]
    drawn = study_figures(frame, name, smoke=scale == "smoke")
    for folder, figure in drawn.items():
        yield PaperPicture(name, study.shows, figure, (folder,))
    if not drawn:
        yield PaperPicture(name, study.shows, None, (), (study.command,))


def _ascent_picture(frame: pd.DataFrame) -> PaperPicture:
    """Draw figure S4 of the first folder that keeps the arrays, few networks preferred."""
    column = "meta.arrays.sgd_sharpness"
    rows = frame[frame[column].notna()] if column in frame else frame[:0]
    for folder in rows.groupby(WORKDIR).size().sort_values().index:
        kept = [epath.Path(folder) / path for path in rows[rows[WORKDIR] == folder][column]]
        if all(path.exists() for path in kept):
            figure = maximisation_figure(load_records(folder), folder)
            return PaperPicture("S4", ASCENT, figure, (folder,))
    command = "python -m experiments.attack_sweep --config=configs/mnist_fcn_ascent.py"
    return PaperPicture("S4", ASCENT, None, (), (command,))
