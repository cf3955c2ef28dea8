"""Where the records of a folder come from: config, scale, commit, and how long they took."""

import json
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from flatvol_jax.study.analysis import selection


class Provenance(NamedTuple):
    """Of the records in one folder.

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
    """Of a folder with config.json, whose records are `frame`."""
    path = epath.Path(workdir)
    file = path / "config.json"
    stored = json.loads(file.read_text()) if file.exists() else {"config": {}, "environment": {}}
    config, environment = stored["config"], stored["environment"]
    if "run_id" in frame and frame["run_id"].notna().any():
        networks = frame["run_id"].nunique()
    else:
        networks = int(np.nansum(selection.numbers(frame, "measure.minima")))
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
    """A unit's seconds stand in every row that it gave: equal ones of a network are one unit's."""
    columns = frame.columns[frame.columns.str.fullmatch(r"meta\..*\.seconds")]
    known = [pd.Series(selection.numbers(frame, column)).dropna() for column in columns]
    return float(sum(values.drop_duplicates().sum() for values in known)) if known else np.nan
