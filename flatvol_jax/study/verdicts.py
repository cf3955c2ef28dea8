"""The rules of judgement of VERDICTS.md in code: an estimate with its interval -> a verdict."""

import hashlib
from importlib import resources
from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime import checks
from flatvol_jax.study.comparison import Difference
from flatvol_jax.study.statistics import CONDITIONAL, Correlation

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this scale"
LEAST_DRAWS = 10
SCALES = ("cpu", "paper")  # the scales at which a verdict may be given
CORRELATES_BEYOND = 0.3
BREAKS_BEYOND = 0.2


class Verdict(NamedTuple):
    """A claim, the estimate and simultaneous interval it was judged by, the verdict and why."""

    claim: str
    estimate: float
    low: float
    high: float
    confidence: float
    draws: int
    verdict: str
    reason: str


def correlates(
    claim: str, correlation: Correlation, sign: int, scale: str | None, note: str = ""
) -> Verdict:
    """Does a measure correlate with the error: interval beyond 0.3 with the claimed sign?

    Args:
        claim: the sentence that is judged.
        correlation: within levels, its interval at the simultaneous confidence.
        sign: -1 for a volume (larger volume, smaller error), +1 for a sharpness.
        scale: of the study; only "cpu" and "paper" allow a verdict.
        note: stands at the end of the reason.
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
    return _verdict(claim, correlation, found, scale, note)


def breaks(claim: str, difference: Difference, scale: str | None, note: str = "") -> Verdict:
    """Does an optimizer break a correlation: strength(SGD) - strength(it) exceeds 0.2?

    `difference` is `paired_difference(sgd, other, ...)` on the same draws and common levels.
    """
    return exceeds(claim, difference, BREAKS_BEYOND, scale, note)


def exceeds(
    claim: str, difference: Difference, limit: float, scale: str | None, note: str = ""
) -> Verdict:
    """Is a difference larger than `limit`, with its whole interval?"""
    found = _decide(
        difference.low > limit,
        difference.high < limit,
        f"wholly above {limit:g}",
        f"wholly below {limit:g}",
        f"contains {limit:g}",
    )
    return _verdict(claim, difference, found, scale, note)


def unchanged(
    claim: str, difference: Difference, margin: float, scale: str | None, note: str = ""
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
    return _verdict(claim, difference, found, scale, note)


def rules_text() -> str:
    """The rules, as they were written before any number (VERDICTS.md)."""
    return resources.files("flatvol_jax.study").joinpath("VERDICTS.md").read_text("utf-8")


def rules_hash() -> str:
    """SHA-256 of VERDICTS.md, in hexadecimal: what `sha256sum` prints."""
    return hashlib.sha256(
        resources.files("flatvol_jax.study").joinpath("VERDICTS.md").read_bytes()
    ).hexdigest()


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
) -> Verdict:
    draws = evidence.draws
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
    )
