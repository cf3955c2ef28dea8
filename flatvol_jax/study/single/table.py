"""The table of one measured network: a line a measure, its value and what is known of it."""

import html
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flatvol_jax.runtime.printing import with_error
from flatvol_jax.study.single.lines import LINES, Record

_FAULT = "meta.fault."
FITTED_ONLY = ("measure.bound.", "measure.log_volume_null.")  # of functions that fit S


class Row(NamedTuple):
    """A line of the table.

    Attributes:
        measure: what it is.
        column: its name in the record.
        value: None of a part that failed.
        error: standard error, None where there is none.
        unit: "nats" or "".
        status: what the error covers, whether a search converged, or why there is no value.
    """

    measure: str
    column: str
    value: float | None
    error: float | None
    unit: str
    status: str


def table_rows(record: Record) -> Iterator[Row]:
    """Give the lines of a record; one of a part that failed, none of a part that is not there."""
    faults = {n.removeprefix(_FAULT): v for n, v in record.items() if n.startswith(_FAULT)}
    for line in LINES:
        if line.part in faults:
            yield _fault_row(line.part, faults.pop(line.part))
            continue
        value = record.get(line.column)
        fitted = record.get("is.zero_error", True)
        if line.unless in record:
            continue
        if value is None or (line.column.startswith(FITTED_ONLY) and not fitted):
            continue
        error = record.get(line.error or f"{line.column}.se")
        yield Row(line.label, line.column, value, error, line.unit, line.status(record))
    for part, fault in faults.items():
        yield _fault_row(part, fault)


def _fault_row(part: str, fault: str) -> Row:
    return Row(part.replace("_", " "), f"is.fault.{part}", None, None, "", f"failed: {fault}")


def table_lines(record: Record) -> Iterator[str]:
    """Give the table as plain text, without a heading."""
    rows = list(table_rows(record))
    texts = [value_text(row) for row in rows]
    label = max((len(row.measure) for row in rows), default=0)
    number = max(map(len, texts), default=0)
    for row, text in zip(rows, texts, strict=True):
        yield f"  {row.measure:{label}}  {text:{number}}  {row.status}".rstrip()


def value_text(row: Row) -> str:
    """Return `-228.19 ± 0.01 nats`, or a dash."""
    if row.value is None:
        return "—"
    known = row.error is not None and np.isfinite(row.error)
    text = with_error(row.value, row.error) if known else f"{row.value:.5g}"
    return f"{text} {row.unit}".rstrip()


def notes(record: Record) -> Iterator[str]:
    """Give the sentences that belong under a table."""
    if not record.get("is.zero_error", True):
        yield "The network makes errors on S: the bounds and the null say nothing, left out."
    for name, text in record.items():
        if name.startswith("meta.left_out."):
            yield f"{name.removeprefix('meta.left_out.').replace('_', ' ')}: {text}"


class Measured:
    """A network's measures: prints as a table, in a notebook too, and converts to plain data.

    Attributes:
        record: flat names, as in a sweep's records: `measure.*`, with `.se`; `is.*`; `meta.*`.
        arrays: those of the record that are more than a number, by the same names.
    """

    def __init__(self, record: Record, arrays: Mapping[str, np.ndarray], title: str):
        self.record, self.arrays, self._title = dict(record), dict(arrays), title

    def __getitem__(self, name: str) -> Any:
        """Return a number of the record, or an array, by its flat name."""
        if name in self.arrays:
            return self.arrays[name]
        if name not in self.record:
            raise KeyError(f"{name!r}; there are {', '.join([*self.record, *self.arrays])}")
        return self.record[name]

    @property
    def rows(self) -> tuple[Row, ...]:
        """Return the lines of the table."""
        return tuple(table_rows(self.record))

    @property
    def failed(self) -> dict[str, str]:
        """Return the parts that failed, each with its error."""
        return {n.removeprefix(_FAULT): v for n, v in self.record.items() if n.startswith(_FAULT)}

    def to_dict(self) -> dict[str, Any]:
        """Return the record: numbers, flags and words by their flat names."""
        return dict(self.record)

    def to_frame(self) -> pd.DataFrame:
        """Return the table as a data frame, a row a measure."""
        return pd.DataFrame(self.rows, columns=Row._fields)

    def __repr__(self) -> str:
        return "\n".join([self._title, *table_lines(self.record), *notes(self.record)])

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><td style='text-align:left'>{html.escape(row.measure.strip())}</td>"
            f"<td>{html.escape(value_text(row))}</td>"
            f"<td style='text-align:left'>{html.escape(row.status)}</td></tr>"
            for row in self.rows
        )
        under = "".join(f"<p>{html.escape(note)}</p>" for note in notes(self.record))
        return (
            f"<table><caption style='text-align:left'>{html.escape(self._title)}</caption>"
            f"<thead><tr><th>measure</th><th>value</th><th>status</th></tr></thead>"
            f"<tbody>{cells}</tbody></table>{under}"
        )
