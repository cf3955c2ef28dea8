"""Tables of a page: rows, and for each column a heading, what stands in its cells and how.

A column is (heading, key, words). The words name the kind of its cells, one of `CELLS` or of the
functions of formatting.py ("number:4" for another number of digits), and its style: "text" and
"wrap" stand on the left, "note" is small, "code" is what it says.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from markupsafe import Markup, escape

from flatvol_jax.study.analysis.attack_size_table import sizes_of
from flatvol_jax.study.report import formatting

STYLES = ("text", "wrap", "note", "statement", "code")
READINGS = ("pooled", "within")
Row = Mapping[str, Any]


def table(
    rows: pd.DataFrame | Iterable[Row], columns: Sequence[Sequence[str]], by: str = ""
) -> Markup:
    """Write a table as HTML.

    Args:
        rows: records; of plain tuples the keys are places.
        columns: of each (heading, key) or (heading, key, words).
        by: a key whose new values stand as a line above their rows.
    """
    rows = rows.to_dict("records") if isinstance(rows, pd.DataFrame) else map(_record, rows)
    parsed = [(heading, key, *_cell_writer("".join(words))) for heading, key, *words in columns]
    head = Markup("").join(
        Markup("<th{}>{}</th>").format(_class({"text"} & _cell_classes(styles)), heading)
        for heading, _, _, styles in parsed
    )
    body = Markup("\n")
    for group, members in itertools.groupby(rows, key=lambda row: row[by] if by else None):
        if by:
            line = Markup('<tr class="family"><td colspan="{}">{}</td></tr>\n')
            body += line.format(len(parsed), group)
        for row in members:
            cells = (_cell(show(row, key), styles) for _, key, show, styles in parsed)
            body += Markup("<tr>{}</tr>\n").format(Markup("").join(cells))
    if any(heading for heading, *_ in columns):
        body = Markup("\n<thead><tr>{}</tr></thead>\n<tbody>{}</tbody>").format(head, body)
    return Markup('<div class="scroll"><table>{}</table></div>').format(body)


def size_columns(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the columns of an `attack_size_table`."""
    sizes = ((f"|A| = {size}", size, "estimate") for size in sizes_of(rows))
    return [("measure", "measure"), *sizes]


def verdict(text: Any) -> Markup:
    """Write a verdict in its colour; nothing where there is none."""
    colour = {"holds": " holds", "does not hold": " fails"}.get(text, "")
    known = isinstance(text, str)
    return Markup('<span class="verdict{}">{}</span>').format(colour, text) if known else Markup("")


def estimate(row: Row, reading: str, between: str = " ") -> Markup:
    """Write a correlation with its interval."""
    ends = formatting.interval(row.get(f"{reading}_low"), row.get(f"{reading}_high"))
    return formatting.correlation(row.get(reading)) + Markup(between) + ends


def both_readings(row: Row | None) -> Markup:
    """Write a correlation in both readings, one below the other."""
    if not row:
        return Markup("")
    known = [reading for reading in READINGS if not pd.isna(row[reading])]
    return Markup("<br>").join(estimate(row, reading) for reading in known)


def judged(row: Row, reading: str) -> Markup:
    """Write a verdict with its reason and Holm's p-value."""
    reason, p = row.get(f"{reading}_reason"), row.get(f"{reading}_p_holm")
    text = verdict(row.get(f"{reading}_verdict"))
    if isinstance(reason, str):
        reason += "" if pd.isna(p) else f"; Holm p {formatting.p_value(p)}"
        text += Markup('<br>\n<span class="note">{}</span>').format(reason)
    return text


def left_out(row: Row, _: str = "") -> str:
    """Say how many runs do not enter a correlation, and why."""
    parts = ["; ".join(f"{count} {reason}" for reason, count in row["left_out"].items()) or "none"]
    alone = row["runs"] - row.get("within_runs", row["runs"])
    if row.get("within_draws") and alone > 0:
        where = "alone on their level or in a draw without a correlation"
        parts.append(f"within levels also {alone:.0f} {where}")
    for reading in READINGS:
        if (draws := row.get(f"{reading}_undefined", 0)) > 0:
            parts.append(f"{reading} not defined in {draws:.0f} draw{'s' * (draws != 1)}")
    return "; ".join(parts)


CELLS: dict[str, Callable[[Row, str], Any]] = {
    "interval": lambda row, key: formatting.interval(row[f"{key}_low"], row[f"{key}_high"]),
    "verdict": lambda row, key: verdict(row[f"{key}_verdict"]),
    "estimate": lambda row, key: estimate(row, key, "<br>"),
    "both": lambda row, key: both_readings(row.get(key)),
    "judged": judged,
    "left_out": left_out,
    "measured": lambda row, key: formatting.measured(row.get(key), row.get(f"{key}_se")),
    "of_runs": lambda row, key: f"{row[key]} of {row['runs']}",
    "plain": lambda row, key: row[key],
}


def _record(row: Any) -> Mapping[Any, Any]:
    if hasattr(row, "_asdict"):
        return row._asdict()
    return dict(enumerate(row)) if isinstance(row, tuple) else row


def _cell_writer(words: str) -> tuple[Callable[[Row, str], Any], set[str]]:
    """Read the words of a column: what shows a cell, and its styles."""
    kinds = [word for word in words.split() if word not in STYLES] or ["cell"]
    name, _, digits = kinds[0].partition(":")
    if name in CELLS:
        return CELLS[name], set(words.split())
    formatted, more = getattr(formatting, name), [int(digits)] if digits else []
    return lambda row, key: formatted(row.get(key), *more), set(words.split())


def _cell_classes(styles: set[str]) -> set[str]:
    """Return the classes of a cell: what wraps is text, too."""
    found = styles & {"text", "wrap", "note", "statement"}
    return found | {"text"} if found & {"wrap"} else found


def _class(names: set[str]) -> Markup:
    return Markup(' class="{}"').format(" ".join(sorted(names))) if names else Markup("")


def _cell(content: Any, styles: set[str]) -> Markup:
    text = Markup("<code>{}</code>").format(content) if "code" in styles else escape(content)
    return Markup("<td{}>{}</td>").format(_class(_cell_classes(styles)), text)
