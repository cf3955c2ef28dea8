"""Which records a figure of the paper is drawn from: one sweep a system, never two mixed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from flatvol_jax.paper.layout import System
from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import selection
from flatvol_jax.study.analysis.names import OPTIMIZERS, SYSTEMS

PRODUCT_COUNT = f"{col.LOG_PRODUCT.name}.count"
# What a reader must know of a sweep, where the records say it.
FACTS = {
    "hp.data.name": "{}",
    "hp.model.depth": "{:.0f} layers",
    col.TRAIN_SIZE: "|S| = {:.0f}",
    col.TEST_SIZE: "|E1| = {:.0f}",
    col.SECOND_TEST_SIZE: "|E2| = {:.0f}",
    PRODUCT_COUNT: "{:.0f} eigenvalues in the product",
}


def networks(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of networks as they were trained, `overtrain` 0 where it is not recorded.

    Raises:
        ValueError: columns that are missing.
    """
    selection.require(frame, col.EXPERIMENT, col.SCALE, col.OPTIMIZER)
    if col.TRANSFORM in frame:
        frame = frame[frame[col.TRANSFORM] == "none"]
    if col.SYMMETRY in frame:  # a symmetry audit, whose one network is in a sweep as well
        frame = frame[frame[col.SYMMETRY].isna()]
    epochs = np.nan_to_num(col.numbers(frame, col.OVERTRAIN)).astype(int)
    return frame.assign(**{col.OVERTRAIN: epochs})


def sweep(frame: pd.DataFrame, system: System, scale: str | None = None) -> pd.DataFrame:
    """Return the rows of the one sweep of a system, no row where the records have none.

    Args:
        frame: what `networks` returned.
        system: experiment and optimizer.
        scale: of the sweep; None where the records have the system at one scale only.

    Raises:
        ValueError: a scale that no row of any system has; rows of several scales or folders.
    """
    if scale is not None:
        checks.one_of("scale", scale, frame[col.SCALE].dropna().unique())
        frame = frame[frame[col.SCALE] == scale]
    rows = frame[
        (frame[col.EXPERIMENT] == system.experiment) & (frame[col.OPTIMIZER] == system.optimizer)
    ]
    by = [column for column in (col.SCALE, col.WORKDIR) if column in rows]
    found = rows[by].drop_duplicates().values.tolist()
    if len(found) > 1:
        names = "; ".join(" in ".join(map(str, sweep)) for sweep in found)
        scales = rows[col.SCALE].unique()
        choice = f"--scale={scales[0]}" if len(scales) > 1 else f"--workdir={found[0][-1]}"
        raise ValueError(
            f"{system.experiment} with {system.optimizer}: got {len(found)} sweeps ({names}), "
            f"wanted one: two are never mixed in a panel. Choose with --scale= or --workdir=, for "
            f"example {choice}."
        )
    return rows


def overtrained_epochs(sweeps: Mapping[System, pd.DataFrame]) -> list[int]:
    """List every number of epochs after zero error in the records, 0 first."""
    return sorted({0}.union(*(rows[col.OVERTRAIN].tolist() for rows in sweeps.values())))


def overtrained_lines(rows: pd.DataFrame, epoch: int) -> list[str]:
    """Say what happened to the functions of a sweep in `epoch` epochs after zero error."""
    if epoch == 0:
        return ["at zero error"]
    lines = [f"{epoch} epochs after zero error"]
    then, now = (rows[rows[col.OVERTRAIN] == number] for number in (0, epoch))
    changed = col.numbers(now, col.CHANGED)
    changed = changed[np.isfinite(changed)]
    if len(changed):
        labels = int(now[col.TRAIN_SIZE].iloc[0] + now[col.TEST_SIZE].iloc[0])
        lines += [
            f"labels changed of {labels}:",
            f"median {np.median(changed):g}, at most {changed.max():g}",
        ]
    fitted, fits = (set(part[col.RUN][col.flagged(part, col.ZERO_ERROR)]) for part in (then, now))
    lost = len(fitted.intersection(now[col.RUN]) - fits)
    lines.append(f"zero error lost in {lost} of {len(now)} runs")
    return lines


def fact_lines(sweeps: Mapping[System, pd.DataFrame], left_out: tuple[str, ...] = ()) -> list[str]:
    """Write scale, draws, sizes and error of each sweep; systems that share them in one line.

    Args:
        sweeps: system -> its rows; a system without rows is not mentioned.
        left_out: columns of FACTS that the figure has no use for.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    for system, rows in sweeps.items():
        if not len(rows):
            continue
        draws = rows[col.DRAW].nunique()
        facts = [f"scale {rows[col.SCALE].iloc[0]}", f"{draws} draw{'s' * (draws > 1)}"]
        for column, text in FACTS.items():
            if column in left_out or column not in rows:
                continue
            values = rows[column].dropna()
            if len(values):
                if column == PRODUCT_COUNT and values.min() < values.max():
                    text = "{:.0f} to " + text + ", which are not comparable"
                    facts.append(text.format(values.min(), values.max()))
                else:
                    facts.append(text.format(values.max()))
        error, note = selection.error_column(rows)[1], ""
        if error == "E1":
            note = ", which log V has seen"
        elif not np.isfinite(col.numbers(rows, col.SECOND_TEST_SIZE)).any():
            disjoint = rows.get("hp.data.draws", rows[col.SCALE]).eq("disjoint").any()
            note = ", the data set's test split" if disjoint else ", all data that are left"
        facts.append(f"error on {error}{note}")
        key = SYSTEMS[system.experiment], ", ".join(facts)
        lines.setdefault(key, []).append(OPTIMIZERS[system.optimizer])
    return [f"{name} ({', '.join(who)}): {facts}." for (name, facts), who in lines.items()]
