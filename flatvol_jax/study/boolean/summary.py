"""The records of the Boolean experiment in a few lines of text."""

import numpy as np
import pandas as pd
from scipy.stats import chi2

from flatvol_jax.study.analysis import statistics
from flatvol_jax.study.analysis.columns import LOG_VOLUME, OVERTRAIN, PART, SHARPNESS, numbers
from flatvol_jax.study.boolean.figures import (
    ESTIMATE,
    FUNCTION,
    MINORITY,
    VOLUME,
    at_epoch,
    epochs_of,
    part,
)
from flatvol_jax.study.boolean.posterior_figure import posterior_table
from flatvol_jax.study.report.formatting import correlation


def boolean_summary(frame: pd.DataFrame) -> list[str]:
    """Say what was sampled, how theory compares, how flatness correlates at each epoch."""
    functions = frame[frame[PART] == "function"]
    first = functions[functions[OVERTRAIN] == functions[OVERTRAIN].min()]
    return [
        *_sample_lines(frame, first),
        *_theory_lines(first),
        *[_flatness_line(rows, epoch) for epoch, rows in functions.groupby(OVERTRAIN)],
    ]


def boolean_sentence(frame: pd.DataFrame) -> str:
    """Say in a sentence how volume and sharpness go together, and how an optimizer samples.

    Args:
        frame: records, the rows of all parts.
    """
    functions, parts, texts = part(frame, "function"), [], []
    for epoch in epochs_of(functions):
        known, rho = _flatness_correlation(at_epoch(functions, epoch))
        if len(known) > 2:
            when = f"after {epoch:g} more epochs" if epoch else "at zero error"
            texts.append(f"{correlation(rho)} over {len(known)} functions {when}")
    if texts:
        parts.append(f"Spearman's ρ of volume and sharpness is {', '.join(texts)}")
    table = posterior_table(frame)
    if len(table) and "variation" in table:
        known = table[table["variation"].notna() & table["high"].notna()]
        apart = int((known["variation"] > known["high"]).sum())
        parts.append(
            f"in {apart} of {len(known)} comparisons an optimizer's functions are further from the "
            "posterior than samples of the posterior are"
        )
    text = "; ".join(parts) or f"the records have {len(functions)} functions and no minima of them"
    return f"{text[0].upper()}{text[1:]}."


def constants_share(functions: pd.DataFrame, samples: int) -> tuple[float, float]:
    """Return the share of the samples that are constant, and its binomial standard error."""
    share = functions.loc[functions[MINORITY] == 0, "measure.count"].sum() / samples
    return share, np.sqrt(share * (1 - share) / samples)


def complement_test(functions: pd.DataFrame, inputs: int) -> tuple[float, int]:
    """Return χ² of V(f) = V(not f) over the pairs of which both are recorded, and their number.

    Given the sum of both counts, their difference has the sum as its variance.
    """
    counts = dict(zip(functions[FUNCTION], functions["measure.count"], strict=True))
    used = 2**inputs - 1
    pairs = []
    for name, count in counts.items():
        other = _complement(name, used)
        if name < other and other in counts:
            pairs.append((count, counts[other]))
    one, two = np.array(pairs, float).reshape(-1, 2).T
    return float(np.sum((one - two) ** 2 / (one + two))), len(pairs)


def _complement(name: str, used: int) -> str:
    words = [int(name[place : place + 16], 16) for place in range(0, len(name), 16)]
    masks = [used >> 64 * place & (2**64 - 1) for place in range(len(words))]
    return "".join(f"{word ^ mask:016x}" for word, mask in zip(words, masks, strict=True))


def _sample_lines(frame: pd.DataFrame, functions: pd.DataFrame) -> list[str]:
    rows = frame[frame[PART] == "frequency"]
    samples = int(rows["meta.samples"].iloc[0])
    distinct = int(rows["frequency.functions"].sum())
    share, error = constants_share(functions, samples)
    square, pairs = complement_test(functions, int(functions["meta.inputs"].iloc[0]))
    return [
        f"{samples:,} samples, {distinct:,} functions",
        f"constant functions: {share:.4f} ± {error:.4f} of the samples",
        f"V(f) = V(not f): chi-square {square:.1f} over {pairs} pairs, "
        f"p = {chi2.sf(square, max(pairs, 1)):.2g}",
    ]


def _theory_lines(functions: pd.DataFrame) -> list[str]:
    lines = []
    for name, measure in (("finite network, counted", VOLUME), ("EP", LOG_VOLUME)):
        difference = measure.values(functions) - ESTIMATE.values(functions)
        variance = numbers(functions, f"{ESTIMATE.name}.se") ** 2
        if measure == VOLUME:
            variance = variance + numbers(functions, f"{VOLUME.name}.se") ** 2
        beyond = np.sqrt(max(np.mean(difference**2) - np.mean(variance), 0))
        lines.append(
            f"{name}, against the NNGP's volume: mean {difference.mean():+.3f} nats, "
            f"root mean square beyond the errors {beyond:.3f}, {len(difference)} functions"
        )
    return lines


def _flatness_correlation(rows: pd.DataFrame) -> tuple[pd.DataFrame, float]:
    """Return the functions whose volume and sharpness are known, and Spearman's ρ of the two."""
    known = rows[np.isfinite(VOLUME.values(rows) + SHARPNESS.values(rows))]
    return known, statistics.plain_estimate(VOLUME.values(known), SHARPNESS.values(known))


def _flatness_line(rows: pd.DataFrame, epoch: float) -> str:
    (found, whole), (inner, other) = map(_flatness_correlation, (rows, rows[rows[MINORITY] > 0]))
    one, two = (f"{r:+.2f}" if np.isfinite(r) else "undefined" for r in (whole, other))
    return (
        f"{epoch:g} epochs after zero error, sharpness against volume: Spearman {one} over "
        f"{len(found)} functions, {two} over the {len(inner)} that are not constant"
    )
