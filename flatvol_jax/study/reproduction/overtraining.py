"""Claims on what training beyond zero error does to flatness, volume and their correlations."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.study import comparison, selection, statistics
from flatvol_jax.study.claims import LOG_VOLUME, MEASURES, OPTIMIZER, SHARPNESS, Measure
from flatvol_jax.study.experiment_tables import CHANGED, OVERTRAIN, ExperimentTables
from flatvol_jax.study.optimizer_table import UNCHANGED_WITHIN
from flatvol_jax.study.reproduction.claim import (
    Evidence,
    PaperClaim,
    correlates,
    of_correlation,
    of_difference,
    unchanged,
)
from flatvol_jax.study.reproduction.sweeps import subject
from flatvol_jax.study.selection import ATTACK_SIZE, DRAW
from flatvol_jax.study.temporal_summary import RELAXED

EXPERIMENT = "mnist_fcn_overtrain"
FOLLOWED = (
    LOG_VOLUME.column,
    SHARPNESS.column,
    "measure.hessian.spectral_norm",
    "measure.hessian.log_product",
)
RUN = "run_id"


def overtraining_claims(
    tables: Sequence[ExperimentTables], scale: str | None
) -> Iterator[PaperClaim]:
    """Claims on the networks that were measured again after zero error.

    Args:
        tables: of all experiments at one scale, at all epochs.
        scale: of the study; without "cpu" or "paper" there is no verdict.
    """
    frames = [of.frame for of in tables if of.experiment == EXPERIMENT]
    epochs = sorted({of.overtrain for of in tables if of.experiment == EXPERIMENT})
    if len(epochs) < 2:
        return
    frame = pd.concat(frames, ignore_index=True)
    optimizers = list(dict.fromkeys(frame[OPTIMIZER].dropna()))
    for optimizer in sorted(optimizers, key=lambda name: name != "sgd"):
        rows = frame[frame[OPTIMIZER] == optimizer]
        yield from _falls_and_stays(rows, optimizer, epochs, len(optimizers), scale)
        yield from _same_correlations(rows, optimizer, epochs, len(optimizers), scale)


def _falls_and_stays(rows, optimizer, epochs, optimizers, scale) -> Iterator[PaperClaim]:
    last, who = epochs[-1], subject(EXPERIMENT, optimizer)
    confidence = comparison.simultaneous_confidence(2 * optimizers)
    usable = pd.concat(
        [
            selection.usable(rows[rows[OVERTRAIN] == epoch], SHARPNESS.column, LOG_VOLUME.column)[0]
            for epoch in epochs
        ]
    )
    # Each network is a level: what is ranked is its own epochs.
    by_run = usable.assign(**{ATTACK_SIZE: usable.groupby(RUN).ngroup()})
    falls = statistics.within_correlation(
        by_run, SHARPNESS.column, OVERTRAIN, confidence=confidence
    )
    ratio = _change(usable, SHARPNESS.column, last, np.log10)
    yield correlates(
        "overtraining",
        who,
        f"sharpness falls over the {last} epochs after zero error",
        "sharpness and epoch: Spearman's ρ within each network",
        falls,
        -1,
        scale,
        "measurements",
        evidence=(
            of_difference(
                f"log10 of sharpness after {last} epochs over that at zero error",
                comparison.mean_over_draws(ratio["change"].to_numpy()),
            ),
        ),
    )
    volume = _change(usable, LOG_VOLUME.column, last)
    moved = selection.numbers(usable[usable[OVERTRAIN] == last], CHANGED)
    yield unchanged(
        "stays",
        who,
        f"log V is the same after {last} epochs",
        "log V then over log V at zero error, minus 1",
        comparison.mean_over_draws(volume["change"].to_numpy(), confidence),
        RELAXED,
        scale,
        evidence=(
            Evidence(
                "labels of f on S + E1 that changed, median",
                float(np.median(moved)) if len(moved) else np.nan,
                note=f"at most {np.max(moved):.0f}, of {len(moved)} networks"
                if len(moved)
                else "no network",
            ),
        ),
    )


def _change(usable: pd.DataFrame, column: str, last: int, scale=None) -> pd.DataFrame:
    """By draw, the mean over its networks of last / first - 1, or of scale(last / first)."""
    values = usable.pivot_table(index=[DRAW, RUN], columns=OVERTRAIN, values=column)
    if not {0, last} <= set(values):
        return pd.DataFrame({"change": []}, dtype=float)
    first, final = values[0], values[last]
    change = scale(final / first) if scale else final / first - 1
    return change.groupby(DRAW).mean().to_frame("change")


def _same_correlations(rows, optimizer, epochs, optimizers, scale) -> Iterator[PaperClaim]:
    """The correlation with the error at zero error minus that at the last epoch, same networks."""
    present = [m for m in MEASURES if m.column in FOLLOWED]
    confidence = comparison.simultaneous_confidence(len(present) * optimizers)
    error, who = selection.error_column(rows)[0], subject(EXPERIMENT, optimizer)
    for measure in present:
        first, *later = (_usable_everywhere(rows, measure, error, epochs)[e] for e in epochs)
        if not len(first):
            continue
        sign, column = measure.sign, measure.column
        differences = [
            comparison.paired_difference(first, then, column, error, sign, confidence)
            for then in later
        ]
        pooled = [statistics.pooled_correlation(0, then, column, error) for then in (first, *later)]
        yield unchanged(
            "correlations",
            who,
            f"the correlation of {measure.label} with the error is the same {epochs[-1]} epochs "
            "after zero error",
            "its strength at zero error minus that then, within |A|",
            differences[-1],
            UNCHANGED_WITHIN,
            scale,
            pooled=Evidence(
                "the same, pooled",
                sign * (pooled[0].estimate - pooled[-1].estimate),
                note=f"ρ {pooled[0].estimate:+.2f} at zero error, {pooled[-1].estimate:+.2f} then",
            ),
            evidence=(
                *(
                    of_difference(f"difference within |A| after {epoch} epochs", found)
                    for epoch, found in zip(epochs[1:-1], differences[:-1], strict=True)
                ),
                *(
                    of_correlation(f"pooled ρ after {epoch} epochs", found)
                    for epoch, found in zip(epochs, pooled, strict=True)
                ),
            ),
        )


def _usable_everywhere(
    rows: pd.DataFrame, measure: Measure, error: str, epochs: Sequence[int]
) -> dict[int, pd.DataFrame]:
    """By epoch, the networks that are usable at every epoch."""
    at = {
        epoch: selection.usable(rows[rows[OVERTRAIN] == epoch], measure.column, error)[0]
        for epoch in epochs
    }
    everywhere = set.intersection(*(set(found[RUN]) for found in at.values()))
    return {epoch: found[found[RUN].isin(everywhere)] for epoch, found in at.items()}
