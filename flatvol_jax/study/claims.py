"""The tables of an attack sweep: every measure's correlations, the primary claims' verdicts."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.runtime import checks
from flatvol_jax.study import comparison, statistics, verdicts
from flatvol_jax.study.faults import fault_lines
from flatvol_jax.study.selection import (
    ATTACK_SIZE,
    STATUS,
    error_column,
    numbers,
    require,
    usable,
)

OPTIMIZER = "hp.train.optimizer"
BOUNDS = {
    "measure.bound.printed": "as printed (eq. 4)",
    "measure.bound.random_split": "random split of S and E",
}
INFORMATIVE_BELOW = 0.5
LINKS = ("heaviside", "probit")


class Measure(NamedTuple):
    """A column of the records, how it is called, its claimed sign, whether it spans decades."""

    column: str
    label: str
    family: str
    sign: int
    log: bool = False


LOG_VOLUME = Measure("measure.log_volume.heaviside", "log V (Heaviside)", "primary", -1)
SHARPNESS = Measure("measure.sharpness.best", "sharpness (best found)", "primary", 1, True)
MEASURES = (
    LOG_VOLUME,
    SHARPNESS,
    Measure("measure.log_volume.heaviside.corrected", "log V, EP corrected", "estimator", -1),
    Measure("measure.log_volume.heaviside.estimate", "log V, sampling estimate", "estimator", -1),
    Measure("measure.log_volume.probit", "log V (probit)", "other link", -1),
    Measure("measure.sharpness.sgd", "sharpness (SGD, table 1)", "flatness", 1, True),
    Measure("measure.hessian.spectral_norm", "Hessian spectral norm", "flatness", 1, True),
    Measure("measure.hessian.lambda_max", "Hessian λ max", "flatness", 1),
    Measure("measure.hessian.log_product", "Hessian log product, top 50", "flatness", 1),
    Measure("measure.hessian.trace", "Hessian trace", "flatness", 1),
    Measure("measure.hessian.frobenius_norm", "Hessian Frobenius norm", "flatness", 1, True),
    Measure("measure.adaptive_sharpness.inf", "adaptive sharpness (worst)", "invariant", 1, True),
    Measure("measure.average_sharpness.adaptive", "adaptive sharpness (mean)", "invariant", 1),
    Measure("measure.relative_flatness", "relative flatness κ", "invariant", 1, True),
    Measure("measure.normalized_sharpness", "normalised sharpness", "invariant", 1, True),
    Measure("measure.fisher_rao", "Fisher-Rao norm", "invariant", 1, True),
    Measure("measure.basin_volume", "log basin volume, from below", "local volume", -1),
    Measure("measure.learning_coefficient", "learning coefficient", "local volume", 1),
    Measure("measure.baseline.gp_disagreement", "disagreement with GP mean", "baseline", 1),
    Measure("measure.baseline.nn_disagreement", "disagreement with 1-NN", "baseline", 1),
    Measure("measure.baseline.label_norm", "y'K⁻¹y", "baseline", 1),
    Measure("measure.baseline.margin", "margin", "baseline", -1),
    Measure("measure.baseline.parameter_norm", "parameter norm", "baseline", 1),
    Measure("measure.baseline.epochs", "epochs to zero error", "baseline", 1),
    Measure("measure.log_volume_null.heaviside", "log V, as many errors at random", "null", -1),
)


def claims_table(
    frame: pd.DataFrame,
    scale: str | None = None,
    seed: int = 0,
    primary_claims: int | None = None,
) -> pd.DataFrame:
    """One row for each optimizer and measure: correlations with the error, n, verdict.

    The primary claims, per optimizer: log V (Heaviside) correlates negatively with the error,
    sharpness positively. Their intervals hold together at 95% (Bonferroni over all primary
    claims), `p` is one-sided against 0.3, `p_holm` adjusted; the interval decides. Every other
    row has a plain 95% interval and no verdict. Measures that no run has are left out, except
    primary ones. The row of family "increment" is log V given all baselines.

    Args:
        frame: records of one epoch and one transform, one row a run.
        scale: of the study; without "cpu" or "paper" there is no verdict.
        seed: fixes permutations and bootstrap.
        primary_claims: how many claims are made together; without it those of this table.

    Returns:
        Columns optimizer, family, measure, column, claim, error; within, within_low,
        within_high, confidence, draws, undefined, basis, within_runs, permutation_p,
        within_pearson, within_kendall; pooled, pooled_low, pooled_high, pooled_basis,
        pooled_pearson, pooled_kendall; runs, left_out (reason -> count); p, p_holm, verdict,
        reason.
    """
    require(frame, OPTIMIZER)
    if not len(frame):
        raise ValueError("frame: got no records, wanted at least one finished run.")
    optimizers = optimizer_names(frame)
    own = 2 * len(optimizers)
    claims = own if primary_claims is None else checks.count("primary_claims", primary_claims, own)
    confidence = comparison.simultaneous_confidence(claims)
    error, error_name = error_column(frame)
    rows = []
    for optimizer in optimizers:
        group = frame[frame[OPTIMIZER] == optimizer]
        present = [m for m in MEASURES if np.isfinite(numbers(group, m.column)).any()]
        for measure in dict.fromkeys((LOG_VOLUME, SHARPNESS, *present)):
            primary = measure.family == "primary"
            level = confidence if primary else 0.95
            row = {"optimizer": optimizer, "error": error_name}
            rows.append(row | _row(seed, group, measure, error, level))
            if primary:
                rows[-1] |= _judge(rows[-1], measure, scale, error_name)
        baselines = [m.column for m in present if m.family == "baseline"]
        if baselines and LOG_VOLUME in present:
            row = {"optimizer": optimizer, "error": error_name}
            rows.append(row | _increment(group, error, baselines))
    return holm_together([pd.DataFrame(rows).drop(columns="correlation")], claims)[0]


def holm_together(tables: Sequence[pd.DataFrame], claims: int) -> list[pd.DataFrame]:
    """The tables with `p_holm`: Holm's adjustment over the primary rows of all of them.

    `claims` beyond those rows count as made and not shown, which only makes `p_holm` larger.
    """
    tested = {
        (number, row): p
        for number, table in enumerate(tables)
        for row, p in table.loc[table["family"] == "primary", "p"].items()
    }
    unseen = {("unseen", i): np.nan for i in range(claims - len(tested))}
    adjusted = comparison.holm(tested | unseen)
    return [
        table.assign(p_holm=[adjusted.get((number, row), np.nan) for row in table.index])
        for number, table in enumerate(tables)
    ]


def optimizer_names(frame: pd.DataFrame) -> list[str]:
    """The optimizers of a frame, SGD first."""
    names = {str(name) for name in frame[OPTIMIZER].dropna()}
    return sorted(names, key=lambda name: (name != "sgd", name))


def bound_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Of the usable runs, the fraction where each form of the bound says anything (< 0.5)."""
    rows = []
    for column, form in BOUNDS.items():
        values = numbers(usable(frame, column)[0], column)
        informative = float(np.mean(values < INFORMATIVE_BELOW)) if len(values) else np.nan
        least, median = (np.min(values), np.median(values)) if len(values) else (np.nan,) * 2
        rows.append((form, len(values), informative, float(least), float(median)))
    return pd.DataFrame(rows, columns=["form", "runs", "informative", "least", "median"])


def volume_table(frame: pd.DataFrame) -> pd.DataFrame:
    """For each link, how far EP and corrected EP lie from the sampling estimate, nats."""
    rows = []
    for link in LINKS:
        name = f"measure.log_volume.{link}"
        estimate, error = numbers(frame, f"{name}.estimate"), numbers(frame, f"{name}.estimate.se")
        known = np.isfinite(estimate + error)
        if not known.any():
            continue
        row = {"link": link, "runs": int(known.sum()), "se": float(np.median(error[known]))}
        for label, column in (("ep", name), ("corrected", f"{name}.corrected")):
            distance = np.abs(numbers(frame, column) - estimate)[known]
            row |= {label: float(np.median(distance)), f"{label}_most": float(distance.max())}
        certified = [flag for flag in frame[f"is.certified.{link}"] if not pd.isna(flag)]
        rows.append(row | {"certified": sum(map(bool, certified))})
    return pd.DataFrame(rows)


def status_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How many runs reached zero error and how many of their measures converged."""
    flags = {"is.zero_error": "zero training error on S ∪ A"}
    names = {
        "is.ep_converged": "EP converged",
        "is.correction_reliable.heaviside": "EP's correction reliable (Heaviside)",
        "is.certified.heaviside": "sampling estimate certified (Heaviside)",
        "is.sharpness_converged": "sharpness converged",
        "is.sgd_sharpness_converged": "SGD ascent converged",
        "is.adaptive_sharpness_converged.inf": "adaptive sharpness converged",
        "is.normalized_sharpness_converged": "normalised sharpness converged",
        "is.learning_coefficient_ok": "learning coefficient settled",
        "is.hessian_converged": "Hessian measures converged",
    }
    flags |= {status: names[status] for status, _ in STATUS.values()}
    rows = []
    for column, name in flags.items():
        values = [v for v in frame.get(column, ()) if not pd.isna(v)]
        yes = sum(bool(v) for v in values)
        rows.append((name, yes, len(values) - yes, len(frame) - len(values)))
    return pd.DataFrame(rows, columns=["status", "yes", "no", "not recorded"])


def records_summary(
    frame: pd.DataFrame,
    scale: str | None = None,
    seed: int = 0,
    claims: pd.DataFrame | None = None,
) -> list[str]:
    """Lines of plain text for the end of a run: correlations, intervals, n and verdicts."""
    claims = claims_table(frame, scale, seed) if claims is None else claims
    lines = []
    for optimizer, rows in claims.groupby("optimizer", sort=False):
        lines.append(f"{optimizer}: Spearman correlation with the error on {rows['error'].iloc[0]}")
        lines.append(f"{'':34}{'within |A|':25}{'pooled':25}{'n':>5}")
        for row in rows.itertuples():
            within = _interval(row.within, row.within_low, row.within_high)
            pooled = _interval(row.pooled, row.pooled_low, row.pooled_high)
            lines.append(f"  {row.measure:32}{within:25}{pooled:25}{row.runs:5d}")
        for row in rows[rows["family"] == "primary"].itertuples():
            lines.append(f"  {row.claim}: {row.verdict} ({row.reason})")
    sizes = frame[ATTACK_SIZE].nunique()
    used = len(usable(frame)[0])
    lines.append(
        f"{used} of {len(frame)} runs reached zero training error; "
        f"{frame['hp.draw'].nunique()} draw(s), {sizes} sizes of A"
    )
    return lines + fault_lines(frame)


def _row(seed, group, measure, error, confidence):
    runs, left_out = usable(group, measure.column, error)
    within = statistics.within_correlation(runs, measure.column, error, confidence=confidence)
    pooled = statistics.pooled_correlation(seed, runs, measure.column, error)
    values = numbers(runs, measure.column)
    logs = np.log10(np.where(values > 0, values, np.nan)) if measure.log else values
    shown = runs.assign(**{measure.column: logs})[np.isfinite(logs)]
    columns = (shown, measure.column, error)
    plain = (numbers(shown, measure.column), numbers(shown, error))
    return {
        "family": measure.family,
        "measure": measure.label,
        "column": measure.column,
        "correlation": within,
        **_within_cells(within),
        "permutation_p": statistics.within_p_value(seed, runs, measure.column, error),
        "within_pearson": statistics.within_estimate(*columns, "pearson"),
        "within_kendall": statistics.within_estimate(*columns, "kendall"),
        "pooled": pooled.estimate,
        "pooled_low": pooled.low,
        "pooled_high": pooled.high,
        "pooled_basis": pooled.basis,
        "pooled_pearson": statistics.pooled_estimate(*plain, "pearson"),
        "pooled_kendall": statistics.pooled_estimate(*plain, "kendall"),
        "runs": len(runs),
        "left_out": left_out,
        "p": np.nan,
    }


def _increment(group, error, baselines):
    runs, left_out = usable(group, LOG_VOLUME.column, error, *baselines)
    within = statistics.within_correlation(runs, LOG_VOLUME.column, error, given=baselines)
    return {
        "family": "increment",
        "measure": "log V beyond all baselines",
        "column": LOG_VOLUME.column,
        "correlation": within,
        **_within_cells(within),
        "runs": len(runs),
        "left_out": left_out,
    }


def _within_cells(within):
    return {
        "within": within.estimate,
        "within_low": within.low,
        "within_high": within.high,
        "confidence": within.confidence,
        "draws": within.draws,
        "undefined": within.undefined,
        "basis": within.basis,
        "within_runs": within.runs,
    }


def _judge(row, measure, scale, error_name):
    direction = "negatively" if measure.sign < 0 else "positively"
    claim = f"{row['optimizer']}: {measure.label} correlates {direction} with the error"
    note = "E2 is empty: error on E1, which log V has seen" if error_name == "E1" else ""
    judged = verdicts.correlates(claim, row["correlation"], measure.sign, scale, note)
    p = comparison.threshold_p_value(row["correlation"], measure.sign, verdicts.CORRELATES_BEYOND)
    return {"claim": claim, "p": p, "verdict": judged.verdict, "reason": judged.reason}


def _interval(estimate, low, high):
    if not np.isfinite(estimate):
        return "—"
    ends = f"[{low:+.2f}, {high:+.2f}]" if np.isfinite([low, high]).all() else "[—]"
    return f"{estimate:+.2f} {ends}"
