"""Claims on attack-set sweeps: what correlates with the error, for whom, and how strongly."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import (
    WHERE,
    Evidence,
    PaperClaim,
    Reading,
    evidence,
    judged,
)
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.claims import ceilings
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.names import OPTIMIZERS, SYSTEMS, TEN_CLASSES
from flatvol_jax.study.analysis.optimizer_table import EVERYWHERE, NOT_BROKEN, SGD
from flatvol_jax.study.analysis.statistics import POOLED, READINGS, WITHIN
from flatvol_jax.study.analysis.verdicts import BREAKS, UNCHANGED

HESSIAN_MEASURES = (col.SPECTRAL_NORM, col.LOG_PRODUCT, col.FROBENIUS_NORM)
LARGER, SMALLER, NARROW = "mnist_fcn_10k", "mnist_fcn", "cifar_resnet"
OVERTRAINED = "mnist_fcn_overtrain"
CLAIMED = (SGD, *NOT_BROKEN)  # for whom the paper says that sharpness correlates
# What stands beside a claim on a correlation, and beside one against SGD: families of rows.
BESIDE = {
    col.LOG_VOLUME: ("other link", "ceiling", "estimator", "increment", "baseline"),
    col.SHARPNESS: ("flatness", "baseline"),
}
# The sentences of ten classes, which the paper does not have, beside its own.
OF_TEN = {"volume": "volume_ten", "sharpness": "sharpness_ten", "looser": "looser_ten"}
BESIDE_SGD = {col.LOG_VOLUME: ("other link", "estimator"), col.SHARPNESS: ("flatness", "invariant")}
Row = Mapping[str, Any]


def sweep_claims(tables: Sequence[ExperimentTables], scale: str | None) -> list[PaperClaim]:
    """Return all claims on networks at zero error.

    Each has two readings. The primary claims (correlates, breaks, unchanged) are those of
    `experiment_tables`, with its intervals, which hold together for an experiment in each reading;
    those of each further sentence hold together with each other. Sweeps of ten classes are judged
    alone, by sentences of their own: they change no family of the paper's claims.

    Args:
        tables: of the sweeps at one scale, those of later epochs are left out.
        scale: of the study; without "cpu" or "paper" there is no verdict.
    """
    at_zero = [sweep for sweep in tables if not sweep.overtrain and sweep.experiment in SYSTEMS]
    # The overtrained networks at zero error are the plain sweep's once more, fewer of them.
    sweeps = [sweep for sweep in at_zero if sweep.experiment != OVERTRAINED] or at_zero
    sweeps = sorted(sweeps, key=lambda sweep: list(SYSTEMS).index(sweep.experiment))
    ten = [sweep for sweep in sweeps if sweep.experiment.endswith(TEN_CLASSES)]
    sweeps = [sweep for sweep in sweeps if not sweep.experiment.endswith(TEN_CLASSES)]
    by_name = {sweep.experiment: sweep for sweep in sweeps}
    of_ten = [
        *(claim for sweep in ten for claim in _correlation_claims(sweep)),
        *_weaker_sharpness_claims(ten, scale),
    ]
    return [
        *(claim for sweep in sweeps for claim in _correlation_claims(sweep)),
        *_weaker_sharpness_claims(sweeps, scale),
        *(claim for sweep in sweeps for claim in _claims_against_sgd(sweep)),
        *_resnet_claims(by_name, scale),
        *_hessian_claims(sweeps, scale),
        *_larger_set_claims(by_name, scale),
        *(claim._replace(sentence=OF_TEN[claim.sentence]) for claim in of_ten),
    ]


def subject(experiment: str, optimizer: str) -> str:
    """Name the networks of a sweep for a reader."""
    size = ", |S| = 10,000" if experiment == LARGER else ""
    return f"{SYSTEMS[experiment]}, {OPTIMIZERS[optimizer]}{size}"


def correlations(
    runs: pd.DataFrame, x: str, y: str, confidence: float = 0.95
) -> tuple[dict[str, statistics.Correlation], int]:
    """Correlate two columns in both readings; also return over how many networks."""
    kept, _ = selection.usable(runs, x, y)
    found = {
        reading: statistics.correlation(kept, x, y, reading, confidence=confidence)
        for reading in READINGS
    }
    return found, len(kept)


def strengths(
    runs: pd.DataFrame, error: str, reading: str, *measures: col.Column
) -> list[pd.Series]:
    """Return of each measure, by draw, ρ with the error times its claimed sign."""
    tables = [statistics.draw_statistics(runs, m.name, error, reading=reading) for m in measures]
    rhos = [table.set_index("draw")["rho"] for table in tables]
    return [measure.sign * rho for measure, rho in zip(measures, rhos, strict=True)]


def _correlation_claims(sweep: ExperimentTables) -> Iterator[PaperClaim]:
    """Yield volume for all optimizers, sharpness for SGD and GD, from the claims table."""
    for optimizer, rows in sweep.claims.groupby("optimizer", sort=False):
        for measure, kinds in BESIDE.items():
            if measure == col.SHARPNESS and optimizer not in CLAIMED:
                continue
            row, criterion = _row(rows, measure), verdicts.correlates(measure.sign)
            assert row is not None, "the table has a row of each primary measure"
            paper, within = _readings(row, rows, criterion, _correlation_evidence)
            yield PaperClaim(
                "volume" if measure == col.LOG_VOLUME else "sharpness",
                subject(sweep.experiment, optimizer),
                f"{measure.label} correlates with the error on {row['error']}",
                criterion.text,
                sweep.family,
                paper,
                within,
                evidence=tuple(_evidence_beside(rows, kinds, _correlation_evidence)),
            )


def _claims_against_sgd(sweep: ExperimentTables) -> Iterator[PaperClaim]:
    """Judge by the optimizers' table that sharpness breaks (not with GD) and log V does not."""
    table = sweep.differences
    for row in table[table["family"] == "primary"].to_dict("records"):
        optimizer, volume = row["optimizer"], row["column"] == col.LOG_VOLUME.name
        measure = col.LOG_VOLUME if volume else col.SHARPNESS
        sentence = "intact" if volume else "gd" if optimizer in NOT_BROKEN else "breaks"
        criterion = BREAKS if sentence == "breaks" else UNCHANGED
        rows = table[table["optimizer"] == optimizer]
        other = (rows["family"] == EVERYWHERE) & (rows["column"] != measure.name)
        says = "is weaker than SGD's" if sentence == "breaks" else "is that of SGD"
        paper, within = _readings(row, rows, criterion, _difference_evidence)
        yield PaperClaim(
            sentence,
            subject(sweep.experiment, optimizer),
            f"its correlation of {row['measure']} {says}",
            criterion.text,
            sweep.family,
            paper,
            within,
            evidence=tuple(
                _evidence_beside(
                    rows[~other], (*BESIDE_SGD[measure], EVERYWHERE), _difference_evidence
                )
            ),
        )


def _weaker_sharpness_claims(
    sweeps: Sequence[ExperimentTables], scale: str | None
) -> Iterator[PaperClaim]:
    """Judge the strength of log V minus that of sharpness, on the same networks, draw by draw."""
    every = [(sweep, name) for sweep in sweeps for name in dict.fromkeys(sweep.claims.optimizer)]
    family = max(len(every), 1)
    confidence = comparison.simultaneous_confidence(family)
    for sweep, optimizer in every:
        runs = sweep.frame[sweep.frame[col.OPTIMIZER] == optimizer]
        error = selection.error_column(sweep.frame)[0]
        both, _ = selection.usable(runs, col.LOG_VOLUME.name, col.SHARPNESS.name, error)
        known = both[np.isfinite(col.NULL.values(both))]
        readings, beside = [], []
        for reading, where in WHERE.items():
            volume, sharpness = strengths(both, error, reading, col.LOG_VOLUME, col.SHARPNESS)
            found = comparison.mean_over_draws(volume - sharpness, confidence)
            ceiling = ceilings(sweep.claims).get(optimizer) if reading == WITHIN else None
            label = f"-ρ of log V minus ρ of sharpness, {where}"
            null: Evidence | None = None
            if len(known):
                (random,) = strengths(known, error, reading, col.NULL)
                of_random = comparison.mean_over_draws(random - sharpness)
                null = evidence(f"{col.NULL.label}, {where}", of_random)
            decided = judged(BREAKS, label, found, scale, ceiling=ceiling)
            readings.append(decided._replace(null=null))
            beside += [
                Evidence(f"{measure.label}: mean strength over draws, {where}", values.mean())
                for measure, values in ((col.LOG_VOLUME, volume), (col.SHARPNESS, sharpness))
            ]
        paper, within = readings
        yield PaperClaim(
            "looser",
            subject(sweep.experiment, optimizer),
            "the correlation of sharpness is weaker than that of log V",
            BREAKS.text,
            family,
            paper,
            within,
            evidence=tuple(beside),
        )


def _hessian_claims(sweeps: Sequence[ExperimentTables], scale: str | None) -> Iterator[PaperClaim]:
    """Correlate sharpness with each Hessian measure of the same network."""
    every = [
        (sweep, optimizer, measure)
        for sweep in sweeps
        for optimizer, rows in sweep.claims.groupby("optimizer", sort=False)
        for measure in HESSIAN_MEASURES
        if _row(rows, measure) is not None
    ]
    family, criterion = max(len(every), 1), verdicts.correlates(1)
    confidence = comparison.simultaneous_confidence(family)
    for sweep, optimizer, measure in every:
        runs = sweep.frame[sweep.frame[col.OPTIMIZER] == optimizer]
        found, _ = correlations(runs, col.SHARPNESS.name, measure.name, confidence)
        label = f"sharpness and {measure.label}: Spearman's ρ"
        paper, within = (
            judged(criterion, f"{label} {WHERE[r]}", found[r], scale) for r in READINGS
        )
        yield PaperClaim(
            "hessian",
            subject(sweep.experiment, optimizer),
            f"sharpness follows the {measure.label}",
            criterion.text,
            family,
            paper,
            within,
        )


def _resnet_claims(
    sweeps: Mapping[str, ExperimentTables], scale: str | None
) -> Iterator[PaperClaim]:
    """Take SGD minus Adam on the FCN of MNIST, minus the same on the ResNet of CIFAR-10."""
    if not all(_has_adam(sweeps.get(name)) for name in (SMALLER, NARROW)):
        return
    yield _claim_between_systems(
        "resnet",
        f"{SYSTEMS[NARROW]} against {SYSTEMS[SMALLER]}",
        "the correlation of sharpness deteriorates less from SGD to Adam",
        "SGD - Adam, {where}, FCN on MNIST minus ResNet on CIFAR-10",
        {r: [_deterioration(sweeps[name], r) for name in (SMALLER, NARROW)] for r in READINGS},
        scale,
    )


def _larger_set_claims(
    sweeps: Mapping[str, ExperimentTables], scale: str | None
) -> Iterator[PaperClaim]:
    """Take the strength of log V with 10,000 training digits minus that with 500."""
    if not sweeps.keys() >= {SMALLER, LARGER}:
        return
    large, small = (sweeps[name] for name in (LARGER, SMALLER))
    for optimizer in dict.fromkeys(large.claims.optimizer):
        if not (small.claims.optimizer == optimizer).any():
            continue
        yield _claim_between_systems(
            "larger",
            subject(LARGER, optimizer),
            "log V correlates with the error more tightly than with |S| = 500",
            "strength of log V {where}, |S| = 10,000 minus |S| = 500",
            {
                r: [_volume_strength(sweep, optimizer, r) for sweep in (large, small)]
                for r in READINGS
            },
            scale,
        )


def _claim_between_systems(
    sentence: str,
    who: str,
    statement: str,
    label: str,
    values: Mapping[str, Sequence[pd.Series]],
    scale: str | None,
) -> PaperClaim:
    """Judge by reading that a number of the draws of one system exceeds that of another's."""
    criterion, readings = verdicts.exceeds(0), []
    for reading, (first, second) in values.items():
        found = comparison.difference_of_means(first, second)
        note = f"{first.mean():+.2f} and {second.mean():+.2f}"
        readings.append(judged(criterion, label.format(where=WHERE[reading]), found, scale, note))
    paper, within = readings
    return PaperClaim(sentence, who, statement, criterion.text, 1, paper, within)


def _has_adam(sweep: ExperimentTables | None) -> bool:
    return sweep is not None and {SGD, "adam"} <= set(sweep.claims.optimizer)


def _deterioration(sweep: ExperimentTables, reading: str) -> pd.Series:
    """Return by draw the strength of sharpness with SGD minus that with Adam."""
    both = sweep.frame[sweep.frame[col.OPTIMIZER].isin((SGD, "adam"))]
    levels = comparison.common_levels(both)
    sgd, adam = (_strength(levels, name, col.SHARPNESS, reading) for name in (SGD, "adam"))
    return sgd - adam


def _volume_strength(sweep: ExperimentTables, optimizer: str, reading: str) -> pd.Series:
    return _strength(sweep.frame, optimizer, col.LOG_VOLUME, reading)


def _strength(frame: pd.DataFrame, optimizer: str, measure: col.Column, reading: str) -> pd.Series:
    """Return by draw ρ of a measure with the error times its claimed sign."""
    error = selection.error_column(frame)[0]
    runs, _ = selection.usable(frame[frame[col.OPTIMIZER] == optimizer], measure.name, error)
    (values,) = strengths(runs, error, reading, measure)
    return values


def _row(rows: pd.DataFrame, measure: col.Column, optimizer: str | None = None) -> Row | None:
    """Return a measure's own row of a table; None where it has none."""
    own = (rows["column"] == measure.name) & (rows["family"] == measure.family)
    if optimizer is not None:
        own &= rows["optimizer"] == optimizer
    return next(iter(rows[own].to_dict("records")), None)


def _readings(
    row: Row,
    rows: pd.DataFrame,
    criterion: verdicts.Criterion,
    describe: Callable[[Row, str], Evidence],
) -> Iterator[Reading]:
    """Yield a judged row of a table in both readings, log V with its null and the other link."""
    volume = row["column"] == col.LOG_VOLUME.name
    null, probit = (_row(rows, other) if volume else None for other in (col.NULL, col.PROBIT))
    for reading in READINGS:
        yield Reading(
            describe(row, reading),
            int(row[f"{reading}_draws"]),
            criterion.met(row[reading]),
            row[f"{reading}_verdict"],
            row[f"{reading}_reason"],
            describe(null, reading) if null else None,
            describe(probit, reading) if probit and reading == POOLED else None,
        )


def _evidence_beside(
    rows: pd.DataFrame, kinds: Sequence[str], describe: Callable[[Row, str], Evidence]
) -> Iterator[Evidence]:
    """Yield the same of other links and estimators, of rivals, baselines and the ceiling."""
    for kind in kinds:
        for row in rows[rows["family"] == kind].to_dict("records"):
            yield from (describe(row, reading) for reading in READINGS if np.isfinite(row[reading]))


def _correlation_evidence(row: Row, reading: str) -> Evidence:
    """Return a row of the claims table in one reading."""
    estimate, low, high = (row[f"{reading}{end}"] for end in ("", "_low", "_high"))
    return Evidence(
        f"{row['measure']}: Spearman's ρ {WHERE[reading]}",
        estimate,
        low,
        high,
        f"{int(row[f'{reading}_runs'])} networks, {row[f'{reading}_basis']}",
    )


def _difference_evidence(row: Row, reading: str) -> Evidence:
    """Return a row of the optimizers' table in one reading."""
    sgd, other = row[f"{reading}_sgd"], row[f"{reading}_other"]
    everywhere = ", levels that all complete" if row["family"] == EVERYWHERE else ""
    estimate, low, high = (row[f"{reading}{end}"] for end in ("", "_low", "_high"))
    return Evidence(
        f"{row['measure']}: strength of SGD's minus {OPTIMIZERS[row['optimizer']]}'s, "
        f"{WHERE[reading]}{everywhere}",
        estimate,
        low,
        high,
        f"ρ {sgd:+.2f} and {other:+.2f}, {row['runs']} networks, {row[f'{reading}_draws']} draws",
    )
