"""Where the records of a folder come from: config, scale, commit, and how long they took."""

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from flatvol_jax.study.analysis.columns import RUN, numbers


class Provenance(NamedTuple):
    """Where the records in one folder are from.

    Attributes:
        folder: its name.
        config: name of the configuration; `settings` is all of it.
        scale: of the study.
        commit: of the source tree, None outside one.
        versions: package -> version.
        networks: how many different ones the records have.
        seconds: sum of what its units took, NaN where they did not say. Units that ran side by side
            count as one after another.
    """

    folder: str
    config: str
    settings: dict[str, Any]
    scale: str | None
    commit: str | None
    versions: dict[str, str]
    networks: int
    seconds: float


def provenance(workdir: epath.PathLike, frame: pd.DataFrame) -> Provenance:
    """Describe a folder with config.json, whose records are `frame`."""
    path = epath.Path(workdir)
    file = path / "config.json"
    stored = json.loads(file.read_text()) if file.exists() else {"config": {}, "environment": {}}
    config, environment = stored["config"], stored["environment"]
    if RUN in frame and frame[RUN].notna().any():
        networks = frame[RUN].nunique()
    else:
        networks = int(np.nansum(numbers(frame, "measure.minima")))
    return Provenance(
        path.name,
        config.get("name", path.name),
        config,
        config.get("scale"),
        environment.get("commit"),
        environment.get("versions", {}),
        networks,
        _seconds(frame),
    )


def _seconds(frame: pd.DataFrame) -> float:
    """Sum what units took; a unit's seconds stand in every row that it gave."""
    columns = frame.columns[frame.columns.str.fullmatch(r"meta\..*\.seconds")]
    known = [pd.Series(numbers(frame, column)).dropna() for column in columns]
    return float(sum(values.drop_duplicates().sum() for values in known)) if known else np.nan
