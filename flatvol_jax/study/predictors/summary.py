"""What predicts the error: each measure over all networks, by hyperparameter, by environment.

Three ways to judge, the same networks: Kendall's τ over all networks of a draw, Jiang et al.'s Ψ
along one hyperparameter at a time and their K beyond any two, Dziugaite et al.'s sign error in the
worst environment. Each has an interval over draws.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.comparison import (
    Difference,
    interval_columns,
    mean_over_draws,
    simultaneous_confidence,
)
from flatvol_jax.study.analysis.conditional_information import least_information, pair_counts
from flatvol_jax.study.analysis.network_pairs import one_factor_pairs
from flatvol_jax.study.analysis.rank_agreement import granulated_taus, overall_taus
from flatvol_jax.study.analysis.sign_errors import environment_errors, pair_errors, worst_error
from flatvol_jax.study.predictors.tables import (
    NAMES,
    PRIMARY,
    Networks,
    level_table,
    level_text,
    networks_of,
)

NO_ANSWER = ("ceiling", "control", "null")  # families that are no answer to what predicts
COIN = 0.5
CLAIMS = 3 * len(PRIMARY) + 1
BETTER_THAN_A_COIN = verdicts.Criterion(-np.inf, COIN, "< 0.5 in every environment")


class Summary(NamedTuple):
    """Hold what the records say.

    Attributes:
        measures: a row a measure: tau, granulated, information, worst (each with _low and _high),
            given, environment, all_pairs, networks.
        factors: a row a measure, a column a hyperparameter: mean ψ over draws.
        environments: a row a measure and environment: its sign error, and `alike`, that of pairs
            without weights.
        levels: a row a hyperparameter and level: the error there.
        claims: a row a claim, judged.
        networks: rows that enter.
        left_out: rows that do not, by reason.
        draws: how many.
    """

    measures: pd.DataFrame
    factors: pd.DataFrame
    environments: pd.DataFrame
    levels: pd.DataFrame
    claims: pd.DataFrame
    networks: int
    left_out: dict[str, int]
    draws: int

    @property
    def judged_environments(self) -> int:
        """Return in how many environments enough pairs differ by more than chance."""
        known = self.environments[np.isfinite(self.environments["error"])]
        return known["environment"].nunique()

    @property
    def unjudged(self) -> list[str]:
        """Return the environments where no measure has a sign error, while others have one."""
        known = self.environments.groupby("environment", sort=False)["error"].count()
        return list(known.index[known == 0]) if known.any() else []

    @property
    def sentence(self) -> str:
        """Say which measure predicts."""
        return first_sentence(self)

    @property
    def lines(self) -> list[str]:
        """Return the first sentence, a line a measure, a line a claim."""
        return [self.sentence, *map(_measure_line, _rows(self.measures)), *_claim_lines(self)]


def summarised(frame: pd.DataFrame) -> Summary:
    """Judge all measures of the records.

    Raises:
        ValueError: records of another experiment, or without two networks that fit S.
    """
    networks = networks_of(frame)
    if len(networks.rows) < 2 or not networks.factors:
        raise ValueError(
            f"frame: got {len(networks.rows)} networks that fit S and {len(networks.factors)} "
            "hyperparameters that vary, wanted at least two and one. Left out: "
            f"{networks.left_out or 'none'}."
        )
    pairs = one_factor_pairs(networks.rows, networks.factors)
    rows, psis, environments = [], [], []
    for measure in networks.measures:
        row, psi, own = _judged_measure(networks, measure, pairs)
        rows.append(row)
        psis.append(psi)
        environments.append(own)
    table = pd.DataFrame(rows)
    order = table.sort_values(["worst", "granulated"], ascending=[True, False]).index
    claims = claim_table(networks, pairs, frame["meta.scale"].iloc[0])
    return Summary(
        table.loc[order].reset_index(drop=True),
        pd.DataFrame([psis[place] for place in order]),
        pd.concat([environments[place] for place in order], ignore_index=True),
        level_table(networks),
        claims,
        len(networks.rows),
        networks.left_out,
        networks.rows[col.DRAW].nunique(),
    )


def _judged_measure(
    networks: Networks, measure: col.Column, pairs: pd.DataFrame
) -> tuple[dict[str, Any], dict[str, Any], pd.DataFrame]:
    """Return a measure's row, its ψ by hyperparameter, its sign errors by environment."""
    rows, name, factors = networks.rows, measure.name, networks.factors
    psi = granulated_taus(rows, name, "error", factors)
    information, given = least_information(pair_counts(rows, name, "error", factors))
    weighted = pair_errors(rows, name, "error", factors, networks.inputs, pairs)
    environments = _environments(weighted)
    alike = pair_errors(rows, name, "error", factors, None, pairs)
    row = {
        "measure": measure.label,
        "column": name,
        "family": measure.family,
        **interval_columns("tau", mean_over_draws(overall_taus(rows, name, "error"))),
        **interval_columns("granulated", mean_over_draws(psi.mean(axis=1))),
        **interval_columns("information", information),
        "given": " and ".join(NAMES[factor] for factor in given) or "nothing",
        "networks": int(np.isfinite(rows[name]).sum()),
        "mean_error": environments["error"].mean(),
        "all_pairs": alike["sign_error"].mean(),
    }
    row |= interval_columns("worst", worst_error(weighted))
    known = environments[np.isfinite(environments["error"])]
    row["environment"] = known.loc[known["error"].idxmax(), "environment"] if len(known) else "none"
    unweighted = environment_errors(alike)
    environments = environments.assign(
        **{f"alike{end}": unweighted[f"error{end}"] for end in ("", "_low", "_high")}
    )
    place = {"measure": measure.label, "column": name}
    means = {factor: psi[factor].mean() for factor in factors}
    return row, {**place, **means}, environments.assign(**place)


def _environments(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return sign errors by environment, each with its name."""
    found = environment_errors(pairs)
    names = [
        f"{NAMES[factor]} {level_text(low)} to {level_text(high)}"
        for factor, low, high in zip(found["factor"], found["low"], found["high"], strict=True)
    ]
    return found.assign(environment=names)


def claim_table(networks: Networks, pairs: pd.DataFrame, scale: str | None) -> pd.DataFrame:
    """Judge the primary measures, over draws, by the rules; all intervals hold together at 95%.

    τ and Ψ are to lie beyond 0.3, the limit that the rules have for a correlation; a τ is smaller
    than the ρ of the same networks. A row a claim: name, estimate, low, high, asked, verdict.
    """
    confidence, correlates = simultaneous_confidence(CLAIMS), verdicts.correlates(1)
    correlates = correlates._replace(text=correlates.text.replace("ρ", "τ"))
    by_draw = {
        measure: _taus_by_draw(networks, measure)
        for measure in (*PRIMARY, col.CEILING)
        if measure in networks.measures
    }
    asked = ("all networks (τ)", "a hyperparameter at a time (Ψ)")
    limits = [mean_over_draws(taus, confidence).low for taus in by_draw.get(col.CEILING, ())]
    found: list[tuple[str, verdicts.Criterion, Difference, float | None]] = []
    for measure in (measure for measure in PRIMARY if measure in by_draw):
        label, name, rows = measure.label, measure.name, networks.rows
        # Rule 3: what depends on the labels on E1 cannot say more than the error there does.
        seen = measure == col.GIVEN_TRAIN and limits
        ceilings: Sequence[float | None] = limits if seen else (None, None)
        for what, taus, ceiling in zip(asked, by_draw[measure], ceilings, strict=True):
            value = mean_over_draws(taus, confidence)
            found.append((f"{label} correlates, {what}", correlates, value, ceiling))
        weighted = pair_errors(rows, name, "error", networks.factors, networks.inputs, pairs)
        worst = worst_error(weighted, confidence)
        found.append((f"{label} beats a coin everywhere", BETTER_THAN_A_COIN, worst, None))
    if all(measure in by_draw for measure in PRIMARY):
        first, second = (by_draw[measure][1] for measure in PRIMARY)
        gap = mean_over_draws(first - second, confidence)
        name = f"{PRIMARY[0].label} predicts better than {PRIMARY[1].label} (Ψ)"
        found.append((name, verdicts.exceeds(0.0), gap, None))
    rows = []
    for name, criterion, value, ceiling in found:
        judged = verdicts.judge(criterion, value, scale, ceiling=ceiling)
        ends = {"estimate": value.estimate, "low": value.low, "high": value.high}
        rows.append({"name": name, **ends, "draws": value.draws, "asked": criterion.text})
        rows[-1] |= judged._asdict()
    return pd.DataFrame(rows)


def _taus_by_draw(networks: Networks, measure: col.Column) -> tuple[pd.Series, pd.Series]:
    """Return by draw a measure's τ over all networks, and its Ψ."""
    rows, name = networks.rows, measure.name
    psi = granulated_taus(rows, name, "error", networks.factors)
    return overall_taus(rows, name, "error"), psi.mean(axis=1)


def first_sentence(summary: Summary) -> str:
    """Say which measure orders networks best, what the primary ones do, which are robust."""
    table, judged = summary.measures, summary.judged_environments
    asked = table[~table["family"].isin(NO_ANSWER)]
    best = asked.loc[asked["granulated"].idxmax()]
    robust = asked[asked["worst_high"] < COIN]["measure"]
    found = [
        f"Of networks that differ in one hyperparameter, {best['measure']} orders the errors best: "
        f"Ψ = {best['granulated']:+.2f}, where 1 is always right and 0 is chance "
        f"({summary.networks} networks, {summary.draws} draw{'s' * (summary.draws != 1)} of S)."
    ]
    for measure in PRIMARY:
        own = table[table["column"] == measure.name]
        if len(own):
            row = own.iloc[0]
            worst = "too few pairs differ by more than chance in any environment"
            if np.isfinite(row["worst"]):
                worst = f"it is wrong about {row['worst']:.0%} of pairs in its worst environment "
                worst += f"({row['environment']})"
            found.append(f"{row['measure']} has Ψ = {row['granulated']:+.2f}; {worst}.")
    if judged:
        names = f"{len(robust)} measures"
        if len(robust) < 4:
            names = ", ".join(robust) or "No measure"
        verb = "are" if len(robust) > 1 else "is"
        where = f"all {judged} environments" if judged > 1 else "the one environment"
        found.append(f"{names} {verb} better than a coin in {where}.")
    return " ".join(text[0].upper() + text[1:] for text in found)


def _rows(table: pd.DataFrame) -> Sequence[dict[str, Any]]:
    return table.to_dict("records")


def _measure_line(row: dict[str, Any]) -> str:
    tau, psi = (
        verdicts.interval_text(row[name], row[f"{name}_low"], row[f"{name}_high"])
        for name in ("tau", "granulated")
    )
    worst = f"{row['worst']:.0%} ({row['environment']})" if np.isfinite(row["worst"]) else "none"
    return f"  {row['measure']:32} τ {tau:22} Ψ {psi:22} K {row['information']:.2f}  worst {worst}"


def _claim_lines(summary: Summary) -> list[str]:
    lines = []
    for row in _rows(summary.claims):
        number = verdicts.interval_text(row["estimate"], row["low"], row["high"])
        lines.append(f"  {row['name']}: {number}; {row['verdict']}")
    return lines
