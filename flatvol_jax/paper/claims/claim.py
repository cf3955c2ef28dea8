"""What a reproduction says of one statement of the paper: the number, its evidence, a verdict."""

from typing import NamedTuple

import numpy as np

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.comparison import Difference
from flatvol_jax.study.analysis.statistics import CONDITIONAL, Correlation

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


class Reading(NamedTuple):
    """A claim in one reading: the number that decides there, and the verdict.

    Attributes:
        judged: the number, with the interval that holds together with those of its family.
        draws: independent draws of (S, pool of A, E1, E2) behind it.
        met: whether the estimate by itself, whatever its interval, is what is claimed; None where
            there is none.
        verdict, reason: by the rules of VERDICTS.md.
        null: the same number of functions with as many errors at random places on E1; None where
            there is none.
        probit: the same number with the probit link, the authors'; None where there is none.
    """

    judged: Evidence
    draws: int
    met: bool | None
    verdict: str
    reason: str
    null: Evidence | None = None
    probit: Evidence | None = None


class PaperClaim(NamedTuple):
    """One falsifiable statement of the paper about one system.

    Attributes:
        sentence: key of the sentence of the paper that it belongs to (`sentences.SENTENCES`).
        subject: which networks: data set, architecture, optimizer.
        statement: what is claimed of them.
        criterion: what the rules ask of the number, in either reading.
        family: claims of a reading that are judged together, this one among them.
        paper: as the paper measures it; for correlations with the error, pooled over |A|.
        within: within |A|; None where the statement is not about a correlation over |A|.
        evidence: further numbers: the other link, estimators, baselines.
    """

    sentence: str
    subject: str
    statement: str
    criterion: str
    family: int
    paper: Reading
    within: Reading | None = None
    evidence: tuple[Evidence, ...] = ()

    @property
    def readings(self) -> dict[str, Reading]:
        """The readings that there are, the paper's first."""
        return {"paper": self.paper} | ({"within": self.within} if self.within else {})


def of_correlation(label: str, found: Correlation, what: str = "networks") -> Evidence:
    """A correlation as evidence; `what` are the rows that are correlated."""
    over = f"{found.runs} {what}, {found.basis}"
    return Evidence(label, found.estimate, found.low, found.high, over)


def of_difference(label: str, found: Difference, note: str = "") -> Evidence:
    """A difference as evidence."""
    over = f"{found.draws} draw{'s' * (found.draws != 1)}" + f"; {note}" * bool(note)
    return Evidence(label, found.estimate, found.low, found.high, over)


def correlates(
    label: str,
    found: Correlation,
    sign: int,
    scale: str | None,
    what: str = "networks",
    note: str = "",
) -> Reading:
    """Is a correlation of the given sign beyond 0.3, by the rules?"""
    judged = verdicts.correlates(label, found, sign, scale, note)
    met = bool(sign * found.estimate > verdicts.CORRELATES_BEYOND) if known(found) else None
    return Reading(
        of_correlation(label, found, what), found.draws, met, judged.verdict, judged.reason
    )


def unchanged(
    label: str,
    found: Difference,
    margin: float,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
) -> Reading:
    """Does nothing change, by more than a stated margin?"""
    judged = verdicts.unchanged(label, found, margin, scale, note, ceiling)
    met = bool(abs(found.estimate) < margin) if known(found) else None
    return Reading(of_difference(label, found), found.draws, met, judged.verdict, judged.reason)


def exceeds(
    label: str,
    found: Difference,
    limit: float,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
) -> Reading:
    """Is a difference above `limit`; 0.2 of the rules for correlations, 0 for a mere sign?"""
    judged = verdicts.exceeds(label, found, limit, scale, note, ceiling)
    met = bool(found.estimate > limit) if known(found) else None
    return Reading(of_difference(label, found), found.draws, met, judged.verdict, judged.reason)


def conditional(
    judged: Evidence, met: bool | None, reason: str, verdict: str = CONDITIONAL
) -> Reading:
    """A number that the rules allow no verdict on: too few draws, or none by its nature."""
    return Reading(judged, int(verdict == CONDITIONAL), met, verdict, reason)


def correlates_criterion(sign: int) -> str:
    """What the rules ask of a correlation of this sign, in a few characters."""
    return f"ρ {'<' if sign < 0 else '>'} {sign * verdicts.CORRELATES_BEYOND:+.1f}"


def known(found: Correlation | Difference | Evidence) -> bool:
    """Whether there is an estimate."""
    return bool(np.isfinite(found.estimate))
