"""What went wrong with single networks of a sweep, counted: no fault passes in silence."""

import pandas as pd

from flatvol_jax.study.analysis.selection import STATUS

FAULT = "is.fault."  # then the measure; meta.fault.MEASURE says what it was


def fault_table(frame: pd.DataFrame) -> pd.DataFrame:
    """How many networks have which fault, and what the first of them says.

    Columns: `fault`, `networks`, `example` (an empty text where the fault says all). A fault that
    no network has is left out.
    """
    rows = [
        ("training diverged", _is(frame, "is.diverged", True), ""),
        (
            "zero training error not reached",
            _is(frame, "is.zero_error", False) & ~_is(frame, "is.diverged", True),
            "",
        ),
    ]
    for column, reason in dict(STATUS.values()).items():
        rows.append((reason, _is(frame, column, False), ""))
    for column in frame.columns:
        if column.startswith(FAULT):
            name, at = column.removeprefix(FAULT), _is(frame, column, True)
            texts = frame.get(f"meta.fault.{name}", pd.Series("", index=frame.index))[at]
            rows.append((f"{name} not measured", at, next(iter(texts.dropna()), "")))
    counted = [(fault, int(at.sum()), text) for fault, at, text in rows if at.any()]
    return pd.DataFrame(counted, columns=["fault", "networks", "example"])


def fault_lines(frame: pd.DataFrame) -> list[str]:
    """The table as lines of plain text, for the end of a run; none where all is well."""
    return [
        f"  {row.networks} of {len(frame)} networks: {row.fault}"
        + (f" ({row.example})" if row.example else "")
        for row in fault_table(frame).itertuples()
    ]


def _is(frame: pd.DataFrame, column: str, value: bool) -> pd.Series:
    """Where a flag is recorded and has this value."""
    if column not in frame:
        return pd.Series(False, index=frame.index)
    return frame[column].map(lambda flag: not pd.isna(flag) and bool(flag) == value)
