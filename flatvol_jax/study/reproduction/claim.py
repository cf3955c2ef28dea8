"""What a reproduction says of one statement of the paper: the number, its evidence, a verdict."""

from typing import NamedTuple

import numpy as np

from flatvol_jax.study import verdicts
from flatvol_jax.study.comparison import Difference
from flatvol_jax.study.statistics import CONDITIONAL, Correlation

ONE_SYSTEM = "conditional on this system"
NO_VERDICT = "no verdict"


class Evidence(NamedTuple):
    """A number that stands beside a claim.

    Attributes:
        label: which number it is: measure, link, how it is correlated.
        estimate, low, high: with its interval, NaN where it has none; 95% by itself, or that of
            the claim where it is the number judged.
        note: over how many networks and draws, or what else a reader must know.
    """

    label: str
    estimate: float
    low: float = np.nan
    high: float = np.nan
    note: str = ""


class PaperClaim(NamedTuple):
    """One falsifiable statement of the paper about one system.

    Attributes:
        sentence: key of the sentence of the paper that it belongs to (`sentences.SENTENCES`).
        subject: which networks: data set, architecture, optimizer.
        statement: what is claimed of them.
        judged: the number that decides, with the interval that holds together with those of the
            other claims of its sentence.
        criterion: what the rules ask of it.
        confidence: of that interval.
        draws: independent draws of (S, pool of A, E1, E2) behind it.
        met: whether the estimate by itself, whatever its interval, is what is claimed; None where
            there is none.
        verdict, reason: by the rules of VERDICTS.md.
        pooled: the paper's own statistic, over all sizes of A together; None where the claim has
            no such form.
        evidence: further numbers: the other link, estimators, baselines, the null.
    """

    sentence: str
    subject: str
    statement: str
    judged: Evidence
    criterion: str
    confidence: float
    draws: int
    met: bool | None
    verdict: str
    reason: str
    pooled: Evidence | None = None
    evidence: tuple[Evidence, ...] = ()


def of_correlation(label: str, found: Correlation, what: str = "networks") -> Evidence:
    """A correlation as evidence; `what` are the rows that are correlated."""
    over = f"{found.runs} {what}, {found.basis}"
    return Evidence(label, found.estimate, found.low, found.high, over)


def of_difference(label: str, found: Difference, note: str = "") -> Evidence:
    """A difference as evidence."""
    over = f"{found.draws} draw{'s' * (found.draws != 1)}" + f"; {note}" * bool(note)
    return Evidence(label, found.estimate, found.low, found.high, over)


def correlates(
    sentence: str,
    subject: str,
    statement: str,
    label: str,
    found: Correlation,
    sign: int,
    scale: str | None,
    what: str = "networks",
    **more,
) -> PaperClaim:
    """Claim: a correlation of the given sign, beyond 0.3 by the rules."""
    judged = verdicts.correlates(statement, found, sign, scale)
    limit = f"ρ {'<' if sign < 0 else '>'} {sign * verdicts.CORRELATES_BEYOND:+.1f}"
    met = bool(sign * found.estimate > verdicts.CORRELATES_BEYOND) if known(found) else None
    evidence = of_correlation(label, found, what)
    return _claim(sentence, subject, statement, evidence, limit, found, met, judged, more)


def unchanged(
    sentence: str,
    subject: str,
    statement: str,
    label: str,
    found: Difference,
    margin: float,
    scale: str | None,
    **more,
) -> PaperClaim:
    """Claim: nothing changes, by more than a stated margin."""
    judged = verdicts.unchanged(statement, found, margin, scale)
    met = bool(abs(found.estimate) < margin) if known(found) else None
    evidence = of_difference(label, found)
    return _claim(
        sentence, subject, statement, evidence, f"within ±{margin:g}", found, met, judged, more
    )


def exceeds(
    sentence: str,
    subject: str,
    statement: str,
    label: str,
    found: Difference,
    limit: float,
    scale: str | None,
    **more,
) -> PaperClaim:
    """Claim: a difference above `limit`; 0.2 of the rules for correlations, 0 for a mere sign."""
    judged = verdicts.exceeds(statement, found, limit, scale)
    met = bool(found.estimate > limit) if known(found) else None
    evidence = of_difference(label, found)
    return _claim(sentence, subject, statement, evidence, f"> {limit:g}", found, met, judged, more)


def conditional(
    sentence: str,
    subject: str,
    statement: str,
    judged: Evidence,
    criterion: str,
    met: bool | None,
    reason: str,
    verdict: str = CONDITIONAL,
    **more,
) -> PaperClaim:
    """A claim that the rules allow no verdict on: too few draws, or none by its nature."""
    return PaperClaim(
        sentence,
        subject,
        statement,
        judged,
        criterion,
        0.95,
        int(verdict == CONDITIONAL),
        met,
        verdict,
        reason,
        **more,
    )


def known(found: Correlation | Difference | Evidence) -> bool:
    """Whether there is an estimate."""
    return bool(np.isfinite(found.estimate))


def _claim(sentence, subject, statement, evidence, criterion, found, met, judged, more):
    note = more.pop("note", "")
    reason = judged.reason + (f"; {note}" if note else "")
    return PaperClaim(
        sentence,
        subject,
        statement,
        evidence,
        criterion,
        found.confidence,
        found.draws,
        met,
        judged.verdict,
        reason,
        **more,
    )
