"""Claims on attack-set sweeps: what correlates with the error, for whom, and how strongly."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from flatvol_jax.study import comparison, selection, statistics, verdicts
from flatvol_jax.study.claims import LOG_VOLUME, MEASURES, OPTIMIZER, SHARPNESS
from flatvol_jax.study.experiment_tables import ExperimentTables
from flatvol_jax.study.names import OPTIMIZERS, SYSTEMS
from flatvol_jax.study.optimizer_table import NOT_BROKEN, SGD
from flatvol_jax.study.reproduction.claim import (
    Evidence,
    PaperClaim,
    conditional,
    correlates,
    exceeds,
    of_correlation,
)
from flatvol_jax.study.statistics import CONDITIONAL

FOLLOWED = (
    "measure.hessian.spectral_norm",
    "measure.hessian.log_product",
    "measure.hessian.frobenius_norm",
)
LARGER, SMALLER, NARROW = "mnist_fcn_10k", "mnist_fcn", "cifar_resnet"
CLAIMED = (SGD, *NOT_BROKEN)  # for whom the paper says that sharpness correlates
_LABELS = {measure.column: measure.label for measure in MEASURES}


def sweep_claims(tables: Sequence[ExperimentTables], scale: str | None) -> list[PaperClaim]:
    """All claims on networks at zero error.

    The primary claims (correlates, breaks, unchanged) are those of `experiment_tables`, with its
    intervals, which hold together for an experiment; those of each further sentence hold together
    with each other.

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
            row = rows[rows["column"] == measure.column].iloc[0]
            sign, limit = measure.sign, measure.sign * verdicts.CORRELATES_BEYOND
            yield PaperClaim(
                sentence,
                subject(of.experiment, optimizer),
                f"{measure.label} correlates with the error on {row['error']}",
                _within(row, f"{measure.label}: Spearman's ρ within |A|"),
                f"ρ {'<' if sign < 0 else '>'} {limit:+.1f}",
                row["confidence"],
                int(row["draws"]),
                bool(sign * row["within"] > verdicts.CORRELATES_BEYOND),
                row["verdict"],
                row["reason"],
                _pooled(row, f"{measure.label}: pooled"),
                tuple(_beside(rows, measure)),
            )


def _beside(rows: pd.DataFrame, measure) -> Iterator[Evidence]:
    """The same of other links and estimators, of rivals, baselines and the null."""
    wanted = (
        ("estimator", "other link", "increment", "null", "baseline")
        if measure == LOG_VOLUME
        else ("flatness", "baseline")
    )
    for family in wanted:
        for _, row in rows[rows["family"] == family].iterrows():
            yield _within(row, f"{row['measure']}: within |A|")
            if np.isfinite(row["pooled"]):
                yield _pooled(row, f"{row['measure']}: pooled")


def _looser(sweeps: Sequence[ExperimentTables], scale: str | None) -> Iterator[PaperClaim]:
    """The strength of log V minus that of sharpness, on the same networks, draw by draw."""
    every = [(of, optimizer) for of in sweeps for optimizer in dict.fromkeys(of.claims.optimizer)]
    confidence = comparison.simultaneous_confidence(max(len(every), 1))
    for of, optimizer in every:
        runs = of.frame[of.frame[OPTIMIZER] == optimizer]
        error = selection.error_column(of.frame)[0]
        both, _ = selection.usable(runs, LOG_VOLUME.column, SHARPNESS.column, error)
        one, other = (
            statistics.draw_statistics(both, m.column, error).set_index("draw")["rho"] * m.sign
            for m in (LOG_VOLUME, SHARPNESS)
        )
        found = comparison.mean_over_draws((one - other).to_numpy(), confidence)
        strengths = [m.sign * _pooled_rho(both, m.column, error) for m in (LOG_VOLUME, SHARPNESS)]
        yield exceeds(
            "looser",
            subject(of.experiment, optimizer),
            "the correlation of sharpness is weaker than that of log V",
            "-ρ of log V minus ρ of sharpness, within |A|",
            found,
            verdicts.BREAKS_BEYOND,
            scale,
            pooled=Evidence(
                "the same, pooled",
                strengths[0] - strengths[1],
                note=f"{strengths[0]:.2f} for log V, {strengths[1]:.2f} for sharpness",
            ),
            evidence=(
                Evidence("log V: mean over draws", float(one.mean()), note="strength within |A|"),
                Evidence("sharpness: mean over draws", float(other.mean()), note="the same"),
            ),
        )


def _against_sgd(of: ExperimentTables) -> Iterator[PaperClaim]:
    """Sharpness breaks, or with GD does not; log V is unchanged: from the optimizers' table."""
    table = of.differences
    for _, row in table[table["family"] == "primary"].iterrows():
        optimizer, volume = row["optimizer"], row["column"] == LOG_VOLUME.column
        sentence = "intact" if volume else "gd" if optimizer in NOT_BROKEN else "breaks"
        breaks = sentence == "breaks"
        sign = LOG_VOLUME.sign if volume else SHARPNESS.sign
        limit = verdicts.BREAKS_BEYOND
        estimate = row["estimate"]
        pooled = [
            sign * _claim_row(of.claims, name, row["column"])["pooled"] for name in (SGD, optimizer)
        ]
        yield PaperClaim(
            sentence,
            subject(of.experiment, optimizer),
            f"its correlation of {row['measure']} "
            + ("is weaker than SGD's" if breaks else "is that of SGD"),
            Evidence(
                f"strength of SGD's minus {OPTIMIZERS[optimizer]}'s, within |A|",
                estimate,
                row["low"],
                row["high"],
                f"{row['runs']} networks, {row['draws']} draws",
            ),
            f"> {limit:g}" if breaks else f"within ±{limit:g}",
            row["confidence"],
            int(row["draws"]),
            bool(estimate > limit if breaks else abs(estimate) < limit),
            row["verdict"],
            row["reason"],
            Evidence(
                "the same, pooled",
                pooled[0] - pooled[1],
                note=f"{pooled[0]:.2f} for SGD, {pooled[1]:.2f} for {OPTIMIZERS[optimizer]}",
            ),
            tuple(_differences(table[table["optimizer"] == optimizer], volume)),
        )


def _differences(rows: pd.DataFrame, volume: bool) -> Iterator[Evidence]:
    families = ("other link", "estimator", "null") if volume else ("flatness", "invariant")
    everywhere = rows["family"] == "levels that all optimizers complete"
    of_measure = rows["column"] == (LOG_VOLUME if volume else SHARPNESS).column
    for _, row in rows[rows["family"].isin(families) | (everywhere & of_measure)].iterrows():
        where = ", levels that all complete" if everywhere[row.name] else ""
        note = f"{row['runs']} networks, {row['draws']} draws"
        yield Evidence(
            f"{row['measure']}: difference within |A|{where}",
            row["estimate"],
            row["low"],
            row["high"],
            note,
        )


def _resnet(sweeps: Sequence[ExperimentTables]) -> Iterator[PaperClaim]:
    """SGD minus Adam on the FCN of MNIST, minus the same on the ResNet of CIFAR-10."""
    of = {tables.experiment: tables for tables in sweeps}
    if not of.keys() >= {SMALLER, NARROW}:
        return
    drops, pooled = {}, {}
    for name in (SMALLER, NARROW):
        rows = [_claim_row(of[name].claims, o, SHARPNESS.column) for o in (SGD, "adam")]
        if any(row is None for row in rows):
            return
        drops[name], pooled[name] = (rows[0][kind] - rows[1][kind] for kind in ("within", "pooled"))
    weaker, draws = drops[SMALLER] - drops[NARROW], int(rows[0]["draws"])
    yield conditional(
        "resnet",
        f"{SYSTEMS[NARROW]} against {SYSTEMS[SMALLER]}",
        "the correlation of sharpness deteriorates less from SGD to Adam",
        Evidence(
            "deterioration (SGD - Adam, within |A|), FCN on MNIST minus ResNet on CIFAR-10",
            weaker,
            note=f"{drops[SMALLER]:+.2f} and {drops[NARROW]:+.2f}",
        ),
        "> 0",
        bool(weaker > 0),
        f"{draws} draw of the ResNet, 10 wanted for a verdict" if draws == 1 else "no interval",
        pooled=Evidence(
            "the same, pooled",
            pooled[SMALLER] - pooled[NARROW],
            note=f"{pooled[SMALLER]:+.2f} and {pooled[NARROW]:+.2f}",
        ),
    )


def _follows(sweeps: Sequence[ExperimentTables], scale: str | None) -> Iterator[PaperClaim]:
    """Sharpness against each Hessian measure of the same network, within |A|."""
    every = [
        (of, optimizer, column)
        for of in sweeps
        for optimizer in dict.fromkeys(of.claims.optimizer)
        for column in FOLLOWED
        if _claim_row(of.claims, optimizer, column) is not None
    ]
    confidence = comparison.simultaneous_confidence(max(len(every), 1))
    for of, optimizer, column in every:
        runs = of.frame[of.frame[OPTIMIZER] == optimizer]
        both, _ = selection.usable(runs, SHARPNESS.column, column)
        columns = (both, SHARPNESS.column, column)
        yield correlates(
            "hessian",
            subject(of.experiment, optimizer),
            f"sharpness follows the {_LABELS[column]}",
            f"sharpness and {_LABELS[column]}: Spearman's ρ within |A|",
            statistics.within_correlation(*columns, confidence=confidence),
            1,
            scale,
            pooled=of_correlation("the same, pooled", statistics.pooled_correlation(0, *columns)),
        )


def _larger(sweeps: Sequence[ExperimentTables]) -> Iterator[PaperClaim]:
    """|ρ| of log V, pooled, with 10,000 training digits minus that with 500."""
    of = {tables.experiment: tables for tables in sweeps}
    if not of.keys() >= {SMALLER, LARGER}:
        return
    for optimizer in dict.fromkeys(of[LARGER].claims.optimizer):
        rows = [_claim_row(of[n].claims, optimizer, LOG_VOLUME.column) for n in (LARGER, SMALLER)]
        if any(row is None for row in rows):
            continue
        tighter = abs(rows[0]["pooled"]) - abs(rows[1]["pooled"])
        yield conditional(
            "larger",
            subject(LARGER, optimizer),
            "log V correlates with the error more tightly than with |S| = 500",
            Evidence(
                "|ρ| pooled, |S| = 10,000 minus |S| = 500",
                tighter,
                note=f"{abs(rows[0]['pooled']):.2f} of {rows[0]['runs']} networks, "
                f"{abs(rows[1]['pooled']):.2f} of {rows[1]['runs']}",
            ),
            "> 0",
            bool(tighter > 0),
            f"{int(rows[0]['draws'])} draw of |S| = 10,000, 10 wanted for a verdict",
            CONDITIONAL,
        )


def _pooled_rho(runs: pd.DataFrame, x: str, y: str) -> float:
    one, other = selection.numbers(runs, x), selection.numbers(runs, y)
    return statistics.pooled_estimate(one, other, "spearman")


def _claim_row(claims: pd.DataFrame, optimizer: str, column: str) -> Mapping | None:
    rows = claims[
        (claims["optimizer"] == optimizer)
        & (claims["column"] == column)
        & (claims["family"] != "increment")
    ]
    return rows.iloc[0].to_dict() if len(rows) else None


def _within(row, label: str) -> Evidence:
    over = f"{int(row['within_runs'])} networks, {row['basis']}"
    return Evidence(label, row["within"], row["within_low"], row["within_high"], over)


def _pooled(row, label: str) -> Evidence:
    return Evidence(
        label, row["pooled"], row["pooled_low"], row["pooled_high"], f"{int(row['runs'])} networks"
    )
