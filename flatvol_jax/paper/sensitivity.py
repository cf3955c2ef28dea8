"""Do the claims depend on what the paper leaves open? Sweeps and studies with one change each."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import PaperClaim
from flatvol_jax.paper.claims.sweeps import correlations, strengths
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.analysis.optimizer_table import SGD, paired_runs
from flatvol_jax.study.analysis.statistics import READINGS

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
    "first_protocol": "our first records: |S| = 500, SGD's rate of the summed loss, no error on S "
    "and A, ten draws of mnist5k that share digits",
    "summed_loss": "the rate is of the summed loss",
    "stop_all": "stopped at zero error on S and A",
    "fixed_order": "S and then A in fixed order",
    "minibatch_reading": "the ascent reads each batch's loss",
    "later": "100 epochs after zero error",
    "rate_0.001": "SGD at 0.001",
    "rate_0.003": "SGD at 0.003",
    "rate_0.03": "SGD at 0.03",
    "rate_0.1": "SGD at 0.1",
}
FACTS = {
    "volume": "log V and the error",
    "sharpness": "sharpness and the error",
    "looser": "strength of log V minus that of sharpness",
    "breaks": "strength of sharpness, SGD's minus this one's",
    "hessian": "sharpness and the Hessian's spectral norm",
}


def sensitivity_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Give what decides the claims on sweeps, for each change and optimizer.

    Args:
        frame: records of any sweeps; those of experiments named sensitivity_CHANGE enter.

    Returns:
        Columns change (a key of NAMES), optimizer, sentence (a key of FACTS); pooled and within,
        each with its ends at 95%, over draws: pooled_low, ...; networks.
    """
    ends = [f"{reading}{end}" for reading in READINGS for end in ("", "_low", "_high")]
    rows: list[dict] = []
    ours = frame[frame[col.EXPERIMENT].astype(str).str.startswith(PREFIX)]
    for change in NAMES:
        runs = ours[ours[col.EXPERIMENT] == PREFIX + change]
        if not len(runs):
            continue
        beyond = np.nan_to_num(col.numbers(runs, col.OVERTRAIN))
        runs = runs[beyond == beyond.max()]
        for optimizer in selection.optimizer_names(runs):
            place = {"change": change, "optimizer": OPTIMIZERS[optimizer]}
            for sentence, found, networks in _facts(runs, optimizer):
                facts: dict[str, Any] = {"sentence": sentence, "networks": networks}
                row = place | facts | _cells(found)
                if networks and np.isfinite(row["within"]):
                    rows.append(row)
    names = ["change", "optimizer", "sentence", *ends, "networks"]
    return pd.DataFrame(rows, columns=names)


def temporal_table(studies: Iterable[tuple[str, Iterable[PaperClaim]]]) -> pd.DataFrame:
    """Give what decides the claims on one network through time, study by study.

    Args:
        studies: what each is called, and its claims.

    Returns:
        Columns study, sentence, statement, criterion, estimate, low, high, draws, met.
    """
    rows = [
        {
            "study": name,
            "sentence": claim.sentence,
            "statement": f"{claim.subject.partition(', ')[2]}: {claim.statement}",
            "criterion": f"{claim.paper.judged.label}: {claim.criterion}",
            **{end: getattr(claim.paper.judged, end) for end in ("estimate", "low", "high")},
            "draws": claim.paper.draws,
            "met": claim.paper.met,
        }
        for name, claims in studies
        for claim in claims
    ]
    return pd.DataFrame(rows)


def _facts(runs: pd.DataFrame, optimizer: str) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Yield the key of a sentence, what decides it in both readings, over how many networks."""
    own, error = runs[runs[col.OPTIMIZER] == optimizer], selection.error_column(runs)[0]
    yield "volume", *correlations(own, col.LOG_VOLUME.name, error)
    yield "sharpness", *correlations(own, col.SHARPNESS.name, error)
    yield "hessian", *correlations(own, col.SHARPNESS.name, col.SPECTRAL_NORM.name)
    kept, _ = selection.usable(own, col.LOG_VOLUME.name, col.SHARPNESS.name, error)
    differences = {}
    for reading in READINGS:
        volume, sharpness = strengths(kept, error, reading, col.LOG_VOLUME, col.SHARPNESS)
        differences[reading] = comparison.mean_over_draws(volume - sharpness)
    yield "looser", differences, len(own)
    if optimizer != SGD and SGD in set(runs[col.OPTIMIZER]):
        both = runs[runs[col.OPTIMIZER].isin((SGD, optimizer))]
        pairs = paired_runs(both, optimizer, (col.SHARPNESS.name, error))
        name, sign = col.SHARPNESS.name, col.SHARPNESS.sign
        found = {
            reading: comparison.paired_difference(
                pairs.sgd, pairs.other, name, error, sign, reading=reading
            )
            for reading in READINGS
        }
        yield "breaks", found, len(pairs.sgd) + len(pairs.other)


def _cells(found: Mapping[str, Any]) -> dict[str, float]:
    return {
        f"{reading}{end}": value
        for reading, one in found.items()
        for end, value in (("", one.estimate), ("_low", one.low), ("_high", one.high))
    }
