"""What a reproduction says of one statement of the paper: the number, its evidence, a verdict."""

from typing import NamedTuple

import numpy as np

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.comparison import Difference
from flatvol_jax.study.analysis.statistics import CONDITIONAL, POOLED, WITHIN, Correlation

ONE_SYSTEM = "conditional on this system"
NO_VERDICT = "no verdict"
WHERE = {POOLED: "pooled over |A|", WITHIN: "within |A|"}


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
        """Give the readings that there are, the paper's first."""
        return {"paper": self.paper} | ({"within": self.within} if self.within else {})


def evidence(label: str, found: Correlation | Difference, what: str = "networks") -> Evidence:
    """Return a correlation or a difference as evidence; `what` are the rows that are correlated."""
    if isinstance(found, Correlation):
        over = f"{found.runs} {what}, {found.basis}"
    else:
        over = f"{found.draws} draw{'s' * (found.draws != 1)}"
    return Evidence(label, found.estimate, found.low, found.high, over)


def judged(
    criterion: verdicts.Criterion,
    label: str,
    found: Correlation | Difference,
    scale: str | None,
    note: str = "",
    ceiling: float | None = None,
    what: str = "networks",
) -> Reading:
    """Judge a number by the rules."""
    verdict = verdicts.judge(criterion, found, scale, note, ceiling)
    met = criterion.met(found.estimate) if np.isfinite(found.estimate) else None
    number = evidence(label, found, what)
    return Reading(number, found.draws, met, verdict.verdict, verdict.reason)


def conditional(
    number: Evidence, met: bool | None, reason: str, verdict: str = CONDITIONAL
) -> Reading:
    """State a number that the rules allow no verdict on: too few draws, or none by its nature."""
    return Reading(number, int(verdict == CONDITIONAL), met, verdict, reason)
