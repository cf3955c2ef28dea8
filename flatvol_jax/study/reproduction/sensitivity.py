"""Do the claims depend on what the paper leaves open? Sweeps and studies with one change each."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from flatvol_jax.study import comparison, selection, statistics
from flatvol_jax.study.claims import LOG_VOLUME, OPTIMIZER, SHARPNESS, optimizer_names
from flatvol_jax.study.experiment_tables import EXPERIMENT, OVERTRAIN
from flatvol_jax.study.names import OPTIMIZERS
from flatvol_jax.study.optimizer_table import SGD, paired_runs
from flatvol_jax.study.reproduction.through_time import temporal_claims

PREFIX = "sensitivity_"
NAMES = {
    "protocol": "as all others (σ_w = √2, σ_b = 1, two hidden layers, inputs in [0, 1])",
    "sigma_w_1": "σ_w = 1",
    "sigma_w_2": "σ_w = 2",
    "sigma_b_0": "σ_b = 0",
    "sigma_b_01": "σ_b = 0.1",
    "depth_1": "one hidden layer",
    "depth_3": "three hidden layers",
    "standardise": "standardised inputs",
    "stop_train": "stopped at zero error on S alone",
    "later": "100 epochs after zero error",
    "rate_0.003": "rate 0.003 on the summed loss",
    "rate_0.001": "rate 0.001",
    "rate_0.0003": "rate 0.0003, about 0.01 on the mean",
    "rate_0.0001": "rate 0.0001",
}
SPECTRAL_NORM = "measure.hessian.spectral_norm"
FACTS = {
    "volume": "log V and the error",
    "sharpness": "sharpness and the error",
    "looser": "strength of log V minus that of sharpness",
    "breaks": "strength of sharpness, SGD's minus this one's",
    "hessian": "sharpness and the Hessian's spectral norm",
}


def sensitivity_table(frame: pd.DataFrame) -> pd.DataFrame:
    """What decides the claims on sweeps, for each change and optimizer.

    Args:
        frame: records of any sweeps; those of experiments named sensitivity_CHANGE enter.

    Returns:
        Columns change (a key of NAMES), optimizer, sentence (a key of FACTS), within, low, high
        (95%, over draws), pooled, networks.
    """
    columns = ["change", "optimizer", "sentence", "within", "low", "high", "pooled", "networks"]
    rows: list[dict] = []
    ours = frame[frame[EXPERIMENT].astype(str).str.startswith(PREFIX)]
    for change in NAMES:
        runs = ours[ours[EXPERIMENT] == PREFIX + change]
        if not len(runs):
            continue
        beyond = np.nan_to_num(selection.numbers(runs, OVERTRAIN))
        runs = runs[beyond == beyond.max()]
        for optimizer in optimizer_names(runs):
            for row in _facts(runs, optimizer):
                rows.append({"change": change, "optimizer": OPTIMIZERS[optimizer], **row})
    return pd.DataFrame(rows, columns=columns)


def temporal_table(studies: Sequence[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    """The numbers that decide the claims on one network through time, study by study.

    Args:
        studies: what each is called, and its records.

    Returns:
        Columns study, sentence, statement, criterion, estimate, low, high, draws.
    """
    rows = [
        {
            "study": name,
            "sentence": claim.sentence,
            "statement": f"{claim.subject.partition(', ')[2]}: {claim.statement}",
            "criterion": f"{claim.judged.label}: {claim.criterion}",
            "estimate": claim.judged.estimate,
            "low": claim.judged.low,
            "high": claim.judged.high,
            "draws": claim.draws,
            "met": claim.met,
        }
        for name, frame in studies
        for claim in temporal_claims(frame, None)
    ]
    return pd.DataFrame(rows)


def _facts(runs: pd.DataFrame, optimizer: str) -> list[dict]:
    own, error = runs[runs[OPTIMIZER] == optimizer], selection.error_column(runs)[0]
    rows = [
        _correlation(sentence, own, x, y)
        for sentence, x, y in (
            ("volume", LOG_VOLUME.column, error),
            ("sharpness", SHARPNESS.column, error),
            ("hessian", SHARPNESS.column, SPECTRAL_NORM),
        )
    ]
    rows.append(_difference("looser", *_strengths(own, error), len(own)))
    if optimizer != SGD and SGD in set(runs[OPTIMIZER]):
        both = runs[runs[OPTIMIZER].isin((SGD, optimizer))]
        pairs = paired_runs(both, optimizer, (SHARPNESS.column, error))
        found = comparison.paired_difference(
            pairs.sgd, pairs.other, SHARPNESS.column, error, SHARPNESS.sign
        )
        pooled = [
            statistics.pooled_estimate(
                selection.numbers(part, SHARPNESS.column),
                selection.numbers(part, error),
                "spearman",
            )
            for part in (pairs.sgd, pairs.other)
        ]
        count = len(pairs.sgd) + len(pairs.other)
        rows.append(_difference("breaks", found, pooled[0] - pooled[1], count))
    return [row for row in rows if row["networks"] and np.isfinite(row["within"])]


def _correlation(sentence: str, own: pd.DataFrame, x: str, y: str) -> dict:
    kept, _ = selection.usable(own, x, y)
    found = statistics.within_correlation(kept, x, y)
    one, other = selection.numbers(kept, x), selection.numbers(kept, y)
    return {
        "sentence": sentence,
        "within": found.estimate,
        "low": found.low,
        "high": found.high,
        "pooled": statistics.pooled_estimate(one, other, "spearman"),
        "networks": len(kept),
    }


def _strengths(own: pd.DataFrame, error: str) -> tuple[comparison.Difference, float]:
    """Of log V minus of sharpness, on the same networks: draw by draw, and pooled."""
    kept, _ = selection.usable(own, LOG_VOLUME.column, SHARPNESS.column, error)
    one, other = (
        m.sign * statistics.draw_statistics(kept, m.column, error).set_index("draw")["rho"]
        for m in (LOG_VOLUME, SHARPNESS)
    )
    pooled = [
        m.sign
        * statistics.pooled_estimate(
            selection.numbers(kept, m.column), selection.numbers(kept, error), "spearman"
        )
        for m in (LOG_VOLUME, SHARPNESS)
    ]
    return comparison.mean_over_draws((one - other).to_numpy()), pooled[0] - pooled[1]


def _difference(sentence: str, found, pooled: float, networks: int) -> dict:
    return {
        "sentence": sentence,
        "within": found.estimate,
        "low": found.low,
        "high": found.high,
        "pooled": pooled,
        "networks": networks,
    }
