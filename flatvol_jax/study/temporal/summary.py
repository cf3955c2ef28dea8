"""The records of a temporal study in a table, a row a branch, and in a few lines of text."""

from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.verdicts import RELAXED


def branch_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Say what became of the function after the event, a row a network and branch.

    `kept`: no label of S+E1 differs from f before the event at any measured epoch; `recovered`:
    none at the last one. `jump` is the largest change of log V (nats, Heaviside) from one measured
    epoch to the next, `jump_epoch` when, counted from the event; `relaxation` the epochs from
    which on log V stays within 1% of what it was before the event, missing where it does not.
    """
    rows = []
    for run_id, run in frame.groupby(col.RUN, sort=False):
        event = _shared_number(run, col.EVENT_EPOCH)
        base = run[(run[col.TRANSFORM] == "none") & (run[col.EPOCH] == event)]
        if base.empty:
            continue
        later = run[(run[col.EPOCH] > event) | (run["meta.event"] == "after")]
        for name, branch in later.groupby(col.TRANSFORM, sort=False):
            rows.append({col.RUN: run_id, "transform": name, **_branch(base.iloc[0], branch)})
    return pd.DataFrame(rows)


def largest_alpha(table: pd.DataFrame) -> pd.DataFrame:
    """Return by network and layer the largest α, and the smallest, that kept f or got it back.

    `largest_kept` is the largest α at which f is kept, `unbroken` the largest below which, down
    to 1, every α keeps it; the same for α < 1 with the smallest.
    """
    rows = []
    if table.empty:
        return table
    scaled = table[table["alpha"].notna()]
    for (run_id, layer), own in scaled.groupby([col.RUN, "layer"], sort=False):
        row: dict[str, Any] = {col.RUN: run_id, "layer": int(layer)}
        above = own[own["alpha"] > 1].sort_values("alpha")
        below = own[own["alpha"] < 1].sort_values("alpha", ascending=False)
        for word, side in (("largest", above), ("smallest", below)):
            alphas = side["alpha"].to_numpy()
            kept = side["kept"].to_numpy(bool)
            row[f"{word}_kept"] = _last_value(alphas[kept])
            row[f"{word}_unbroken"] = _last_value(alphas[np.logical_and.accumulate(kept)])
            row[f"{word}_recovered"] = _last_value(alphas[side["recovered"].to_numpy(bool)])
        rows.append(row)
    return pd.DataFrame(rows)


def temporal_summary(frame: pd.DataFrame) -> list[str]:
    """Say zero error and event of each network, and what each branch did."""
    lines, table = [], branch_table(frame)
    for run_id, run in frame.groupby(col.RUN, sort=False):
        zero = _shared_number(run, col.ZERO_EPOCH)
        if np.isnan(zero):
            lines.append(f"network {run_id}: no zero error in {run['epoch'].max()} epochs")
            continue
        event = _shared_number(run, col.EVENT_EPOCH)
        lines.append(f"network {run_id}: zero error at epoch {zero:g}, event at epoch {event:g}")
        branches = table[table[col.RUN] == run_id] if len(table) else table
        lines += [_line(branch) for _, branch in branches.iterrows()]
    return lines


def temporal_sentence(table: pd.DataFrame) -> str:
    """Say in a sentence what scaling did to the function, its sharpness and its volume.

    Args:
        table: `branch_table`.
    """
    scaled = table[table["alpha"].notna()] if len(table) else table
    if not len(scaled):
        return "No network of these records was rescaled after zero error."
    networks, count = scaled[col.RUN].nunique(), len(scaled)
    parts = [
        f"Of {count} rescalings of {networks} network{'s' * (networks > 1)}, "
        f"{_count(scaled['kept'].sum())} kept the learned function at every later epoch and "
        f"{_count(scaled['recovered'].sum())} had it at the end"
    ]
    if "sharpness.before" in scaled:
        ratio = (scaled["sharpness.after"] / scaled["sharpness.before"]).astype(float).dropna()
        if len(ratio):
            low, high = (f"{end:.2g}" for end in (ratio.min(), ratio.max()))
            parts.append(f"right after it sharpness was {low} to {high} times what it had been")
    if "log_volume.before" in scaled:
        moved = (scaled["log_volume.last"] / scaled["log_volume.before"] - 1).abs()
        back = int((moved.astype(float) < RELAXED).sum())
        parts.append(
            f"at the end log V was within {RELAXED:.0%} of what it had been in {_count(back)}"
        )
    return f"{'; '.join(parts)}."


def _count(number: int) -> str:
    return f"{number}" if number else "none"


def _branch(before: pd.Series, branch: pd.DataFrame) -> dict[str, Any]:
    alive = branch[~branch["is.diverged"].astype(bool)]
    differs = alive[col.DIFFERS].to_numpy(float)
    diverged = len(alive) < len(branch)
    row = {
        "layer": branch[col.LAYER].iloc[0],
        "alpha": branch[col.ALPHA].iloc[0],
        "kept": bool((differs == 0).all() and not diverged),
        "recovered": len(differs) > 0 and bool(differs[-1] == 0) and not diverged,
        "differs.largest": _number(np.max(differs, initial=0)),
        "differs.last": _number(differs[-1]) if len(differs) else None,
        "error.train.largest": _number(alive[col.TRAIN_ERROR].max()),
        "diverged": diverged,
    }
    if col.SHARPNESS.name in alive and len(alive):
        values = alive[col.SHARPNESS.name]
        row["sharpness.before"] = _number(before[col.SHARPNESS.name])
        row["sharpness.after"] = _number(values.iloc[0])
        row["sharpness.largest"] = _number(values.max())
        row["sharpness.last"] = _number(values.iloc[-1])
    if col.LOG_VOLUME.name in alive and len(alive):
        row |= _volume(before, alive)
    return row


def _volume(before: pd.Series, branch: pd.DataFrame) -> dict[str, Any]:
    epochs = branch[col.EPOCH].to_numpy() - before[col.EPOCH]
    volume = np.concatenate(
        [[before[col.LOG_VOLUME.name]], branch[col.LOG_VOLUME.name].to_numpy(float)]
    )
    steps = np.abs(np.diff(volume))
    away = np.abs(volume[1:] - volume[0]) >= RELAXED * abs(volume[0])
    last_away = np.flatnonzero(away)[-1:] + 1
    first_back = int(last_away[0]) if len(last_away) else 0
    jumped = steps.max() > 0
    return {
        "log_volume.before": float(volume[0]),
        "log_volume.largest": float(np.max(volume[1:])),
        "log_volume.last": float(volume[-1]),
        "jump": float(steps.max()),
        "jump_epoch": int(epochs[steps.argmax()]) if jumped else None,
        "relaxation": int(epochs[first_back]) if first_back < len(epochs) else None,
    }


def _line(branch: pd.Series) -> str:
    fate = "keeps f" if branch["kept"] else f"changes up to {branch['differs.largest']:g} labels"
    if not branch["kept"]:
        fate += ", comes back to f" if branch["recovered"] else ", does not come back to f"
    if branch["diverged"]:
        fate += ", diverges"
    parts = [f"  {branch['transform']}: {fate}"]
    if np.isfinite(branch.get("sharpness.before", np.nan)):
        parts.append(
            f"sharpness {branch['sharpness.before']:.3g} -> {branch['sharpness.after']:.3g} "
            f"-> {branch['sharpness.last']:.3g}"
        )
    if np.isfinite(branch.get("log_volume.before", np.nan)):
        parts.append(
            f"log V {branch['log_volume.before']:.2f}, at most {branch['log_volume.largest']:.2f}, "
            f"at the end {branch['log_volume.last']:.2f} nats"
        )
    return "; ".join(parts)


def _shared_number(run: pd.DataFrame, column: str) -> float:
    """Return the number that the later rows of a network share; NaN where none has one."""
    return pd.to_numeric(run[column]).max()


def _last_value(values: np.ndarray) -> float | None:
    return float(values[-1]) if len(values) else None


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)
