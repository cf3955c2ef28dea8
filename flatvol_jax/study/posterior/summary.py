"""Records of the posterior experiment -> accuracies by |S|, gaps, verdicts over draws, a sentence.

The gap is the accuracy of trained networks minus that of a random network of infinite width and
the same depth that fits the same S, in points (percent of the digits of E).
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.comparison import (
    Difference,
    interval_columns,
    mean_over_draws,
    simultaneous_confidence,
)
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.posterior.published import PELEG_HEIN, SIZE

PART, DRAW, SIZES, DEPTH, FACTOR = (
    *("meta.part", "hp.draw", "hp.train_size"),
    *("hp.depth", "hp.width_factor"),
)
OPTIMIZER, BASE, ACCURACY, VOTE = (
    *("hp.train.optimizer", "is.base"),
    *("measure.accuracy", "measure.accuracy.vote"),
)
MATCHED, SLOPE = "measure.gap.matched", "measure.slope.margin"
SAME_VOTE = 2.0  # points within which trained networks and the vote are called equal


def part_of(frame: pd.DataFrame, part: str, **wanted: Any) -> pd.DataFrame:
    """Return the rows of a part; `base=True` those of the base network, `optimizer=` its name."""
    rows = frame[frame[PART] == part]
    if "base" in wanted:
        rows = rows[rows[BASE].astype(bool)]
    return rows[rows[OPTIMIZER] == wanted["optimizer"]] if "optimizer" in wanted else rows


def first_optimizer(frame: pd.DataFrame) -> str:
    """Return the optimizer that trained every network, the one that is judged."""
    trained = part_of(frame, "trained")
    return trained.groupby(OPTIMIZER, sort=False)[DEPTH].size().idxmax() if len(trained) else "sgd"


def gap_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a trained piece: draw, size, depth, factor, optimizer, base; gap, vote_gap.

    Both are in points: against a random network that fits S, and against the vote of such. NaN
    where no network reached zero error.
    """
    keys = [DRAW, SIZES, DEPTH]
    infinite = part_of(frame, "infinite")[[*keys, ACCURACY, VOTE]]
    trained = part_of(frame, "trained").drop(columns=VOTE, errors="ignore")
    both = trained.merge(infinite, on=keys, suffixes=("", ".random"))
    values = both[[ACCURACY, f"{ACCURACY}.random", VOTE]].to_numpy(np.float64)
    return pd.DataFrame(
        {
            "draw": both[DRAW],
            "size": both[SIZES],
            "depth": both[DEPTH],
            "factor": both[FACTOR],
            "optimizer": both[OPTIMIZER],
            "base": both[BASE].astype(bool),
            "gap": 100 * (values[:, 0] - values[:, 1]),
            "vote_gap": 100 * (values[:, 0] - values[:, 2]),
        }
    )


def slopes(table: pd.DataFrame, by: str, scale: Callable[[Any], Any] = np.log2) -> np.ndarray:
    """Return of each draw the least-squares slope of its gap over scale(by), (draws,).

    Gaps of one value of `by` are averaged, over the |S| that all values have. NaN with one value.
    """
    found = []
    for _, own in table.groupby("draw"):
        own = own[np.isfinite(own["gap"])]
        shared = own.groupby("size")[by].transform("nunique") == own[by].nunique()
        mean = (own if by == "size" else own[shared]).groupby(by)["gap"].mean()
        x = scale(mean.index.to_numpy(np.float64))
        found.append(np.polyfit(x, mean.to_numpy(), 1)[0] if len(mean) > 1 else np.nan)
    return np.array(found)


def claim_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Judge what is asked, over draws, by the rules; all intervals hold together at 95%.

    The family is what the networks of the study allow: |S|, the width and the depth where they
    vary, the margin where overtrained networks stand beside guessed ones. It does not depend on
    what was found.

    A row a claim: name, estimate, low, high (points), draws, family, verdict, reason.
    """
    table = gap_table(frame)
    table = table[table["optimizer"] == first_optimizer(frame)]
    base = table[table["base"]]
    by_draw = base.groupby("draw")[["gap", "vote_gap"]].mean()
    widths, depths = _most_levels(table, "factor", "depth"), _most_levels(table, "depth", "factor")
    positive = verdicts.exceeds(0.0)
    claims = [
        ("is better than a random network that fits S", by_draw["gap"], positive),
        ("equals the vote of such networks", by_draw["vote_gap"], verdicts.within(SAME_VOTE)),
    ]
    if base["size"].nunique() > 1:
        claims.append(("gap narrows, a doubling of |S|", -slopes(base, "size"), positive))
    if widths["factor"].nunique() > 1:
        narrows = -slopes(widths, "factor")
        claims.append(("gap narrows, a doubling of the width", narrows, positive))
    if depths["depth"].nunique() > 1:
        narrows = -slopes(depths, "depth", np.asarray)
        claims.append(("gap narrows, a layer more", narrows, positive))
    if len(part_of(frame, "overtrained")):
        better, gain = _matched_gaps(frame), _slopes_over_margin(frame)
        claims.append(("is better than guessed networks of its margin", better, positive))
        claims.append(("guessed networks gain, a doubling of the margin", gain, positive))
    confidence = simultaneous_confidence(len(claims))
    scale = frame["meta.scale"].iloc[0]
    rows = []
    for name, values, criterion in claims:
        found = mean_over_draws(np.asarray(values), confidence)
        judged = verdicts.judge(criterion, found, scale)
        words = {"asked": criterion.text, "family": len(claims), **judged._asdict()}
        rows.append({"name": name, **_estimate(found), **words})
    return pd.DataFrame(rows)


def _most_levels(table: pd.DataFrame, varied: str, kept: str) -> pd.DataFrame:
    """Return the rows of the value of `kept` at which `varied` has most levels, the base first."""
    base = table[table["base"]][kept].iloc[0] if table["base"].any() else np.nan
    levels = table.groupby(kept)[varied].nunique()
    best = levels[levels == levels.max()].index
    return table[table[kept] == (base if base in best else best[0] if len(best) else np.nan)]


def _matched_gaps(frame: pd.DataFrame) -> np.ndarray:
    """Return of each draw the gap at equal margin, points, mean over matched trained networks."""
    over = part_of(frame, "overtrained")
    gaps = pd.to_numeric(over[MATCHED]).to_numpy(np.float64)
    weights = np.where(np.isnan(gaps), 0, pd.to_numeric(over["measure.networks.matched"]))
    sums = pd.DataFrame({"gap": np.nan_to_num(gaps) * weights, "weight": weights})
    by_draw = sums.groupby(over[DRAW].to_numpy()).sum()
    return 100 * (by_draw["gap"] / by_draw["weight"].replace(0, np.nan)).to_numpy(np.float64)


def _slopes_over_margin(frame: pd.DataFrame) -> np.ndarray:
    """Return of each draw the mean slope of the accuracy of guessed networks, points a doubling."""
    guessed = part_of(frame, "guessed")
    slope = pd.to_numeric(guessed[SLOPE])
    return 100 * slope.groupby(guessed[DRAW]).mean().to_numpy(np.float64)


def size_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row a |S| of the base network, means over draws with 95% t intervals.

    Columns: size, draws; of random, vote, guessed and each optimizer NAME, NAME_low, NAME_high
    (fractions); gap with its ends (points); log_volume of P(S) an example, nats; bound; sampling,
    the largest standard error of random; certified, of so many draws.
    """
    columns: dict[str, tuple[pd.DataFrame, str]] = {
        "random": (part_of(frame, "infinite", base=True), ACCURACY),
        "vote": (part_of(frame, "infinite", base=True), VOTE),
        "guessed": (part_of(frame, "guessed", base=True), ACCURACY),
        "bound": (part_of(frame, "infinite", base=True), "measure.bound"),
    }
    for name in part_of(frame, "trained")[OPTIMIZER].dropna().unique():
        columns[name] = (part_of(frame, "trained", base=True, optimizer=name), ACCURACY)
    gaps = gap_table(frame)
    gaps = gaps[gaps["base"] & (gaps["optimizer"] == first_optimizer(frame))]
    rows = []
    for size, own in part_of(frame, "infinite", base=True).groupby(SIZES):
        row = {"size": int(size), "draws": own[DRAW].nunique()}
        for name, (part, column) in columns.items():
            row |= _estimate(_mean(part[part[SIZES] == size][column]), name)
        row |= _estimate(_mean(gaps[gaps["size"] == size]["gap"]), "gap")
        row["log_volume"] = float(own["measure.log_volume"].mean() / size)
        row["sampling"] = float(own["measure.accuracy.se"].max())
        row["certified"] = int(own["is.certified"].sum())
        rows.append(row)
    return pd.DataFrame(rows)


def network_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row an |S|, depth and width: trained and guessed accuracy, random, the gap, fits."""
    table, rows = gap_table(frame), []
    table = table[table["optimizer"] == first_optimizer(frame)]
    for (size, depth, factor), own in table.groupby(["size", "depth", "factor"]):
        row = {"size": int(size), "depth": int(depth), "factor": float(factor)}
        for part in ("trained", "guessed", "infinite"):
            rows_of = part_of(frame, part)
            if part == "trained":
                rows_of = part_of(frame, part, optimizer=first_optimizer(frame))
            rows_of = rows_of[(rows_of[SIZES] == size) & (rows_of[DEPTH] == depth)]
            if part != "infinite":
                rows_of = rows_of[np.isclose(rows_of[FACTOR].astype(float), factor)]
            row |= _estimate(_mean(rows_of[ACCURACY]), part)
            if part == "guessed":
                row["fitting"] = int(rows_of["measure.fitting"].sum()) if len(rows_of) else 0
        rows.append(row | _estimate(_mean(own["gap"]), "gap"))
    return pd.DataFrame(rows)


def margin_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a row an |S|, depth, width and epoch beyond zero error, of overtrained networks.

    Columns: size, depth, factor, after; trained (accuracy), gap (points, against guessed networks
    of the same margin), each with its interval over draws; log_margin, the mean of log γ minus
    that of the guessed networks; networks; matched, those whose margin guessed networks have.
    """
    rows, guessed = [], part_of(frame, "guessed")
    over = part_of(frame, "overtrained")
    for (size, depth, factor, after), own in over.groupby([SIZES, DEPTH, FACTOR, "hp.train.after"]):
        same = (guessed[SIZES] == size) & (guessed[DEPTH] == depth)
        theirs = guessed[same & np.isclose(guessed[FACTOR].astype(float), factor)]
        row = {"size": int(size), "depth": int(depth), "factor": float(factor), "after": int(after)}
        row |= _estimate(_mean(own[ACCURACY]), "trained")
        row |= _estimate(_mean(100 * pd.to_numeric(own[MATCHED])), "gap")
        row["log_margin"] = _mean(own["measure.log_margin"]).estimate
        row["log_margin"] -= _mean(theirs["measure.log_margin"]).estimate
        row["networks"] = int(own["measure.fitting"].sum())
        row["matched"] = int(own["measure.networks.matched"].sum())
        rows.append(row)
    return pd.DataFrame(rows)


def published_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the published rows beside ours, of the records' digits; empty of other records.

    `later` is the accuracy of our networks at the last epoch beyond zero error, `after`, where
    that was measured.
    """
    groups, ours = frame["hp.data.groups"].iloc[0], network_table(frame)
    margins = margin_table(frame)
    if len(margins):
        last = margins[margins["after"] == margins["after"].max()]
        named = {name: name.replace("trained", "later") for name in margins if "trained" in name}
        keys = ["size", "depth", "factor"]
        ours = ours.merge(last[[*keys, "after", *named]].rename(columns=named), on=keys, how="left")
    rows = []
    for line in PELEG_HEIN:
        same = (ours["depth"] == line.depth) & np.isclose(ours["factor"], line.factor)
        found = ours[same & (ours["size"] == SIZE)]
        if line.groups == groups and len(found):
            said = {"said_guessed": line.guessed, "said_sgd": line.sgd}
            rows.append({**found.iloc[0].to_dict(), **said})
    return pd.DataFrame(rows)


def first_sentence(frame: pd.DataFrame) -> str:
    """Say how many unseen digits each gets right at the largest |S| where both are known."""
    table, name = size_table(frame), first_optimizer(frame)
    if name in table:
        table = table[table[name].notna()]
    if not len(table) or name not in table:
        return "No network was trained to zero error."
    row = table.iloc[-1]
    draws = int(row["draws"])
    return (
        f"At |S| = {int(row['size'])}, {OPTIMIZERS.get(name, name)}'s network is right on "
        f"{row[name]:.1%} of unseen digits, a random network that fits S on {row['random']:.1%}, "
        f"a vote of such on {row['vote']:.1%} ({draws} draw{'s' * (draws != 1)} of S)."
    )


def posterior_summary(frame: pd.DataFrame) -> list[str]:
    """Return the first sentence, then a line a claim."""
    lines = [first_sentence(frame)]
    for row in claim_table(frame).itertuples():
        ends = f" [{row.low:+.2f}, {row.high:+.2f}]" if np.isfinite(row.low) else ""
        known = np.isfinite(row.estimate)
        value = f"{row.estimate:+.2f}{ends} points" if known else "no draw has a value"
        lines.append(f"  {row.name}: {value}; {row.verdict}")
    return lines


def _mean(values: Iterable[Any]) -> Difference:
    return mean_over_draws(pd.to_numeric(pd.Series(values)).to_numpy(np.float64))


def _estimate(found: Difference, name: str = "") -> dict[str, float]:
    """Return mean and ends of the interval, NAME, NAME_low and NAME_high."""
    if not name:
        ends = {"estimate": found.estimate, "low": found.low, "high": found.high}
        return {**ends, "draws": found.draws}
    return interval_columns(name, found)
