"""Claims on attack-set sweeps: what correlates with the error, for whom, and how strongly."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import (
    Evidence,
    PaperClaim,
    Reading,
    conditional,
    correlates,
    correlates_criterion,
    exceeds,
    of_difference,
)
from flatvol_jax.study.analysis import comparison, selection, statistics, verdicts
from flatvol_jax.study.analysis.claims import OPTIMIZER, ceilings
from flatvol_jax.study.analysis.columns import (
    FROBENIUS_NORM,
    LOG_PRODUCT,
    LOG_VOLUME,
    MEASURES,
    NULL,
    PROBIT,
    SHARPNESS,
    SPECTRAL_NORM,
    Measure,
)
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.analysis.names import OPTIMIZERS, SYSTEMS
from flatvol_jax.study.analysis.optimizer_table import NOT_BROKEN, SGD
from flatvol_jax.study.analysis.statistics import POOLED, READINGS, WITHIN

FOLLOWED = tuple(m.column for m in (SPECTRAL_NORM, LOG_PRODUCT, FROBENIUS_NORM))
LARGER, SMALLER, NARROW = "mnist_fcn_10k", "mnist_fcn", "cifar_resnet"
WHERE = {POOLED: "pooled over |A|", WITHIN: "within |A|"}
CLAIMED = (SGD, *NOT_BROKEN)  # for whom the paper says that sharpness correlates
_LABELS = {measure.column: measure.label for measure in MEASURES}


def sweep_claims(tables: Sequence[ExperimentTables], scale: str | None) -> list[PaperClaim]:
    """All claims on networks at zero error.

    Each has two readings. The primary claims (correlates, breaks, unchanged) are those of
    `experiment_tables`, with its intervals, which hold together for an experiment in each reading;
    those of each further sentence hold together with each other.

    Args:
        tables: of the sweeps at one scale, those of later epochs are left out.
        scale: of the study; without "cpu" or "paper" there is no verdict.
    """
    at_zero = [of for of in tables if of.overtrain == 0 and of.experiment in SYSTEMS]
    # The overtrained networks at zero error are the plain sweep's once more, fewer of them.
    sweeps = [of for of in at_zero if of.experiment != "mnist_fcn_overtrain"] or at_zero
    sweeps = sorted(sweeps, key=lambda of: list(SYSTEMS).index(of.experiment))
    return [
        *(claim for of in sweeps for claim in _correlations(of)),
        *_looser(sweeps, scale),
        *(claim for of in sweeps for claim in _against_sgd(of)),
        *_resnet(sweeps),
        *_follows(sweeps, scale),
        *_larger(sweeps),
    ]


def subject(experiment: str, optimizer: str) -> str:
    """How a reader calls the networks of a sweep."""
    return f"{SYSTEMS[experiment]}, {OPTIMIZERS[optimizer]}" + (
        ", |S| = 10,000" if experiment == LARGER else ""
    )


def _correlations(of: ExperimentTables) -> Iterator[PaperClaim]:
    """Volume for everybody, sharpness for SGD and GD, from the claims table."""
    for optimizer, rows in of.claims.groupby("optimizer", sort=False):
        for measure, sentence in ((LOG_VOLUME, "volume"), (SHARPNESS, "sharpness")):
            if measure == SHARPNESS and optimizer not in CLAIMED:
                continue
            null, probit = (
                _claim_row(of.claims, optimizer, other.column) if measure == LOG_VOLUME else None
                for other in (NULL, PROBIT)
            )
            row = _claim_row(of.claims, optimizer, measure.column)
            yield PaperClaim(
                sentence,
                subject(of.experiment, optimizer),
                f"{measure.label} correlates with the error on {row['error']}",
                correlates_criterion(measure.sign),
                of.family,
                *(_reading(row, measure.sign, reading, null, probit) for reading in READINGS),
                evidence=tuple(_beside(rows, measure)),
            )


def _reading(row, sign: int, reading: str, null, probit) -> Reading:
    """A row of the claims table in one reading, with its null, pooled also by the other link."""
    return Reading(
        _evidence(row, reading),
        int(row[f"{reading}_draws"]),
        bool(sign * row[reading] > verdicts.CORRELATES_BEYOND),
        row[f"{reading}_verdict"],
        row[f"{reading}_reason"],
        None if null is None else _evidence(null, reading),
        None if probit is None or reading != POOLED else _evidence(probit, reading),
    )


def _beside(rows: pd.DataFrame, measure) -> Iterator[Evidence]:
    """The same of other links and estimators, of rivals, baselines and the ceiling."""
    wanted = (
        ("other link", "ceiling", "estimator", "increment", "baseline")
        if measure == LOG_VOLUME
        else ("flatness", "baseline")
    )
    for family in wanted:
        for _, row in rows[rows["family"] == family].iterrows():
            yield from (_evidence(row, reading) for reading in READINGS if _is_known(row, reading))


def _is_known(row, reading: str) -> bool:
    """Whether a row of a table has an estimate in a reading."""
    return bool(np.isfinite(row[reading]))


def _looser(sweeps: Sequence[ExperimentTables], scale: str | None) -> Iterator[PaperClaim]:
    """The strength of log V minus that of sharpness, on the same networks, draw by draw."""
    every = [(of, optimizer) for of in sweeps for optimizer in dict.fromkeys(of.claims.optimizer)]
    family = max(len(every), 1)
    confidence = comparison.simultaneous_confidence(family)
    for of, optimizer in every:
        runs = of.frame[of.frame[OPTIMIZER] == optimizer]
        error = selection.error_column(of.frame)[0]
        both, _ = selection.usable(runs, LOG_VOLUME.column, SHARPNESS.column, error)
        readings, evidence = {}, []
        for reading in READINGS:
            strengths = {m: _strengths(both, m, error, reading) for m in (LOG_VOLUME, SHARPNESS)}
            found = comparison.mean_over_draws(
                (strengths[LOG_VOLUME] - strengths[SHARPNESS]).to_numpy(), confidence
            )
            readings[reading] = exceeds(
                f"-ρ of log V minus ρ of sharpness, {WHERE[reading]}",
                found,
                verdicts.BREAKS_BEYOND,
                scale,
                ceiling=ceilings(of.claims).get(optimizer) if reading == WITHIN else None,
            )._replace(null=_looser_null(both, error, reading, strengths[SHARPNESS]))
            evidence += [
                Evidence(f"{m.label}: mean strength over draws, {WHERE[reading]}", values.mean())
                for m, values in strengths.items()
            ]
        yield PaperClaim(
            "looser",
            subject(of.experiment, optimizer),
            "the correlation of sharpness is weaker than that of log V",
            f"> {verdicts.BREAKS_BEYOND:g}",
            family,
            *readings.values(),
            evidence=tuple(evidence),
        )


def _strengths(runs: pd.DataFrame, measure: Measure, error: str, reading: str) -> pd.Series:
    """By draw, ρ of a measure with the error times its claimed sign."""
    table = statistics.draw_statistics(runs, measure.column, error, reading=reading)
    return measure.sign * table.set_index("draw")["rho"]


def _looser_null(both, error: str, reading: str, sharpness: pd.Series) -> Evidence | None:
    known = both[np.isfinite(selection.numbers(both, NULL.column))]
    if not len(known):
        return None
    found = comparison.mean_over_draws(
        (_strengths(known, NULL, error, reading) - sharpness).to_numpy()
    )
    return of_difference(f"{NULL.label}, {WHERE[reading]}", found)


def _against_sgd(of: ExperimentTables) -> Iterator[PaperClaim]:
    """Sharpness breaks, or with GD does not; log V is unchanged: from the optimizers' table."""
    table = of.differences
    for _, row in table[table["family"] == "primary"].iterrows():
        optimizer, volume = row["optimizer"], row["column"] == LOG_VOLUME.column
        sentence = "intact" if volume else "gd" if optimizer in NOT_BROKEN else "breaks"
        breaks, limit = sentence == "breaks", verdicts.BREAKS_BEYOND
        own = table[table["optimizer"] == optimizer]
        null, probit = (
            _first(own[own["column"] == other.column]) if volume else None
            for other in (NULL, PROBIT)
        )
        readings = []
        for reading in READINGS:
            estimate = row[reading]
            readings.append(
                Reading(
                    _difference(row, reading),
                    int(row[f"{reading}_draws"]),
                    bool(estimate > limit if breaks else abs(estimate) < limit),
                    row[f"{reading}_verdict"],
                    row[f"{reading}_reason"],
                    None if null is None else _difference(null, reading),
                    None if probit is None or reading != POOLED else _difference(probit, reading),
                )
            )
        yield PaperClaim(
            sentence,
            subject(of.experiment, optimizer),
            f"its correlation of {row['measure']} "
            + ("is weaker than SGD's" if breaks else "is that of SGD"),
            f"> {limit:g}" if breaks else f"within ±{limit:g}",
            of.family,
            *readings,
            evidence=tuple(_differences(own, volume)),
        )


def _differences(rows: pd.DataFrame, volume: bool) -> Iterator[Evidence]:
    families = ("other link", "estimator") if volume else ("flatness", "invariant")
    everywhere = rows["family"] == "levels that all optimizers complete"
    of_measure = rows["column"] == (LOG_VOLUME if volume else SHARPNESS).column
    for _, row in rows[rows["family"].isin(families) | (everywhere & of_measure)].iterrows():
        where = ", levels that all complete" if everywhere[row.name] else ""
        yield from (_difference(row, reading, where) for reading in READINGS)


def _difference(row, reading: str, where: str = "") -> Evidence:
    """A row of the optimizers' table in one reading."""
    sgd, other = row[f"{reading}_sgd"], row[f"{reading}_other"]
    return Evidence(
        f"{row['measure']}: strength of SGD's minus {OPTIMIZERS[row['optimizer']]}'s, "
        f"{WHERE[reading]}{where}",
        row[reading],
        row[f"{reading}_low"],
        row[f"{reading}_high"],
        f"ρ {sgd:+.2f} and {other:+.2f}, {row['runs']} networks, {row[f'{reading}_draws']} draws",
    )


def _resnet(sweeps: Sequence[ExperimentTables]) -> Iterator[PaperClaim]:
    """SGD minus Adam on the FCN of MNIST, minus the same on the ResNet of CIFAR-10."""
    of = {tables.experiment: tables for tables in sweeps}
    if not of.keys() >= {SMALLER, NARROW}:
        return
    rows = {
        name: [_claim_row(of[name].claims, o, SHARPNESS.column) for o in (SGD, "adam")]
        for name in (SMALLER, NARROW)
    }
    if any(row is None for pair in rows.values() for row in pair):
        return
    readings = []
    for reading in READINGS:
        drops = {name: sgd[reading] - adam[reading] for name, (sgd, adam) in rows.items()}
        weaker, draws = drops[SMALLER] - drops[NARROW], int(rows[NARROW][0][f"{reading}_draws"])
        readings.append(
            conditional(
                Evidence(
                    f"SGD - Adam, {WHERE[reading]}, FCN on MNIST minus ResNet on CIFAR-10",
                    weaker,
                    note=f"{drops[SMALLER]:+.2f} and {drops[NARROW]:+.2f}",
                ),
                bool(weaker > 0),
                f"{draws} draw of the ResNet, {verdicts.LEAST_DRAWS} wanted for a verdict"
                if draws == 1
                else "no interval",
            )
        )
    yield PaperClaim(
        "resnet",
        f"{SYSTEMS[NARROW]} against {SYSTEMS[SMALLER]}",
        "the correlation of sharpness deteriorates less from SGD to Adam",
        "> 0",
        1,
        *readings,
    )


def _follows(sweeps: Sequence[ExperimentTables], scale: str | None) -> Iterator[PaperClaim]:
    """Sharpness against each Hessian measure of the same network."""
    every = [
        (of, optimizer, column)
        for of in sweeps
        for optimizer in dict.fromkeys(of.claims.optimizer)
        for column in FOLLOWED
        if _claim_row(of.claims, optimizer, column) is not None
    ]
    family = max(len(every), 1)
    confidence = comparison.simultaneous_confidence(family)
    for of, optimizer, column in every:
        runs = of.frame[of.frame[OPTIMIZER] == optimizer]
        both, _ = selection.usable(runs, SHARPNESS.column, column)
        label = f"sharpness and {_LABELS[column]}: Spearman's ρ"
        yield PaperClaim(
            "hessian",
            subject(of.experiment, optimizer),
            f"sharpness follows the {_LABELS[column]}",
            correlates_criterion(1),
            family,
            *(
                correlates(
                    f"{label} {WHERE[reading]}",
                    statistics.correlation(
                        both, SHARPNESS.column, column, reading, confidence=confidence
                    ),
                    1,
                    scale,
                )
                for reading in READINGS
            ),
        )


def _larger(sweeps: Sequence[ExperimentTables]) -> Iterator[PaperClaim]:
    """|ρ| of log V with 10,000 training digits minus that with 500."""
    of = {tables.experiment: tables for tables in sweeps}
    if not of.keys() >= {SMALLER, LARGER}:
        return
    for optimizer in dict.fromkeys(of[LARGER].claims.optimizer):
        rows = [_claim_row(of[n].claims, optimizer, LOG_VOLUME.column) for n in (LARGER, SMALLER)]
        if any(row is None for row in rows):
            continue
        readings = []
        for reading in READINGS:
            large, small = (abs(row[reading]) for row in rows)
            readings.append(
                conditional(
                    Evidence(
                        f"|ρ| {WHERE[reading]}, |S| = 10,000 minus |S| = 500",
                        large - small,
                        note=f"{large:.2f} of {rows[0]['runs']} networks, "
                        f"{small:.2f} of {rows[1]['runs']}",
                    ),
                    bool(large > small),
                    f"{int(rows[0][f'{reading}_draws'])} draw of |S| = 10,000, "
                    f"{verdicts.LEAST_DRAWS} wanted for a verdict",
                )
            )
        yield PaperClaim(
            "larger",
            subject(LARGER, optimizer),
            "log V correlates with the error more tightly than with |S| = 500",
            "> 0",
            1,
            *readings,
        )


def _claim_row(claims: pd.DataFrame, optimizer: str, column: str) -> Mapping | None:
    return _first(
        claims[
            (claims["optimizer"] == optimizer)
            & (claims["column"] == column)
            & (claims["family"] != "increment")
        ]
    )


def _first(rows: pd.DataFrame) -> Mapping | None:
    return rows.iloc[0].to_dict() if len(rows) else None


def _evidence(row, reading: str) -> Evidence:
    """A row of the claims table in one reading."""
    return Evidence(
        f"{row['measure']}: Spearman's ρ {WHERE[reading]}",
        row[reading],
        row[f"{reading}_low"],
        row[f"{reading}_high"],
        f"{int(row[f'{reading}_runs'])} networks, {row[f'{reading}_basis']}",
    )
