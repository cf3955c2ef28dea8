"""Records of many sweeps -> the tables of each experiment at each epoch of overtraining."""

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.claims import claims_table, holm_together, verdict_lines
from flatvol_jax.study.analysis.optimizer_table import halves_table, optimizer_table, primary_claims
from flatvol_jax.study.analysis.selection import optimizer_names, require

PLACE = (col.OPTIMIZER, col.DRAW, col.ATTACK_SIZE, col.SAMPLE)  # names a run within its experiment
# Columns that only the records of other studies have: transformed networks, Boolean functions,
# hyperparameters that vary.
OTHERS = (col.SYMMETRY, col.PART, f"{col.FACTOR}optimizer")
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
    require(frame, col.EXPERIMENT, col.SCALE)
    is_sweep = frame.reindex(columns=list(OTHERS)).isna().all(axis=1)
    known = frame[frame[col.EXPERIMENT].notna() & is_sweep]
    if not (known[col.SCALE] == scale).any():
        there = ", ".join(sorted(map(str, known[col.SCALE].dropna().unique()))) or "none"
        raise ValueError(f"scale: got {scale!r}, wanted one that has records. Try: {there}.")
    return known[known[col.SCALE] == scale]


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
    require(frame, col.EXPERIMENT, *PLACE, col.ZERO_ERROR)
    beyond = col.numbers(frame, col.OVERTRAIN) if col.OVERTRAIN in frame else np.zeros(len(frame))
    frame = frame.assign(**{col.OVERTRAIN: np.nan_to_num(beyond).astype(int)})
    _check_one_record_a_run(frame)
    tables = []
    for experiment, runs in frame.groupby(col.EXPERIMENT):
        _check_one_design(str(experiment), runs)
        for overtrain in sorted(set(runs[col.OVERTRAIN])):
            at = _at_epoch(runs, overtrain)
            count = primary_claims(at)
            claims = claims_table(at, scale, seed, count)
            differences = optimizer_table(at, claims, scale)
            claims, differences = holm_together([claims, differences], count)
            halves = halves_table(at, scale)
            tables.append(
                ExperimentTables(str(experiment), overtrain, at, claims, differences, halves, count)
            )
    return tables


def zero_error_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Count the runs that reached zero error: a row an optimizer, a column an |A|.

    Cells are "reached of run"; empty where an optimizer did not run.
    """
    reached = pd.Series(col.flagged(frame, col.ZERO_ERROR), frame.index)
    cells = reached.groupby([frame[col.OPTIMIZER], frame[col.ATTACK_SIZE]]).agg(["sum", "size"])
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
    changed = col.numbers(frame, col.CHANGED)
    beyond = frame.assign(changed=changed, moved=changed > 0)[np.isfinite(changed)]
    table = beyond.groupby([col.OPTIMIZER, col.OVERTRAIN]).agg(
        runs=("changed", "size"),
        moved=("moved", "sum"),
        median=("changed", "median"),
        most=("changed", "max"),
    )
    table = table.reindex(optimizer_names(beyond), level=0).reset_index()
    whole = dict.fromkeys((col.OVERTRAIN, "most"), int)
    return table.rename(columns={col.OPTIMIZER: "optimizer"}).astype(whole)


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
            place = {"experiment": one.experiment, col.OVERTRAIN: one.overtrain}
            left_out = [json.dumps(counts, ensure_ascii=False) for counts in table["left_out"]]
            parts.append(table.assign(**place, table=name, left_out=left_out))
    flat = pd.concat(parts, ignore_index=True)
    first = ["experiment", col.OVERTRAIN, "table"]
    return flat[first + [name for name in flat if name not in first]]


def tables_summary(tables: Sequence[ExperimentTables]) -> Iterator[str]:
    """Write in plain text, of each experiment and epoch, the primary claims and their verdicts."""
    for one in tables:
        overtrain, frame = one.overtrain, one.frame
        later = f", {overtrain} epochs after zero error" if overtrain else ""
        yield (
            f"{one.experiment}{later}: {len(frame)} runs, {frame[col.DRAW].nunique()} draw(s), "
            f"{one.family} primary claims a reading"
        )
        yield from verdict_lines(one.claims)
        yield from verdict_lines(one.differences)


def _at_epoch(runs: pd.DataFrame, overtrain: int) -> pd.DataFrame:
    """Return records at one epoch, and of runs without zero error the one of epoch 0.

    Training stops where there is no zero error to go beyond; those levels are incomplete.
    """
    at = runs[runs[col.OVERTRAIN] == overtrain]
    if overtrain == 0:
        return at
    failed = (runs[col.OVERTRAIN] == 0) & ~col.flagged(runs, col.ZERO_ERROR)
    carried = runs[failed & runs[col.OPTIMIZER].isin(at[col.OPTIMIZER])]
    known, there = (pd.MultiIndex.from_frame(rows[list(PLACE)]) for rows in (at, carried))
    return pd.concat([at, carried[~there.isin(known)]], ignore_index=True)


def _check_one_record_a_run(frame: pd.DataFrame) -> None:
    key = [col.EXPERIMENT, *PLACE, col.OVERTRAIN]
    twice = frame[frame.duplicated(key, keep=False)]
    if not len(twice):
        return
    row = twice.iloc[0]
    same = twice[(twice[key] == row[key]).all(axis=1)]
    experiment, optimizer, draw, size, sample = (row[name] for name in key[:-1])
    raise ValueError(
        f"{experiment}, {optimizer}, draw {draw}, |A| = {size}, sample {sample}: got {len(same)} "
        f"records, from {_sources(same)}; wanted one. Choose a scale (--scale=) or a folder with "
        "one sweep an optimizer (--workdir=)."
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
    known = [column for column in (col.WORKDIR, col.SCALE) if column in rows]
    names = rows[known].drop_duplicates().astype(str).to_numpy()
    return " and ".join(" at scale ".join(row) for row in names) if known else "unknown sweeps"
