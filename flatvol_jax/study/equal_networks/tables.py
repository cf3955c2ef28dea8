"""Tables of equal networks beside the correlations: cells, draws, what was published."""

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import selection, statistics
from flatvol_jax.study.equal_networks import measures as known
from flatvol_jax.study.equal_networks.published import BENNETT
from flatvol_jax.study.equal_networks.summary import levelled


def cell_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a batch size and rate: how many networks fit, and means over those that do.

    Of a measure, over those where it converged.

    Columns batch_size, rate, runs, fitted, epochs (median), error, error_e1, log_volume, sharpness
    (median), coefficient.
    """
    error = selection.error_column(frame)[0]
    rows = []
    for (batch_size, rate), own in frame.groupby([known.BATCH_SIZE, known.LEARNING_RATE]):
        fitted = selection.usable(own)[0]
        rows.append(
            {
                "batch_size": int(batch_size),
                "rate": float(rate),
                "runs": len(own),
                "fitted": len(fitted),
                "epochs": _middle(col.numbers(fitted, col.EPOCH)),
                "error": _mean(col.numbers(fitted, error)),
                "error_e1": _mean(col.numbers(fitted, col.TEST_ERROR)),
                "log_volume": _mean(selection.usable_values(fitted, col.LOG_VOLUME)),
                "sharpness": _middle(selection.usable_values(fitted, col.SHARPNESS)),
                "coefficient": _mean(selection.usable_values(fitted, col.LEARNING_COEFFICIENT)),
            }
        )
    return pd.DataFrame(rows)


def draw_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a draw of S: its networks, their errors, volumes, and how these correlate.

    Columns draw, runs, error, spread (standard deviation of the error over networks),
    disagreement (mean over pairs of networks, on E1), error_e1, train_volume (log P(S)),
    conditional and conditional_spread (mean and standard deviation of log P(f_E | S)); of log V
    and of sharpness NAME_within and NAME_pooled, correlations with the error.
    """
    error = selection.error_column(frame)[0]
    fitted = selection.usable(levelled(frame), error)[0]
    table = pd.DataFrame(
        [
            {
                "draw": draw,
                "runs": len(own),
                "error": _mean(col.numbers(own, error)),
                "spread": _spread(col.numbers(own, error)),
                "error_e1": _mean(col.numbers(own, col.TEST_ERROR)),
                "disagreement": _mean(known.PEER_DISAGREEMENT.values(own)),
                "train_volume": _mean(selection.usable_values(own, col.TRAIN_VOLUME)),
                "conditional": _mean(selection.usable_values(own, col.GIVEN_TRAIN)),
                "conditional_spread": _spread(selection.usable_values(own, col.GIVEN_TRAIN)),
            }
            for draw, own in fitted.groupby(col.DRAW)
        ]
    )
    for name, measure in (("log_volume", col.LOG_VOLUME), ("sharpness", col.SHARPNESS)):
        runs = selection.usable(fitted, measure.name, error)[0]
        for reading in statistics.READINGS:
            found = statistics.draw_statistics(runs, measure.name, error, reading=reading)
            if len(table):
                table[f"{name}_{reading}"] = table["draw"].map(found.set_index("draw")["rho"])
    return table


def published_table(frame: pd.DataFrame, measures: pd.DataFrame) -> pd.DataFrame:
    """Return the published correlations beside ours, both with the error.

    Ours overall is their design, repeated in each draw: `least` and `most` are over draws,
    `claimed` counts those of the published sign. Empty where the data are not MNIST's.

    Args:
        frame: records.
        measures: `measure_table` of them.
    """
    name = str(frame["hp.data.name"].iloc[0]) if "hp.data.name" in frame else ""
    if not name.startswith("mnist"):
        return pd.DataFrame()
    error, rows = selection.error_column(frame)[0], []
    for line in BENNETT:
        ours = measures[(measures["column"] == line.column) & (measures["family"] == "judged")]
        runs = selection.usable(levelled(frame), line.column, error)[0]
        rho = statistics.draw_statistics(runs, line.column, error, reading=statistics.POOLED)["rho"]
        low, high = line.interval()
        said = {"name": line.name, "said": line.with_error, "said_low": low, "said_high": high}
        said |= {"printed": line.with_accuracy, "networks": line.networks}
        over = {"least": rho.min(), "most": rho.max(), "draws": int(rho.notna().sum())}
        over["claimed"] = int((np.sign(rho) == np.sign(line.with_error)).sum())
        rows.append({**ours.iloc[0].to_dict(), **said, **over})
    return pd.DataFrame(rows)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _mean(values: np.ndarray) -> float:
    found = _finite(values)
    return float(found.mean()) if len(found) else np.nan


def _middle(values: np.ndarray) -> float:
    found = _finite(values)
    return float(np.median(found)) if len(found) else np.nan


def _spread(values: np.ndarray) -> float:
    found = _finite(values)
    return float(found.std(ddof=1)) if len(found) > 1 else np.nan
