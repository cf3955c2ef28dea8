"""Records of many sweeps -> the tables of each experiment at each epoch of overtraining."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.claims import claims_table, holm_together
from flatvol_jax.study.analysis.columns import (
    ATTACK_SIZE,
    CHANGED,
    DRAW,
    EXPERIMENT,
    OPTIMIZER,
    OVERTRAIN,
    PART,
    SAMPLE,
    SCALE,
    SYMMETRY,
    WORKDIR,
    ZERO_ERROR,
    flagged,
    numbers,
)
from flatvol_jax.study.analysis.optimizer_table import (
    halves_table,
    optimizer_table,
    primary_claims,
)
from flatvol_jax.study.analysis.selection import optimizer_names, require
from flatvol_jax.study.analysis.statistics import READINGS
from flatvol_jax.study.analysis.verdicts import interval_text

PLACE = (OPTIMIZER, DRAW, ATTACK_SIZE, SAMPLE)  # names a run within its experiment
# Columns that only the records of other studies have: transformed networks, Boolean functions.
OTHERS = (SYMMETRY, PART)
# What all runs of an experiment share: the same draws, the same kernel.
DESIGN = ("hp.data.", "hp.model.", "hp.seed")


class ExperimentTables(NamedTuple):
    """One experiment at one number of epochs after zero error.

    Attributes:
        experiment: its name.
        overtrain: epochs after zero error.
        frame: the records, one row a run.
        claims: `claims_table`: every optimizer's correlations.
        differences: `optimizer_table`: every optimizer against SGD.
        halves: `halves_table`: the primary claims on each half of E2; no rows where the records
            do not have these errors.
        family: primary claims of each reading, judged together.
    """

    experiment: str
    overtrain: int
    frame: pd.DataFrame
    claims: pd.DataFrame
    differences: pd.DataFrame
    halves: pd.DataFrame
    family: int


def of_scale(frame: pd.DataFrame, scale: str) -> pd.DataFrame:
    """Return the records of sweeps at one scale; those of other studies are left out.

    Raises:
        ValueError: there are none; names the scales that there are.
    """
    require(frame, EXPERIMENT, SCALE)
    of_sweeps = frame.reindex(columns=list(OTHERS)).isna().all(axis=1)
    known = frame[frame[EXPERIMENT].notna() & of_sweeps]
    if not (known[SCALE] == scale).any():
        there = ", ".join(sorted(map(str, known[SCALE].dropna().unique()))) or "none"
        raise ValueError(f"scale: got {scale!r}, wanted one that has records. Try: {there}.")
    return known[known[SCALE] == scale]


def experiment_tables(
    frame: pd.DataFrame, scale: str | None = None, seed: int = 0
) -> list[ExperimentTables]:
    """Return the tables of every experiment, at zero error and at each later measured epoch.

    The primary claims of an experiment at one epoch are one family in each reading: simultaneous
    intervals and Holm's p-values count the claims of both tables. A run that never reached zero
    error stands in the tables of the later epochs, too: its level is incomplete there.

    Args:
        frame: records of sweeps, as `load_sweeps` gives them.
        scale: of the study; without "cpu" or "paper" there is no verdict.
        seed: fixes permutations.

    Raises:
        ValueError: two records of one run of an optimizer, or runs of an experiment that do not
            share their data, network and seed.
    """
    require(frame, EXPERIMENT, *PLACE, ZERO_ERROR)
    beyond = numbers(frame, OVERTRAIN) if OVERTRAIN in frame else np.zeros(len(frame))
    frame = frame.assign(**{OVERTRAIN: np.nan_to_num(beyond).astype(int)})
    _check_one_record_a_run(frame)
    tables = []
    for experiment, runs in frame.groupby(EXPERIMENT):
        _check_one_design(str(experiment), runs)
        for overtrain in sorted(set(runs[OVERTRAIN])):
            at = _at_epoch(runs, overtrain)
            count = primary_claims(at)
            claims = claims_table(at, scale, seed, count)
            both = holm_together([claims, optimizer_table(at, claims, scale)], count)
            halves = halves_table(at, scale)
            tables.append(ExperimentTables(str(experiment), overtrain, at, *both, halves, count))
    return tables


def zero_error_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the runs that reached zero error: a row an optimizer, a column an |A|.

    Cells are "reached of run"; empty where an optimizer did not run.
    """
    reached = pd.Series(flagged(frame, ZERO_ERROR), frame.index)
    cells = reached.groupby([frame[OPTIMIZER], frame[ATTACK_SIZE]]).agg(["sum", "size"])
    text = cells["sum"].astype(int).astype(str) + " of " + cells["size"].astype(str)
    return text.unstack(fill_value="").reindex(optimizer_names(frame))


def function_movement_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Say how far overtraining moved the learned functions, by optimizer and epochs.

    Args:
        frame: records of one experiment, all epochs.

    Returns:
        Columns optimizer, overtrain, runs, moved (runs of which a label on S + E1 changed since
        zero error), median, most (labels that changed). No rows where it was not recorded.
    """
    columns = ["optimizer", OVERTRAIN, "runs", "moved", "median", "most"]
    beyond = frame[np.isfinite(numbers(frame, CHANGED))]
    rows = []
    for optimizer in optimizer_names(beyond):
        for overtrain, runs in beyond[beyond[OPTIMIZER] == optimizer].groupby(OVERTRAIN):
            changed = numbers(runs, CHANGED)
            moved, most = int(np.sum(changed > 0)), int(changed.max())
            median = float(np.median(changed))
            rows.append((optimizer, int(overtrain), len(runs), moved, median, most))
    return pd.DataFrame(rows, columns=columns)


def flat_table(tables: Sequence[ExperimentTables]) -> pd.DataFrame:
    """Join every row of every table for a .csv: experiment, overtrain, which table, its columns."""
    parts = []
    for one in tables:
        for name, table in (
            ("correlation", one.claims),
            ("difference", one.differences),
            ("half of E2", one.halves),
        ):
            if not len(table):
                continue
            place = {"experiment": one.experiment, OVERTRAIN: one.overtrain}
            left_out = [json.dumps(counts, ensure_ascii=False) for counts in table["left_out"]]
            parts.append(table.assign(**place, table=name, left_out=left_out))
    flat = pd.concat(parts, ignore_index=True)
    first = ["experiment", OVERTRAIN, "table"]
    return flat[first + [name for name in flat if name not in first]]


def tables_summary(tables: Sequence[ExperimentTables]) -> Iterator[str]:
    """Write in plain text, of each experiment and epoch, the primary claims and their verdicts."""
    for of_one in tables:
        overtrain, frame = of_one.overtrain, of_one.frame
        later = f", {overtrain} epochs after zero error" if overtrain else ""
        yield (
            f"{of_one.experiment}{later}: {len(frame)} runs, {frame[DRAW].nunique()} draw(s), "
            f"{of_one.family} primary claims a reading"
        )
        for table in (of_one.claims, of_one.differences):
            for _, row in table[table["family"] == "primary"].iterrows():
                yield f"  {row['claim']}"
                for reading in READINGS:
                    number = interval_text(
                        *(row[f"{reading}{end}"] for end in ("", "_low", "_high")), "not defined"
                    )
                    verdict, reason = row[f"{reading}_verdict"], row[f"{reading}_reason"]
                    yield f"    {reading}: {number}: {verdict} ({reason})"


def _at_epoch(runs: pd.DataFrame, overtrain: int) -> pd.DataFrame:
    """Return records at one epoch, and of runs without zero error the one of epoch 0.

    Training stops where there is no zero error to go beyond; those levels are incomplete.
    """
    at = runs[runs[OVERTRAIN] == overtrain]
    if overtrain == 0:
        return at
    failed = (runs[OVERTRAIN] == 0) & ~flagged(runs, ZERO_ERROR)
    carried = runs[failed & runs[OPTIMIZER].isin(at[OPTIMIZER])]
    known, there = (pd.MultiIndex.from_frame(rows[list(PLACE)]) for rows in (at, carried))
    return pd.concat([at, carried[~there.isin(known)]], ignore_index=True)


def _check_one_record_a_run(frame: pd.DataFrame) -> None:
    key = [EXPERIMENT, *PLACE, OVERTRAIN]
    twice = frame[frame.duplicated(key, keep=False)]
    if not len(twice):
        return
    row = twice.iloc[0]
    same = twice[(twice[key] == row[key]).all(axis=1)]
    raise ValueError(
        f"{row[EXPERIMENT]}, {row[OPTIMIZER]}, draw {row[DRAW]}, |A| = {row[ATTACK_SIZE]}, sample "
        f"{row[SAMPLE]}: got {len(same)} records, from {_sources(same)}; wanted one. Choose a "
        "scale (--scale=) or a folder with one sweep an optimizer (--workdir=)."
    )


def _check_one_design(experiment: str, runs: pd.DataFrame) -> None:
    for column in runs.columns[runs.columns.str.startswith(DESIGN)]:
        values = runs[column].map(lambda value: "null" if np.all(pd.isna(value)) else str(value))
        if values.nunique() > 1:
            found = [
                f"{value} in {_sources(group)}" for value, group in runs.groupby(values, sort=False)
            ]
            raise ValueError(
                f"{experiment}, {column}: got {'; '.join(found)}; wanted one value, because "
                "optimizers are compared on the same draws and the same network. Choose a scale "
                "(--scale=) or a folder without the other sweep (--workdir=)."
            )


def _sources(rows: pd.DataFrame) -> str:
    """Name the sweeps that records come from, for a message."""
    known = [column for column in (WORKDIR, SCALE) if column in rows]
    names = rows[known].drop_duplicates().astype(str).to_numpy()
    return " and ".join(" at scale ".join(row) for row in names) if known else "unknown sweeps"
