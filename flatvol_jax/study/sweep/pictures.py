"""All figures that the records of an attack sweep allow, by name."""

from typing import NamedTuple

import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from flatvol_jax.figures.scatter import attack_sweep_figure
from flatvol_jax.study.sweep.local_volume import local_volume_figure
from flatvol_jax.study.sweep.maximisation import maximisation_figure
from flatvol_jax.study.sweep.spectrum import spectrum_figure


class Picture(NamedTuple):
    """A figure, the stem of its file, and what it shows."""

    name: str
    shows: str
    figure: Figure


def sweep_pictures(frame: pd.DataFrame, workdir: epath.PathLike) -> list[Picture]:
    """Fig. 3 first; fig. S4, the spectral density and the local volumes where they were measured.

    Args:
        frame: records, one row a network.
        workdir: where the arrays lie that the records name.
    """
    candidates = [
        ("attack_sweep", "log V(f) and sharpness against accuracy", attack_sweep_figure(frame)),
        (
            "maximisation",
            "the largest loss found against the effort (fig. S4)",
            maximisation_figure(frame, workdir),
        ),
        (
            "spectrum",
            "spectral density of the Hessian",
            spectrum_figure(frame, workdir),
        ),
        (
            "local_volume",
            "log V(f), basin volume, learning coefficient and sharpness side by side",
            local_volume_figure(frame),
        ),
    ]
    return [Picture(*candidate) for candidate in candidates if candidate[-1] is not None]
