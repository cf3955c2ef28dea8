"""All claims of the paper, judged from the records of all studies at one scale, and in short."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.paper.claims.bound import bound_claims
from flatvol_jax.paper.claims.claim import PaperClaim, Reading
from flatvol_jax.paper.claims.overtraining import overtraining_claims
from flatvol_jax.paper.claims.sentences import SENTENCES, Sentence
from flatvol_jax.paper.claims.sweeps import sweep_claims
from flatvol_jax.study.analysis.experiment_tables import ExperimentTables
from flatvol_jax.study.report.formatting import DASH, signed

MOST_NAMES = 7  # of a verdict in a line of the overview; the claims of more are counted


class OverviewReading(NamedTuple):
    """A sentence of the paper in one reading, over its claims.

    Attributes:
        verdicts: verdict -> the subjects of its claims, most frequent first; empty without this
            reading.
        estimates: least and largest number judged; NaN where there is none.
        probit: the same with the probit link.
        null: the same of functions with as many errors at random.
        met: claims whose estimate is what is claimed, whatever its interval.
        claims: how many.
    """

    verdicts: dict[str, tuple[str, ...]]
    estimates: tuple[float, float]
    probit: tuple[float, float]
    null: tuple[float, float]
    met: int
    claims: int

    def named(self) -> str:
        """Write each verdict and in brackets whose it is, without the words that all share.

        "SGD 2 of 3" says that the third of its claims has another verdict.
        """
        subjects = [subject for group in self.verdicts.values() for subject in group]
        shared = _shared_start(subjects)
        if len(subjects) == 1 and not shared:
            return next(iter(self.verdicts))

        def name(subject: str) -> str:
            return subject[len(shared) :].partition("; ")[0]

        asked, written = Counter(map(name, subjects)), []
        for verdict, group in self.verdicts.items():
            names = Counter(map(name, group))
            if len(names) > MOST_NAMES:
                written.append(f"{verdict} ({len(group)})")
                continue
            words = [
                who if asked[who] == count else f"{who} {count} of {asked[who]}"
                for who, count in names.items()
            ]
            between = "; " if any(", " in who for who in names) else ", "
            written.append(f"{verdict} ({between.join(words)})")
        return ", ".join(written)


class Overview(NamedTuple):
    """A sentence of the paper in a line: its key and text, and both readings."""

    key: str
    sentence: Sentence
    paper: OverviewReading
    within: OverviewReading


def paper_claims(
    tables: Sequence[ExperimentTables], others: Iterable[PaperClaim], scale: str | None
) -> list[PaperClaim]:
    """Return every claim, in the order of the paper's sentences.

    Args:
        tables: of the sweeps at the scale (`analysis.experiment_tables`).
        others: claims on other studies: one network through time, the Boolean system.
        scale: "cpu" and "paper" allow verdicts.
    """
    claims = [
        *sweep_claims(tables, scale),
        *overtraining_claims(tables, scale),
        *others,
        *bound_claims(tables),
    ]
    order = list(SENTENCES)
    return sorted(claims, key=lambda claim: order.index(claim.sentence))


def overview(claims: Iterable[PaperClaim]) -> list[Overview]:
    """Return a line for every sentence that has a claim."""
    claims = list(claims)
    lines = []
    for key, sentence in SENTENCES.items():
        group = [claim for claim in claims if claim.sentence == key]
        if group:
            within = [(claim.subject, claim.within) for claim in group if claim.within]
            paper = [(claim.subject, claim.paper) for claim in group]
            lines.append(Overview(key, sentence, _over_claims(paper), _over_claims(within)))
    return lines


def claims_frame(claims: Iterable[PaperClaim]) -> pd.DataFrame:
    """Return a row a claim: columns paper_ of the paper's own reading, within_ within |A|."""
    rows = []
    for claim in claims:
        row = {
            "sentence": claim.sentence,
            "subject": claim.subject,
            "statement": claim.statement,
            "criterion": claim.criterion,
            "family": claim.family,
        }
        for name, reading in claim.readings.items():
            row |= {
                f"{name}_quantity": reading.judged.label,
                f"{name}_estimate": reading.judged.estimate,
                f"{name}_low": reading.judged.low,
                f"{name}_high": reading.judged.high,
                f"{name}_half_width": (reading.judged.high - reading.judged.low) / 2,
                f"{name}_draws": reading.draws,
                f"{name}_met": reading.met,
                f"{name}_verdict": reading.verdict,
                f"{name}_reason": reading.reason,
                f"{name}_probit": reading.probit.estimate if reading.probit else np.nan,
                f"{name}_null": reading.null.estimate if reading.null else np.nan,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def claims_markdown(claims: Sequence[PaperClaim]) -> str:
    """Write a row a sentence of the paper: both readings with verdicts and numbers, the null."""
    lines = [
        "| the paper says | as the paper measures it | number "
        "| within \\|A\\| | number | control |",
        "|---|---|---|---|---|---|",
    ]
    for line in overview(claims):
        paper, within = line.paper, line.within
        numbers, null = span(paper.estimates), span(paper.null)
        if np.isfinite(paper.probit[0]):  # the authors' link first
            numbers = f"probit {span(paper.probit)}, Heaviside {numbers}"
        cells = [
            line.sentence.text,
            paper.named() or DASH,
            f"{numbers} ({line.sentence.quantity})",
            within.named() or DASH,
            span(within.estimates),
            null if null == DASH else f"{null}; within {span(within.null)}",
        ]
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines) + "\n"


def overview_lines(claims: Iterable[PaperClaim]) -> Iterator[str]:
    """Write the verdicts of each sentence in plain text."""
    for line in overview(claims):
        yield line.sentence.text
        for name, reading in (
            ("as the paper measures it", line.paper),
            ("within |A|", line.within),
        ):
            if reading.claims:
                yield f"    {name}: {reading.named()}"


def span(ends: tuple[float, float]) -> str:
    """Write a range of numbers; one where both ends read the same."""
    low, high = (signed(end) for end in ends)
    return low if low == high else f"{low} to {high}"


def _shared_start(subjects: Sequence[str]) -> str:
    """Return the words up to a comma with which all subjects begin, such as "FCN on MNIST, "."""
    starts = {subject.partition(", ")[0] + ", " for subject in subjects if ", " in subject}
    alike = len(starts) == 1 and all(", " in subject for subject in subjects)
    return starts.pop() if alike else ""


def _over_claims(named: Sequence[tuple[str, Reading]]) -> OverviewReading:
    readings, verdicts = [reading for _, reading in named], defaultdict(list)
    for subject, reading in named:
        verdicts[reading.verdict].append(subject)
    return OverviewReading(
        {
            verdict: tuple(verdicts[verdict])
            for verdict in sorted(verdicts, key=lambda name: -len(verdicts[name]))
        },
        _range([reading.judged.estimate for reading in readings]),
        _range([reading.probit.estimate for reading in readings if reading.probit]),
        _range([reading.null.estimate for reading in readings if reading.null]),
        sum(reading.met is True for reading in readings),
        len(readings),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    known = [float(value) for value in values if np.isfinite(value)]
    return (min(known), max(known)) if known else (np.nan, np.nan)
