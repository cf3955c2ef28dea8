"""What a network is asked: data sets, two classes of them, and the parts of one draw."""

from flatvol_jax.data.dataset import Dataset
from flatvol_jax.data.draws import Draw, Split, attack_indices, draw
from flatvol_jax.data.groups import GROUPS, binarise
from flatvol_jax.data.preprocessing import PREPROCESSING, preprocess
from flatvol_jax.data.sources import SOURCES, load

__all__ = [
    "GROUPS",
    "PREPROCESSING",
    "SOURCES",
    "Dataset",
    "Draw",
    "Split",
    "attack_indices",
    "binarise",
    "draw",
    "load",
    "preprocess",
]
