"""The table of claims in Markdown, as the README shows it."""

from collections.abc import Sequence

import numpy as np

from flatvol_jax.paper.claims.claim import PaperClaim
from flatvol_jax.paper.claims.paper_claims import OverviewReading, overview
from flatvol_jax.study.report.formatting import DASH, signed


def claims_markdown(claims: Sequence[PaperClaim]) -> str:
    """A row a sentence of the paper: both readings with verdicts and numbers, then the null."""
    lines = [
        "| the paper says | as the paper measures it | number | within \\|A\\| | number | null |",
        "|---|---|---|---|---|---|",
    ]
    for line in overview(claims):
        cells = [
            line.sentence.text,
            _verdicts(line.paper),
            f"{_numbers(line.paper)} ({line.sentence.quantity})",
            _verdicts(line.within),
            _span(line.within.estimates),
            _nulls(line.paper, line.within),
        ]
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    return "\n".join(lines) + "\n"


def _verdicts(reading: OverviewReading) -> str:
    counted = [
        f"{count} × {verdict}" if reading.claims > 1 else verdict
        for verdict, count in reading.verdicts.items()
    ]
    return ", ".join(counted) or DASH


def _numbers(reading: OverviewReading) -> str:
    """The range of the estimates, the authors' link first where there are two."""
    if np.isnan(reading.probit[0]):
        return _span(reading.estimates)
    return f"probit {_span(reading.probit)}, Heaviside {_span(reading.estimates)}"


def _nulls(paper: OverviewReading, within: OverviewReading) -> str:
    if np.isnan(paper.null[0]):
        return DASH
    return f"{_span(paper.null)}; within {_span(within.null)}"


def _span(ends: tuple[float, float]) -> str:
    low, high = ends
    if np.isnan(low):
        return DASH
    one, other = signed(low), signed(high)
    return one if one == other else f"{one} to {other}"
