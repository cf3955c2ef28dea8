"""Whether the records in a folder are all that a config asks for, so that nothing is to be run.

Records may lie in a folder without the units that they were made of, as in results/.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from flatvol_jax.paper.registry import part_of
from flatvol_jax.study.analysis.columns import numbers
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.engine.record_files import record_files
from flatvol_jax.study.engine.records import load_records
from flatvol_jax.study.engine.store import jsonable
from flatvol_jax.study.measures.registry import chosen_measures

# Entries of a config that say what is computed; measures may have been added to it since.
DETERMINING = ("hp", "sweep", "event", "trajectory", "sampling", "widths", "minima", "posterior")
SECONDS = "meta.{}.seconds"


def is_finished(config: Mapping[str, Any], workdir: epath.PathLike) -> bool:
    """Say whether every planned network is in the records of the folder, measured and to its end.

    Args:
        config: plain data of a sweep, a temporal study or the Boolean experiment.
        workdir: folder of its records and of the config.json they were made by.
    """
    path = epath.Path(workdir)
    if not record_files(path) or not (path / "config.json").exists():
        return False
    stored, asked = json.loads((path / "config.json").read_text())["config"], jsonable(config)
    if any(stored.get(name) != asked.get(name) for name in DETERMINING):
        return False
    try:
        frame = load_records(path)
    except ValueError:  # none that can be read
        return False
    if "sampling" in config:
        return _boolean(config, frame)
    if "event" in config:
        return _temporal(config, frame)
    return _sweep(config, frame)


def networks_so_far(config: Mapping[str, Any], workdir: epath.PathLike) -> tuple[int, int]:
    """Return how many networks of a sweep the records of the folder have, and how many are planned.

    Args:
        config: plain data of a sweep; of any other study none are counted.
        workdir: folder of its records.
    """
    path = epath.Path(workdir)
    if "sampling" in config or "event" in config or not record_files(path):
        return 0, 0
    planned = {run.run_id for run in plan_runs(config)}
    try:
        found = set(load_records(path)["run_id"])
    except ValueError:  # none that can be read
        found = set()
    return len(planned & found), len(planned)


def _sweep(config: Mapping[str, Any], frame: pd.DataFrame) -> bool:
    wanted = {(run.run_id, run.overtrain) for run in plan_runs(config)}
    found = set(zip(frame["run_id"], frame["overtrain"].fillna(0).astype(int), strict=True))
    fitted = frame[frame["is.zero_error"].eq(True)]
    measured = True
    for name, measure in chosen_measures(config).items():
        most = measure.networks
        rows = fitted if most is None else fitted[fitted["hp.sample"] < most]
        measured &= bool(np.isfinite(numbers(rows, SECONDS.format(name))).all())
    return wanted <= found and measured and _as_asked(config, fitted)


def _as_asked(config: Mapping[str, Any], frame: pd.DataFrame) -> bool:
    """Check that measures are of the config's settings, where the records say of which."""
    for name, measure in chosen_measures(config).items():
        column = frame.get(f"meta.settings.{name}", pd.Series(dtype=object)).dropna()
        if (column != measure.label).any():
            return False
    return True


def _temporal(config: Mapping[str, Any], frame: pd.DataFrame) -> bool:
    """Check that each network has its branches up to their last epoch, or never reached zero error.

    Each measure that is on must be in some row: an older study may lack one.
    """
    on = [name for name, settings in config["measures"].items() if settings["on"]]
    if not all(np.isfinite(numbers(frame, SECONDS.format(n))).any() for n in on):
        return False
    cap, last = config["hp"]["train"]["max_epochs"], config["event"]["epochs"]
    for run in part_of("temporal", "plan.temporal_runs")(config):
        rows = frame[frame["run_id"] == run.run_id]
        event = numbers(rows, "measure.epochs.event")
        if not len(rows) or (np.isnan(event).all() and rows["epoch"].max() < cap):
            return False
        ends = rows.groupby("transform")["epoch"].max()
        if not np.isnan(event).all() and (ends < np.nanmax(event) + last).any():
            return bool(rows["is.diverged"].any())
    return True


def _boolean(config: Mapping[str, Any], frame: pd.DataFrame) -> bool:
    """Check that the comparison with the posterior, which comes last, is there for all targets."""
    posterior, mnist = config["posterior"], config["posterior_mnist"]
    wanted = len(posterior["targets"]) * len(posterior["optimizers"]) * posterior["on"]
    wanted += len(mnist["optimizers"]) * mnist["on"]
    return int(frame["meta.part"].eq("posterior_summary").sum()) >= wanted
