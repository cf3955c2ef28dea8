"""Claims on what training beyond zero error does to flatness, volume and their correlations."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import WHERE, Evidence, PaperClaim, evidence, judged
from flatvol_jax.paper.claims.sweeps import OVERTRAINED, subject
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.statistics import POOLED
from flatvol_jax.study.analysis.verdicts import RELAXED, UNCHANGED

FOLLOWED = (col.LOG_VOLUME, col.SHARPNESS, col.SPECTRAL_NORM, col.LOG_PRODUCT)


def overtraining_claims(
    tables: Sequence[ExperimentTables], scale: str | None
) -> Iterator[PaperClaim]:
    """Yield the claims on the networks that were measured again after zero error.

    Args:
        tables: of all experiments at one scale, at all epochs.
        scale: of the study; without "cpu" or "paper" there is no verdict.
    """
    sweeps = {one.overtrain: one.frame for one in tables if one.experiment == OVERTRAINED}
    epochs = sorted(sweeps)
    if len(epochs) < 2:
        return
    frame = pd.concat(sweeps.values(), ignore_index=True)
    optimizers = selection.optimizer_names(frame)
    for optimizer in optimizers:
        rows = frame[frame[col.OPTIMIZER] == optimizer]
        at = {epoch: rows[rows[col.OVERTRAIN] == epoch] for epoch in epochs}
        yield from _course_claims(at, optimizer, len(optimizers), scale)
        yield from _correlation_claims(at, optimizer, len(optimizers), scale)


def _course_claims(
    at: dict[int, pd.DataFrame], optimizer: str, optimizers: int, scale: str | None
) -> Iterator[PaperClaim]:
    """Judge that sharpness falls and log V stays."""
    last, who, family = max(at), subject(OVERTRAINED, optimizer), 2 * optimizers
    confidence = comparison.simultaneous_confidence(family)
    usable = pd.concat(
        [selection.usable(rows, col.SHARPNESS.name, col.LOG_VOLUME.name)[0] for rows in at.values()]
    )
    # Each network is a level: what is ranked is its own epochs.
    by_run = usable.assign(**{col.ATTACK_SIZE: usable.groupby(col.RUN).ngroup()})
    falls = statistics.correlation(by_run, col.SHARPNESS.name, col.OVERTRAIN, confidence=confidence)
    label, falling = (
        "sharpness and epoch: Spearman's ρ within each network",
        verdicts.correlates(-1),
    )
    ratio = _mean_by_draw(usable, col.SHARPNESS, last, lambda first, then: np.log10(then / first))
    yield PaperClaim(
        "overtraining",
        who,
        f"sharpness falls over the {last} epochs after zero error",
        falling.text,
        family,
        judged(falling, label, falls, scale, what="measurements"),
        evidence=(
            evidence(
                f"log10 of sharpness after {last} epochs over that at zero error",
                comparison.mean_over_draws(ratio),
            ),
        ),
    )
    change = _mean_by_draw(usable, col.LOG_VOLUME, last, lambda first, then: then / first - 1)
    stays, found = verdicts.within(RELAXED), comparison.mean_over_draws(change, confidence)
    moved = col.numbers(usable[usable[col.OVERTRAIN] == last], col.CHANGED)
    most = f"at most {np.max(moved):.0f}, of {len(moved)} networks" if len(moved) else "no network"
    median = float(np.median(moved)) if len(moved) else np.nan
    yield PaperClaim(
        "stays",
        who,
        f"log V is the same after {last} epochs",
        stays.text,
        family,
        judged(stays, "log V then over log V at zero error, minus 1", found, scale),
        evidence=(Evidence("labels of f on S + E1 that changed, median", median, note=most),),
    )


def _mean_by_draw(
    usable: pd.DataFrame, measure: col.Column, last: int, change: Callable
) -> np.ndarray:
    """Average over the networks of each draw change(at zero error, at the last epoch)."""
    values = usable.pivot_table(
        index=[col.DRAW, col.RUN], columns=col.OVERTRAIN, values=measure.name
    )
    if not {0, last} <= set(values):
        return np.zeros(0)
    return change(values[0], values[last]).groupby(col.DRAW).mean().to_numpy()


def _correlation_claims(
    at: dict[int, pd.DataFrame], optimizer: str, optimizers: int, scale: str | None
) -> Iterator[PaperClaim]:
    """Take the correlation with the error at zero error minus that at the last epoch."""
    family, who = len(FOLLOWED) * optimizers, subject(OVERTRAINED, optimizer)
    zero, last = min(at), max(at)
    confidence = comparison.simultaneous_confidence(family)
    error = selection.error_column(pd.concat(at.values()))[0]
    for measure in FOLLOWED:
        networks = _usable_at_every_epoch(at, measure, error)
        if not len(networks[zero]):
            continue
        readings, beside = [], []
        for reading, where in (("pooled", "pooled"), ("within", WHERE["within"])):
            tables = {
                epoch: statistics.draw_statistics(rows, measure.name, error, reading=reading)
                for epoch, rows in networks.items()
            }
            found = {
                epoch: comparison.difference_of_draws(tables[zero], then, measure.sign, confidence)
                for epoch, then in tables.items()
                if epoch > zero
            }
            label = f"its strength at zero error minus that then, {where}"
            readings.append(judged(UNCHANGED, label, found.pop(last), scale))
            beside += [
                evidence(f"difference after {epoch} epochs, {reading}", difference)
                for epoch, difference in found.items()
            ]
        pooled = [
            evidence(
                f"pooled ρ after {epoch} epochs",
                statistics.correlation(rows, measure.name, error, POOLED),
            )
            for epoch, rows in networks.items()
        ]
        paper, within = readings
        yield PaperClaim(
            "correlations",
            who,
            f"the correlation of {measure.label} with the error is the same {last} epochs "
            "after zero error",
            UNCHANGED.text,
            family,
            paper,
            within,
            evidence=(*beside, *pooled),
        )


def _usable_at_every_epoch(
    at: dict[int, pd.DataFrame], measure: col.Column, error: str
) -> dict[int, pd.DataFrame]:
    """Return by epoch the networks that are usable at every epoch."""
    usable = {epoch: selection.usable(rows, measure.name, error)[0] for epoch, rows in at.items()}
    everywhere = set.intersection(*(set(found[col.RUN]) for found in usable.values()))
    return {epoch: found[found[col.RUN].isin(everywhere)] for epoch, found in usable.items()}
