"""Claims on what training beyond zero error does to flatness, volume and their correlations."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import (
    Evidence,
    PaperClaim,
    correlates,
    correlates_criterion,
    of_correlation,
    of_difference,
    unchanged,
)
from flatvol_jax.paper.claims.sweeps import subject
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.claims import OPTIMIZER
from flatvol_jax.study.analysis.columns import (
    LOG_PRODUCT,
    LOG_VOLUME,
    MEASURES,
    SHARPNESS,
    SPECTRAL_NORM,
    Measure,
)
from flatvol_jax.study.analysis.experiment_tables import CHANGED, OVERTRAIN, ExperimentTables
from flatvol_jax.study.analysis.selection import ATTACK_SIZE, DRAW
from flatvol_jax.study.analysis.statistics import POOLED, WITHIN
from flatvol_jax.study.temporal.summary import RELAXED

EXPERIMENT = "mnist_fcn_overtrain"
FOLLOWED = (
    LOG_VOLUME.column,
    SHARPNESS.column,
    SPECTRAL_NORM.column,
    LOG_PRODUCT.column,
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
    falls = statistics.correlation(by_run, SHARPNESS.column, OVERTRAIN, confidence=confidence)
    ratio = _change(usable, SHARPNESS.column, last, np.log10)
    label = "sharpness and epoch: Spearman's ρ within each network"
    yield PaperClaim(
        "overtraining",
        who,
        f"sharpness falls over the {last} epochs after zero error",
        correlates_criterion(-1),
        2 * optimizers,
        correlates(label, falls, -1, scale, "measurements"),
        evidence=(
            of_difference(
                f"log10 of sharpness after {last} epochs over that at zero error",
                comparison.mean_over_draws(ratio["change"].to_numpy()),
            ),
        ),
    )
    volume = _change(usable, LOG_VOLUME.column, last)
    moved = selection.numbers(usable[usable[OVERTRAIN] == last], CHANGED)
    yield PaperClaim(
        "stays",
        who,
        f"log V is the same after {last} epochs",
        f"within ±{RELAXED:g}",
        2 * optimizers,
        unchanged(
            "log V then over log V at zero error, minus 1",
            comparison.mean_over_draws(volume["change"].to_numpy(), confidence),
            RELAXED,
            scale,
        ),
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
        differences = {
            reading: [
                comparison.paired_difference(
                    first, then, column, error, sign, confidence, reading=reading
                )
                for then in later
            ]
            for reading in statistics.READINGS
        }
        paper, within = (
            unchanged(
                f"its strength at zero error minus that then, {where}",
                differences[reading][-1],
                verdicts.UNCHANGED_WITHIN,
                scale,
            )
            for reading, where in ((POOLED, "pooled"), (WITHIN, "within |A|"))
        )
        found = [statistics.correlation(then, column, error, POOLED) for then in (first, *later)]
        yield PaperClaim(
            "correlations",
            who,
            f"the correlation of {measure.label} with the error is the same {epochs[-1]} epochs "
            "after zero error",
            f"within ±{verdicts.UNCHANGED_WITHIN:g}",
            len(present) * optimizers,
            paper,
            within,
            evidence=(
                *(
                    of_difference(f"difference after {epoch} epochs, {reading}", difference)
                    for reading, of_reading in differences.items()
                    for epoch, difference in zip(epochs[1:-1], of_reading[:-1], strict=True)
                ),
                *(
                    of_correlation(f"pooled ρ after {epoch} epochs", one)
                    for epoch, one in zip(epochs, found, strict=True)
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
