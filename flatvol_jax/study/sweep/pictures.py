"""All figures that the records of an attack sweep allow, by name."""

import pandas as pd
from etils import epath

from flatvol_jax.study.report.pictures import Picture, drawn_pictures
from flatvol_jax.study.report.scatter import attack_sweep_figure
from flatvol_jax.study.sweep.local_volume import local_volume_figure
from flatvol_jax.study.sweep.maximisation import maximisation_figure
from flatvol_jax.study.sweep.spectrum import spectrum_figure


def sweep_pictures(frame: pd.DataFrame, workdir: epath.PathLike) -> list[Picture]:
    """Draw fig. 3 first; fig. S4, spectral density and local volumes where they were measured.

    Args:
        frame: records, one row a network.
        workdir: where the arrays lie that the records name.
    """
    volumes = "log V(f), basin volume, learning coefficient and sharpness side by side"
    effort = "the largest loss found against the effort (fig. S4)"
    return drawn_pictures(
        ("attack_sweep", "log V(f) and sharpness against the error", attack_sweep_figure(frame)),
        ("maximisation", effort, maximisation_figure(frame, workdir)),
        ("spectrum", "spectral density of the Hessian", spectrum_figure(frame, workdir)),
        ("local_volume", volumes, local_volume_figure(frame)),
    )
