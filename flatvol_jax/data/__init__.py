"""Data sets, their classes or two groups of them, and the parts of one draw."""

from flatvol_jax.data.dataset import Dataset
from flatvol_jax.data.draws import Draw, Split, attack_indices, disjoint_draw, draw
from flatvol_jax.data.groups import ALL_CLASSES, GROUPS, binarise, numbered_classes
from flatvol_jax.data.leaving_out import leave_out
from flatvol_jax.data.own_arrays import from_arrays
from flatvol_jax.data.preprocessing import PREPROCESSING, preprocess
from flatvol_jax.data.sources import SOURCES, load

__all__ = [
    "ALL_CLASSES",
    "GROUPS",
    "PREPROCESSING",
    "SOURCES",
    "Dataset",
    "Draw",
    "Split",
    "attack_indices",
    "binarise",
    "disjoint_draw",
    "draw",
    "from_arrays",
    "leave_out",
    "load",
    "numbered_classes",
    "preprocess",
]


def __dir__() -> list[str]:
    """Return the public names."""
    return sorted(__all__)
