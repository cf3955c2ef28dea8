"""The table of claims in Markdown, as the README shows it."""

from collections.abc import Sequence

import numpy as np

from flatvol_jax.figures.formatting import DASH, signed
from flatvol_jax.study.reproduction import PaperClaim, overview


def claims_markdown(claims: Sequence[PaperClaim]) -> str:
    """A row a sentence of the paper: verdicts, the number that decides, the pooled one."""
    lines = [
        "| the paper says | our verdicts | what decides, within \\|A\\| | pooled |",
        "|---|---|---|---|",
    ]
    for line in overview(claims):
        verdicts = ", ".join(
            f"{count} × {verdict}" if line.claims > 1 else verdict
            for verdict, count in line.verdicts.items()
        )
        quantity = line.sentence.quantity.replace("|", "\\|")
        number = f"{_span(line.within)} ({quantity})"
        lines.append(f"| {line.sentence.text} | {verdicts} | {number} | {_span(line.pooled)} |")
    return "\n".join(lines) + "\n"


def _span(ends: tuple[float, float]) -> str:
    low, high = ends
    if np.isnan(low):
        return DASH
    one, other = signed(low), signed(high)
    return one if one == other else f"{one} to {other}"
