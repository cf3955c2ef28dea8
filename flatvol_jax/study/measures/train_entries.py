"""The entries of hp.train of a config -> settings of training."""

from collections.abc import Mapping
from typing import Any

from flatvol_jax.study.engine.config_entries import built
from flatvol_jax.training import TrainSettings

# What a config means that lacks an entry: it is older than the entry.
_BEFORE = {"stop": "train_and_attack"}


def train_settings(entries: Mapping[str, Any], name: str = "hp.train") -> TrainSettings:
    """Return the settings that the entries name; those of an older config as it meant them.

    Raises:
        ValueError: an entry that training does not have, or a value that it cannot take.
    """
    return built(name, TrainSettings, {**_BEFORE, **entries})
