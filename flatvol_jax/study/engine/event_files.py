"""The records of a workdir as TensorBoard event files: curves, measures, hyperparameters."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from flatvol_jax.study.engine.records import load_arrays, load_records

FOLDER = "tensorboard"
CURVES = ("loss", "errors")  # of the arrays of a training unit, an entry an epoch


def write_events(workdir: epath.PathLike) -> tuple[epath.Path, int]:
    """Write WORKDIR/tensorboard anew from records and units.

    A sweep has a run a network: its loss and errors by epoch where the units are there, its
    measures as metrics of its hyperparameters. A temporal study has a run a branch: its measures by
    epoch. What was there before is replaced, so that nothing is twice.

    Args:
        workdir: a local folder with records.

    Returns:
        The folder for `tensorboard --logdir`, and how many runs are in it.

    Raises:
        ValueError: no records; no tensorboardX (extra `tensorboard`).
    """
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise ValueError(
            "tensorboardX is not installed, which writes TensorBoard's files without TensorFlow: "
            "pip install flatvol-jax[tensorboard]."
        ) from error
    frame, folder = load_records(workdir), epath.Path(workdir) / FOLDER
    if folder.exists():
        folder.rmtree()
    temporal = "meta.event" in frame
    runs = list(_branches(frame) if temporal else _networks(frame))
    for name, rows in runs:
        with SummaryWriter(str(folder / name)) as writer:
            if temporal:
                _courses(writer, rows)
            else:
                _network(writer, workdir, rows.iloc[0])
    return folder, len(runs)


def _networks(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield a network at each epoch that was measured, under a name that sorts."""
    if "run_id" not in frame:
        raise ValueError("records: got none of networks, wanted those of a sweep or a network.")
    for number in range(len(frame)):
        row = frame.iloc[number]
        later = row.get("overtrain")
        after = f"_{later:.0f}_later" if later and np.isfinite(later) else ""
        place = f"draw_{row['hp.draw']}/A_{row['hp.attack_size']}/sample_{row['hp.sample']}"
        yield f"{place}{after}", frame.iloc[number : number + 1]


def _branches(frame: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for (run_id, transform), rows in frame.groupby(["run_id", "transform"], sort=False):
        yield f"{run_id}/{transform.replace(', ', '_').replace(' ', '_')}", rows


def _network(writer, workdir: epath.PathLike, row: pd.Series) -> None:
    path = row.get("meta.arrays.train")
    if isinstance(path, str) and (epath.Path(workdir) / path).exists():
        arrays = load_arrays(workdir, row, "train")
        for curve in CURVES:
            for epoch, value in enumerate(arrays.get(curve, ())):
                writer.add_scalar(f"train/{curve}", float(value), epoch)
    hyper = {name: _plain(row[name]) for name in row.index if name.startswith("hp.")}
    # A folder of its own: a second writer in one folder would take the same file.
    writer.add_hparams(hyper, _numbers(row), name="hparams", global_step=0)


def _courses(writer, rows: pd.DataFrame) -> None:
    for _, row in rows.sort_values("epoch").iterrows():
        for name, value in _numbers(row).items():
            writer.add_scalar(name, value, int(row["epoch"]))


def _numbers(row: pd.Series) -> dict[str, float]:
    """Return the measures of a row that have a value."""
    found = {}
    for name in row.index:
        if name.startswith("measure."):
            value = pd.to_numeric(row[name], errors="coerce")
            if np.isfinite(value):
                found[name.removeprefix("measure.").replace(".", "/", 1)] = float(value)
    return found


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else str(value)
