"""Claims on one network followed through time, from the records of the temporal study."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.claim import Evidence, PaperClaim, evidence, judged
from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import statistics, verdicts
from flatvol_jax.study.analysis.comparison import mean_over_draws, simultaneous_confidence
from flatvol_jax.study.analysis.verdicts import RELAXED

WHO = "FCN on MNIST, SGD"
FALLS, STAYS = verdicts.correlates(-1), verdicts.within(RELAXED)
LEAPS = verdicts.exceeds(0)
CONTINUES = verdicts.within(0.1)  # of log10 sharpness: a quarter of the value
SIGN_ALONE = "of the sign alone: the rules have no threshold for a ratio"
Claims = Iterator[PaperClaim]


def temporal_claims(frame: pd.DataFrame, scale: str | None) -> Claims:
    """Yield the claims on the course of sharpness and log V, and on what alpha-scaling does to it.

    Args:
        frame: records of one temporal study with at least one scaled branch; ten draws for
            verdicts.
        scale: of the study; without "cpu" or "paper" there is no verdict.
    """
    frame = frame.assign(**{col.EPOCH: col.numbers(frame, col.EPOCH)})
    for name in (col.EVENT_EPOCH, col.ZERO_EPOCH):  # rows before it do not know it yet
        known = pd.Series(col.numbers(frame, name), frame.index)
        frame[name] = known.groupby(frame[col.RUN]).transform("max")
    reached = frame[np.isfinite(frame[col.EVENT_EPOCH])]
    plain = reached[reached[col.TRANSFORM] == "none"]
    base = plain[plain[col.EPOCH] <= plain[col.EVENT_EPOCH]]
    unscaled = plain[plain[col.EPOCH] > plain[col.EVENT_EPOCH]]
    who = f"{WHO}, {_rate(frame)}"
    yield from _claims_until_zero_error(base, who, scale)
    yield from _claims_beyond_zero_error(base, who, scale)
    branches = [name for name in reached[col.TRANSFORM].unique() if name != "none"]
    for branch in branches:
        rows = reached[reached[col.TRANSFORM] == branch]
        who = f"{WHO}, {branch_name(rows)}"
        yield from _scaling_claims(base, rows, who, len(branches), scale)
        if len(unscaled):
            yield _later_claim(unscaled, rows, who, len(branches), scale)


def branch_name(rows: pd.DataFrame) -> str:
    """Name a branch: W1 × 6 or W1 / 6, with the next layer the other way round."""
    layer, alpha = int(rows[col.LAYER].iloc[0]), float(rows[col.ALPHA].iloc[0])
    by = f"× {alpha:g}" if alpha >= 1 else f"/ {1 / alpha:g}"
    return f"W{layer} {by}"


def _claims_until_zero_error(base: pd.DataFrame, who: str, scale: str | None) -> Claims:
    learning = base[base[col.EPOCH] <= base[col.ZERO_EPOCH]]
    for measure in (col.SHARPNESS, col.LOG_VOLUME):
        first, last = _ends(learning, measure)
        says = f"{measure.label} falls from initialisation to zero error"
        label = f"{measure.label} at zero error over that at initialisation"
        ratio = evidence(label, mean_over_draws(last / first))
        yield _fall_claim("fall", learning, measure, who, says, scale)._replace(evidence=(ratio,))


def _claims_beyond_zero_error(base: pd.DataFrame, who: str, scale: str | None) -> Claims:
    fitted = base[base[col.EPOCH] >= base[col.ZERO_EPOCH]]
    epochs = int((fitted[col.EVENT_EPOCH] - fitted[col.ZERO_EPOCH]).max()) if len(fitted) else 0
    says = f"{col.SHARPNESS.label} falls over the {epochs} epochs after zero error"
    yield _fall_claim("overtraining", fitted, col.SHARPNESS, who, says, scale)
    first, last = _ends(fitted, col.LOG_VOLUME)
    found = mean_over_draws(last / first - 1, simultaneous_confidence(2))
    label = "log V then over log V at zero error, minus 1"
    says = f"log V is the same after {epochs} epochs"
    yield PaperClaim("stays", who, says, STAYS.text, 2, judged(STAYS, label, found, scale))


def _fall_claim(
    sentence: str, rows: pd.DataFrame, measure: col.Column, who: str, says: str, scale: str | None
) -> PaperClaim:
    confidence = simultaneous_confidence(2)
    found = statistics.correlation(rows, measure.name, col.EPOCH, confidence=confidence)
    label = f"{measure.label} and epoch: Spearman's ρ"
    reading = judged(FALLS, label, found, scale, what="epochs")
    return PaperClaim(sentence, who, says, FALLS.text, 2, reading)


def _scaling_claims(
    base: pd.DataFrame, rows: pd.DataFrame, who: str, branches: int, scale: str | None
) -> Claims:
    """Judge sharpness right after scaling against what it was, and log V at the end."""
    family, confidence = 2 * branches, simultaneous_confidence(2 * branches)
    before = _one_a_draw(base[base[col.EPOCH] == base[col.EVENT_EPOCH]])
    after, end = _one_a_draw(rows[rows["meta.event"] == "after"]), _one_a_draw(rows, last=True)
    ratio = np.log10(after[col.SHARPNESS.name] / before[col.SHARPNESS.name])
    found = mean_over_draws(ratio, confidence)
    label = "log10 of sharpness right after scaling over that before"
    leap = judged(LEAPS, label, found, scale, SIGN_ALONE)
    yield PaperClaim("spike", who, "scaling makes sharpness leap up", LEAPS.text, family, leap)
    column = col.LOG_VOLUME.name
    highest = rows.groupby(col.DRAW)[column].max() / before[column] - 1
    labels = int(rows[col.TRAIN_SIZE].iloc[0] + rows[col.TEST_SIZE].iloc[0])
    returns = judged(
        STAYS,
        "log V at the end over log V before scaling, minus 1",
        mean_over_draws(end[column] / before[column] - 1, confidence),
        scale,
        "right after scaling f and so log V are the same in "
        f"{col.flagged(after, col.UNCHANGED).sum()} of {len(after)}",
    )
    beside = [
        evidence("highest log V afterwards over that before, minus 1", mean_over_draws(highest))
    ]
    for when, values in (
        ("at most", rows.groupby(col.DRAW)[col.DIFFERS].max()),
        ("at the end", end[col.DIFFERS]),
    ):
        says = f"labels that differ from f{',' * (when == 'at most')} {when}, median over draws"
        median = float(np.median(values.to_numpy(float))) if len(values) else np.nan
        beside.append(Evidence(says, median, note=f"of {labels} labels"))
    says = "log V comes back to what it was"
    yield PaperClaim("returns", who, says, STAYS.text, family, returns, evidence=tuple(beside))


def _later_claim(
    unscaled: pd.DataFrame, rows: pd.DataFrame, who: str, branches: int, scale: str | None
) -> PaperClaim:
    """Judge the sharpness at the last epoch of a branch against that of the unscaled network."""
    one, other = (_one_a_draw(part, last=True) for part in (rows, unscaled))
    epochs = int((one[col.EPOCH] - one[col.EVENT_EPOCH]).max())
    ratio = np.log10(one[col.SHARPNESS.name] / other[col.SHARPNESS.name])
    found = mean_over_draws(ratio, simultaneous_confidence(branches))
    says = f"{epochs} epochs after scaling sharpness is that of the network that was not scaled"
    reading = judged(CONTINUES, "log10 of their ratio", found, scale)
    return PaperClaim("continues", who, says, CONTINUES.text, branches, reading)


def _rate(frame: pd.DataFrame) -> str:
    rows = frame[["hp.train.learning_rate", "hp.train.loss"]].dropna()
    rate, loss = rows.iloc[0] if len(rows) else (np.nan, "")
    return f"{rate:g} on the {'summed' if loss == 'sum' else loss} loss"


def _one_a_draw(rows: pd.DataFrame, last: bool = False) -> pd.DataFrame:
    """Return by draw the first or the last row of its first network."""
    return rows.sort_values(col.EPOCH).groupby(col.DRAW).nth(-1 if last else 0).set_index(col.DRAW)


def _ends(rows: pd.DataFrame, measure: col.Column) -> tuple[pd.Series, pd.Series]:
    """Return by draw the first and the last value of a measure."""
    ends = rows.sort_values(col.EPOCH).groupby(col.DRAW)[measure.name].agg(["first", "last"])
    return ends["first"], ends["last"]
