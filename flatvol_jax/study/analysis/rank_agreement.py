"""Kendall's τ of a measure with the error: over all networks, and along one hyperparameter.

Jiang et al. (2020, "Fantastic generalization measures and where to find them"): with
τ = mean over pairs of sign(x_i - x_j) sign(y_i - y_j), a tie counting as 0,

    ψ_i = mean over settings of the other hyperparameters of τ among the networks that differ in
          hyperparameter i alone,    Ψ = mean over i of ψ_i.

τ over all networks rewards a measure that knows the one hyperparameter which moves the error most;
Ψ asks of each hyperparameter by itself.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis.columns import DRAW
from flatvol_jax.study.analysis.network_pairs import level_codes
from flatvol_jax.study.analysis.selection import require


def kendall_tau(x: np.ndarray, y: np.ndarray) -> float:
    """Return τ (tau-a: ties count as 0) of the (n,) values; NaN of fewer than two networks."""
    i, j = np.triu_indices(len(x), 1)
    if not len(i):
        return np.nan
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return float(np.mean(np.sign(x[i] - x[j]) * np.sign(y[i] - y[j])))


def overall_taus(frame: pd.DataFrame, measure: str, error: str) -> pd.Series:
    """Return τ over all networks of each draw, by draw."""
    known = _known(frame, measure, error)
    return pd.Series(
        {draw: kendall_tau(own[measure], own[error]) for draw, own in known.groupby(DRAW)},
        dtype=np.float64,
    )


def granulated_taus(
    frame: pd.DataFrame, measure: str, error: str, factors: Sequence[str]
) -> pd.DataFrame:
    """Return ψ of each draw (rows) and factor (columns); NaN where nothing varies alone.

    Args:
        frame: a row a network; those without a value of the measure or the error are left out.
        measure: column, of which a larger value is to go with a larger error.
        error: column.
        factors: columns of hyperparameters.
    """
    known = _known(frame, measure, error)
    x, y = known[[measure, error]].to_numpy(np.float64).T
    draw, draws = known[DRAW].to_numpy(), sorted(frame[DRAW].unique())
    codes = level_codes(known, factors)
    found = pd.DataFrame(np.nan, index=draws, columns=list(factors))
    for number, factor in enumerate(factors):
        others = np.column_stack([draw, np.delete(codes, number, axis=1)])
        group = np.unique(others, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(group, kind="stable")
        taus: dict[object, list[float]] = {}
        for rows in np.split(order, np.cumsum(np.bincount(group))[:-1]):
            if len(rows) > 1 and len(np.unique(codes[rows, number])) > 1:
                taus.setdefault(draw[rows[0]], []).append(kendall_tau(x[rows], y[rows]))
        for own, values in taus.items():
            found.loc[own, factor] = np.mean(values)
    return found


def _known(frame: pd.DataFrame, measure: str, error: str) -> pd.DataFrame:
    require(frame, DRAW, measure, error)
    return frame[np.isfinite(frame[[measure, error]].to_numpy(np.float64)).all(axis=1)]
