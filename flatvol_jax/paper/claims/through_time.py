"""Claims on one network followed through time, from the records of the temporal study."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import (
    Evidence,
    PaperClaim,
    correlates,
    correlates_criterion,
    exceeds,
    of_difference,
    unchanged,
)
from flatvol_jax.study.analysis import comparison, selection, statistics
from flatvol_jax.study.analysis.columns import LOG_VOLUME, SHARPNESS
from flatvol_jax.study.analysis.selection import DRAW
from flatvol_jax.study.temporal.summary import RELAXED

WHO = "FCN on MNIST, SGD"
CONTINUES_WITHIN = 0.1  # of log10 sharpness: a quarter of the value
EPOCH, EVENT, ZERO = "epoch", "measure.epochs.event", "measure.epochs.zero_error"
DIFFERS, BRANCH, SIDE = "measure.function.differs", "transform", "meta.event"


def temporal_claims(frame: pd.DataFrame, scale: str | None) -> Iterator[PaperClaim]:
    """Claims on the course of sharpness and log V, and on what alpha-scaling does to them.

    Args:
        frame: records of one temporal study with at least one scaled branch; ten draws for
            verdicts.
        scale: of the study; without "cpu" or "paper" there is no verdict.
    """
    frame = frame.assign(**{EPOCH: selection.numbers(frame, EPOCH)})
    for name in (EVENT, ZERO):  # rows before it do not know it yet
        known = pd.Series(selection.numbers(frame, name), frame.index)
        frame[name] = known.groupby(frame["run_id"]).transform("max")
    reached = frame[np.isfinite(frame[EVENT])]
    base = reached[(reached[BRANCH] == "none") & (reached[EPOCH] <= reached[EVENT])]
    confidence = comparison.simultaneous_confidence(2)
    yield from _until_zero(frame, base, confidence, scale)
    yield from _beyond_zero(base, confidence, scale)
    branches = [name for name in reached[BRANCH].unique() if name != "none"]
    for branch in branches:
        rows = reached[reached[BRANCH] == branch]
        yield from _leaps(base, rows, branch, len(branches), scale)
        yield from _goes_on(reached, rows, branch, len(branches), scale)


def _until_zero(frame, base, confidence, scale) -> Iterator[PaperClaim]:
    learning = base[base[EPOCH] <= base[ZERO]]
    for measure in (SHARPNESS, LOG_VOLUME):
        ends = _ends(learning, measure.column)
        found = statistics.correlation(learning, measure.column, EPOCH, confidence=confidence)
        yield PaperClaim(
            "fall",
            f"{WHO}, {_rate(frame)}",
            f"{measure.label} falls from initialisation to zero error",
            correlates_criterion(-1),
            2,
            correlates(f"{measure.label} and epoch: Spearman's ρ", found, -1, scale, "epochs"),
            evidence=(
                of_difference(
                    f"{measure.label} at zero error over that at initialisation",
                    comparison.mean_over_draws((ends["last"] / ends["first"]).to_numpy()),
                ),
            ),
        )


def _beyond_zero(base, confidence, scale) -> Iterator[PaperClaim]:
    fitted = base[base[EPOCH] >= base[ZERO]]
    epochs = int((fitted[EVENT] - fitted[ZERO]).max()) if len(fitted) else 0
    found = statistics.correlation(fitted, SHARPNESS.column, EPOCH, confidence=confidence)
    yield PaperClaim(
        "overtraining",
        f"{WHO}, {_rate(base)}",
        f"{SHARPNESS.label} falls over the {epochs} epochs after zero error",
        correlates_criterion(-1),
        2,
        correlates(f"{SHARPNESS.label} and epoch: Spearman's ρ", found, -1, scale, "epochs"),
    )
    ends = _ends(fitted, LOG_VOLUME.column)
    yield PaperClaim(
        "stays",
        f"{WHO}, {_rate(base)}",
        f"log V is the same after {epochs} epochs",
        f"within ±{RELAXED:g}",
        2,
        unchanged(
            "log V then over log V at zero error, minus 1",
            comparison.mean_over_draws((ends["last"] / ends["first"] - 1).to_numpy(), confidence),
            RELAXED,
            scale,
        ),
    )


def _leaps(base, rows, branch, branches, scale) -> Iterator[PaperClaim]:
    """Right after scaling: sharpness against what it was, labels and log V against theirs."""
    who = f"{WHO}, {branch_name(rows)}"
    confidence = comparison.simultaneous_confidence(2 * branches)
    before = _one_a_draw(base[base[EPOCH] == base[EVENT]])
    after, end = _one_a_draw(rows[rows[SIDE] == "after"]), _one_a_draw(rows, last=True)
    ratio = np.log10(after[SHARPNESS.column] / before[SHARPNESS.column])
    yield PaperClaim(
        "spike",
        who,
        "scaling makes sharpness leap up",
        "> 0",
        2 * branches,
        exceeds(
            "log10 of sharpness right after scaling over that before",
            comparison.mean_over_draws(ratio.to_numpy(float), confidence),
            0,
            scale,
            "of the sign alone: the rules have no threshold for a ratio",
        ),
    )
    column = LOG_VOLUME.column
    same = after["is.function_unchanged"].eq(True)
    highest = rows.groupby(DRAW)[column].max() / before[column] - 1
    labels = rows.groupby(DRAW)[DIFFERS].max().to_numpy(float)
    at_the_end = (end[column] / before[column] - 1).to_numpy(float)
    yield PaperClaim(
        "returns",
        who,
        "log V comes back to what it was",
        f"within ±{RELAXED:g}",
        2 * branches,
        unchanged(
            "log V at the end over log V before scaling, minus 1",
            comparison.mean_over_draws(at_the_end, confidence),
            RELAXED,
            scale,
            f"right after scaling f and so log V are the same in {int(same.sum())} of {len(same)}",
        ),
        evidence=(
            of_difference(
                "highest log V afterwards over that before, minus 1",
                comparison.mean_over_draws(highest.to_numpy(float)),
            ),
            Evidence(
                "labels that differ from f, at most, median over draws",
                float(np.median(labels)) if len(labels) else np.nan,
                note=f"of {_labels(rows)}",
            ),
            Evidence(
                "labels that differ from f at the end, median over draws",
                float(np.median(end[DIFFERS].to_numpy(float))) if len(end) else np.nan,
                note=f"of {_labels(rows)}",
            ),
        ),
    )


def _goes_on(reached, rows, branch, branches, scale) -> Iterator[PaperClaim]:
    """At the last epoch of a branch: its sharpness against the one that was not scaled."""
    unscaled = reached[(reached[BRANCH] == "none") & (reached[EPOCH] > reached[EVENT])]
    if not len(unscaled):
        return
    one, other = (_one_a_draw(part, last=True) for part in (rows, unscaled))
    epochs = int((one[EPOCH] - one[EVENT]).max())
    ratio = np.log10(one[SHARPNESS.column] / other[SHARPNESS.column])
    confidence = comparison.simultaneous_confidence(branches)
    yield PaperClaim(
        "continues",
        f"{WHO}, {branch_name(rows)}",
        f"{epochs} epochs after scaling sharpness is that of the network that was not scaled",
        f"within ±{CONTINUES_WITHIN:g}",
        branches,
        unchanged(
            "log10 of their ratio",
            comparison.mean_over_draws(ratio.to_numpy(float), confidence),
            CONTINUES_WITHIN,
            scale,
        ),
    )


def branch_name(rows: pd.DataFrame) -> str:
    """W1 × 6 or W1 / 6, with the next layer the other way round."""
    layer, alpha = int(rows["transform.layer"].iloc[0]), float(rows["transform.alpha"].iloc[0])
    by = f"× {alpha:g}" if alpha >= 1 else f"/ {1 / alpha:g}"
    return f"W{layer} {by}"


def _rate(frame: pd.DataFrame) -> str:
    rows = frame[["hp.train.learning_rate", "hp.train.loss"]].dropna()
    rate, loss = rows.iloc[0] if len(rows) else (np.nan, "")
    return f"{rate:g} on the {'summed' if loss == 'sum' else loss} loss"


def _labels(rows: pd.DataFrame) -> str:
    first = rows.iloc[0]
    return f"{int(first['hp.data.train_size'] + first['hp.data.test_size'])} labels"


def _one_a_draw(rows: pd.DataFrame, last: bool = False) -> pd.DataFrame:
    """By draw, the first or the last row of its first network."""
    return rows.sort_values(EPOCH).groupby(DRAW).nth(-1 if last else 0).set_index(DRAW)


def _ends(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """By draw, the first and the last value of a column."""
    return rows.sort_values(EPOCH).groupby(DRAW)[column].agg(["first", "last"])
