"""Records of the predictors experiment -> one value a measure and network, pointing one way."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis.selection import (
    error_column,
    exclusion_reasons,
    require,
    usable_values,
)
from flatvol_jax.study.predictors.settings import FACTORS

NAMES = {
    **{"width": "width", "depth": "depth", "sigma_w": "σ_w", "sigma_b": "σ_b"},
    **{"train_size": "|S|", "optimizer": "optimizer", "rate": "rate", "batch_size": "batch"},
    **{"stop": "epochs after zero error"},
}
NULL_GIVEN_TRAIN = col.Column(
    "measure.log_volume_null_given_train.heaviside",
    "log P(f_E | S), as many errors at random",
    "null",
    -1,
)
CONTROL = col.Column("control.random", "random numbers", "control")
PRIMARY = (col.GIVEN_TRAIN, col.SHARPNESS)
PREDICTORS = tuple(
    dict.fromkeys(
        (
            *PRIMARY,
            *(col.LOG_VOLUME, col.TRAIN_VOLUME),
            col.Column("measure.bound.architecture", "PAC-Bayes bound of P(S)", "volume of S"),
            *col.MEASURES,
            *(NULL_GIVEN_TRAIN, CONTROL),
        )
    )
)


class Networks(NamedTuple):
    """Networks with what is to be predicted and what is to predict it.

    Attributes:
        rows: a row a network and epoch: draw, the factors, "error", and by the name of its column
            each measure times its claimed sign, NaN where it failed; those that fit S alone.
        factors: the hyperparameters that vary, among them "stop".
        measures: those that some network has.
        inputs: of the error.
        left_out: rows that do not enter, by reason.
    """

    rows: pd.DataFrame
    factors: tuple[str, ...]
    measures: tuple[col.Column, ...]
    inputs: int
    left_out: dict[str, int]


def networks_of(frame: pd.DataFrame) -> Networks:
    """Return the networks of the records that fit S.

    log P(f_E | S) is log V(f) on S+E1 minus log P(S), by EP and the kernel of the network's own
    architecture. Random numbers are a measure, too: what chance looks like.
    """
    columns = [f"{col.FACTOR}{name}" for name in FACTORS]
    require(frame, col.DRAW, col.OVERTRAIN, col.SECOND_TEST_SIZE, *columns)
    on_train = usable_values(frame, col.TRAIN_VOLUME)
    frame = frame.assign(
        **{
            col.GIVEN_TRAIN.name: col.LOG_VOLUME.values(frame) - on_train,
            NULL_GIVEN_TRAIN.name: col.NULL.values(frame) - on_train,
            CONTROL.name: np.random.default_rng(0).normal(size=len(frame)),
        }
    )
    column, _ = error_column(frame)
    reasons = exclusion_reasons(frame)
    fits = frame[reasons == ""]
    rows = {col.DRAW: fits[col.DRAW], "error": col.numbers(fits, column)}
    rows |= dict(zip(FACTORS, (fits[name] for name in columns), strict=True))
    rows["stop"] = fits[col.OVERTRAIN]
    factors = tuple(name for name in (*FACTORS, "stop") if rows[name].nunique(dropna=False) > 1)
    measures = []
    for measure in PREDICTORS:
        values = measure.sign * usable_values(fits, measure)
        if np.isfinite(values).any():
            measures.append(measure)
            rows[measure.name] = values
    counts = {str(reason): int(n) for reason, n in reasons[reasons != ""].value_counts().items()}
    size = int(fits[col.SECOND_TEST_SIZE].iloc[0]) if len(fits) else 0
    table = pd.DataFrame(rows).reset_index(drop=True)
    return Networks(table, factors, tuple(measures), size, counts)


def level_table(networks: Networks) -> pd.DataFrame:
    """Return a row a factor and level: the error's mean over networks, and how many there are."""
    rows = []
    for factor in networks.factors:
        for level, own in networks.rows.groupby(factor):
            place = {"factor": NAMES[factor], "level": level_text(level)}
            rows.append({**place, "error": own["error"].mean(), "networks": len(own)})
    return pd.DataFrame(rows)


def level_text(level: object) -> str:
    """Write a level in a few characters."""
    return f"{level:.3g}" if isinstance(level, (int, float, np.number)) else str(level)
