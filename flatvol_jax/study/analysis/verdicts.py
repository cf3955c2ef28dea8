"""The rules of judgement of VERDICTS.md in code: an estimate with its interval -> a verdict."""

import hashlib
from importlib import resources
from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.study.analysis.comparison import Difference
from flatvol_jax.study.analysis.statistics import CONDITIONAL, Correlation

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this scale"
UNDECIDABLE = "undecidable at this |E1|"
NOTHING_TO_BREAK = "nothing to break"
LEAST_DRAWS = 10
SCALES = ("cpu", "paper")  # the scales at which a verdict may be given
CORRELATES_BEYOND = 0.3
BREAKS_BEYOND = 0.2
UNCHANGED_WITHIN = 0.2  # margin of equivalence on Spearman's ρ, as large as what "breaks" exceeds


class Verdict(NamedTuple):
    """A claim, the estimate and simultaneous interval it was judged by, the verdict and why.

    `half_width` is of the interval; `decidable` the smallest estimate that an interval of this
    width would let hold (for "unchanged" the largest difference, NaN where there is none).
    """

    claim: str
    estimate: float
    low: float
    high: float
    confidence: float
    draws: int
    verdict: str
    reason: str
    half_width: float
    decidable: float


def correlates(
    claim: str,
    correlation: Correlation,
    sign: int,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
) -> Verdict:
    """Does a measure correlate with the error: interval beyond 0.3 with the claimed sign?

    Args:
        claim: the sentence that is judged.
        correlation: in one reading, its interval at the simultaneous confidence.
        sign: -1 for a volume (larger volume, smaller error), +1 for a sharpness.
        scale: of the study; only "cpu" and "paper" allow a verdict.
        note: stands at the end of the reason.
        ceiling: of log V within |A|, the lower end of the E1 error's own interval (rule 3); None
            where it does not apply.
    """
    if sign not in (-1, 1):
        raise ValueError(f"sign: got {sign!r}, wanted 1 or -1, the sign that is claimed.")
    low, high = sorted((sign * correlation.low, sign * correlation.high))
    limit, (beyond, short) = sign * CORRELATES_BEYOND, ("above", "below")[::sign]
    found = _decide(
        low > CORRELATES_BEYOND,
        high < CORRELATES_BEYOND,
        f"wholly {beyond} {limit}",
        f"wholly {short} {limit}",
        f"contains {limit}",
    )
    below_one = np.nextafter(1, 0)  # tanh of a wide interval's end rounds to 1
    ends = np.clip([correlation.low, correlation.high], -below_one, below_one)
    reach = np.ptp(np.arctanh(ends)) / 2
    decidable = sign * float(np.tanh(np.arctanh(CORRELATES_BEYOND) + reach))
    return _verdict(claim, correlation, _below(found, ceiling), scale, note, decidable)


def breaks(
    claim: str, difference: Difference, reference: str, scale: str | None, note: str = ""
) -> Verdict:
    """Does an optimizer break a correlation: ρ(SGD) - ρ(it) exceeds 0.2?

    Args:
        claim: the sentence that is judged.
        difference: `paired_difference(sgd, other, ...)` on the same draws and common levels.
        reference: the verdict on SGD's own correlation in the same reading: where it does not
            hold there is nothing to break.
        scale: of the study; only "cpu" and "paper" allow a verdict.
        note: stands at the end of the reason.
    """
    found = _exceeds(difference, BREAKS_BEYOND)
    if reference != HOLDS:
        found = NOTHING_TO_BREAK, f"SGD's own correlation: {reference}"
    decidable = BREAKS_BEYOND + _half_width(difference)
    return _verdict(claim, difference, found, scale, note, decidable)


def exceeds(
    claim: str,
    difference: Difference,
    limit: float,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
) -> Verdict:
    """Is a difference larger than `limit`, with its whole interval?"""
    found = _below(_exceeds(difference, limit), ceiling)
    return _verdict(claim, difference, found, scale, note, limit + _half_width(difference))


def unchanged(
    claim: str,
    difference: Difference,
    margin: float,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
) -> Verdict:
    """Is a correlation the same for two optimizers: whole interval within ± the stated margin?

    That is two one-sided tests at half of 1 - confidence, stricter than the customary TOST.
    """
    margin = checks.positive("margin", margin)
    found = _decide(
        -margin < difference.low and difference.high < margin,
        difference.low > margin or difference.high < -margin,
        f"wholly within ±{margin:g}",
        f"wholly outside ±{margin:g}",
        f"crosses ±{margin:g}",
    )
    largest = margin - _half_width(difference)
    decidable = largest if largest > 0 else np.nan
    return _verdict(claim, difference, _below(found, ceiling), scale, note, decidable)


def rules_text() -> str:
    """The rules, as they were written before any number (VERDICTS.md)."""
    return resources.files("flatvol_jax.study").joinpath("VERDICTS.md").read_text("utf-8")


def rules_hash() -> str:
    """SHA-256 of VERDICTS.md, in hexadecimal: what `sha256sum` prints."""
    return hashlib.sha256(
        resources.files("flatvol_jax.study").joinpath("VERDICTS.md").read_bytes()
    ).hexdigest()


def _exceeds(difference: Difference, limit: float) -> tuple[str, str]:
    return _decide(
        difference.low > limit,
        difference.high < limit,
        f"wholly above {limit:g}",
        f"wholly below {limit:g}",
        f"contains {limit:g}",
    )


def _half_width(evidence: Correlation | Difference) -> float:
    return (evidence.high - evidence.low) / 2


def _below(found: tuple[str, str], ceiling: float | None) -> tuple[str, str]:
    """What does not hold, but could not have: the error on E1 itself says too little of E2's."""
    if found[0] != FAILS or ceiling is None or ceiling >= CORRELATES_BEYOND:
        return found
    return UNDECIDABLE, f"{found[1]}, but that of the E1 error itself begins at {ceiling:+.2f}"


def _decide(holds: bool, fails: bool, inside: str, outside: str, neither: str):
    if holds:
        return HOLDS, f"interval {inside}"
    if fails:
        return FAILS, f"interval {outside}"
    return UNDECIDED, f"interval {neither}"


def _verdict(
    claim: str,
    evidence: Correlation | Difference,
    found: tuple[str, str],
    scale: str | None,
    note: str,
    decidable: float,
) -> Verdict:
    draws, half_width = evidence.draws, _half_width(evidence)
    if draws == 1:
        found = CONDITIONAL, f"1 draw, {LEAST_DRAWS} wanted for a verdict"
    elif draws < LEAST_DRAWS:
        found = UNDECIDED, f"{draws} draws, {LEAST_DRAWS} wanted for a verdict"
    elif scale not in SCALES:
        wanted = " or ".join(SCALES)
        found = UNDECIDED, f"scale {scale or 'not stated'}, {wanted} wanted for a verdict"
    elif not np.isfinite([evidence.low, evidence.high]).all():
        found = UNDECIDED, "no interval"
    verdict, reason = found
    if np.isfinite(half_width):
        limit = f"decidable: {decidable:+.2f}" if np.isfinite(decidable) else "nothing decidable"
        reason += f"; half-width {half_width:.2f}, {limit}"
    if evidence.undefined:
        reason += f"; not defined in {evidence.undefined} further draw(s)"
    if note:
        reason += f"; {note}"
    return Verdict(
        claim,
        evidence.estimate,
        evidence.low,
        evidence.high,
        evidence.confidence,
        draws,
        verdict,
        reason,
        half_width,
        decidable,
    )
