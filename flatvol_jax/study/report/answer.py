"""The answer of a sweep in a sentence, and what it can and cannot decide, from its verdicts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.columns import LOG_VOLUME, NULL, SHARPNESS, Column
from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.analysis.statistics import POOLED, READINGS, WITHIN
from flatvol_jax.study.analysis.verdicts import (
    FAILS,
    HOLDS,
    LEAST_DRAWS,
    SCALES,
    UNDECIDABLE,
    UNDECIDED,
)
from flatvol_jax.study.report.formatting import correlation

NAMED = {LOG_VOLUME: "log V", NULL: "the control", SHARPNESS: "sharpness"}
PLACES = {POOLED: "across attack set sizes", WITHIN: "within one size"}
CONTROL = "The control is log V of functions with as many errors at random places."
Row = Mapping[str, Any]


def answer_sentences(claims: pd.DataFrame, scale: str | None) -> list[str]:
    """Say what tracks the error across attack set sizes and within one, a sentence an answer.

    Optimizers of the same answer share its sentence. What is said follows from the verdicts of the
    table alone; the control, on which the rules give none, is held against the same limit.

    Args:
        claims: `claims_table`.
        scale: of the study; without "cpu" or "paper" nothing is decided.
    """
    said: dict[str, list[str]] = {}
    for optimizer, rows in claims.groupby("optimizer", sort=False):
        text = _answer(_rows_by_measure(rows), scale)
        said.setdefault(text, []).append(OPTIMIZERS.get(str(optimizer), str(optimizer)))
    return [f"With {joined(names)}, {text}" for text, names in said.items()]


def decision_lines(claims: pd.DataFrame, scale: str | None) -> list[str]:
    """Say what a sweep of this size can decide and what it cannot, a line an optimizer.

    Args:
        claims: `claims_table`.
        scale: of the study.
    """
    lines = []
    for optimizer, rows in claims.groupby("optimizer", sort=False):
        found = _rows_by_measure(rows)
        name = OPTIMIZERS.get(str(optimizer), str(optimizer))
        missing = _missing(found, scale)
        if missing:
            shows = "it shows what the numbers look like"
            lines.append(f"{name}: this run decides no claim ({missing}); {shows}.")
            continue
        able = [text for reading in READINGS if (text := _decidable(found, reading))]
        open_claims = [text for reading in READINGS for text in _undecided(found, reading)]
        lines.append(
            f"{name}: a run of this size decides a correlation beyond {'; '.join(able)}. "
            f"It leaves open: {', '.join(open_claims) or 'none of its claims'}."
        )
    return lines


def answer_lines(claims: pd.DataFrame, scale: str | None) -> list[str]:
    """Write the answer, what the control is, and what is decided: the last lines of a run."""
    control = [CONTROL] if (claims["column"] == NULL.name).any() else []
    return [*answer_sentences(claims, scale), *control, *decision_lines(claims, scale)]


def joined(words: Sequence[str]) -> str:
    """Join words as a sentence has them: a, b and c."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def outcome(row: Row, reading: str, sign: int) -> str:
    """Return the verdict of a row; of one without a verdict, where its interval lies."""
    verdict = row.get(f"{reading}_verdict")
    if isinstance(verdict, str):
        return verdict
    low, high = row[f"{reading}_low"], row[f"{reading}_high"]
    asked = verdicts.correlates(sign)
    if low > asked.low and high < asked.high:
        return HOLDS
    outside = low >= asked.limit if sign < 0 else high <= asked.limit
    return FAILS if outside else UNDECIDED


def _rows_by_measure(rows: pd.DataFrame) -> dict[Column, Row]:
    """Return the own row of log V, of its control and of sharpness, where the table has it."""
    found = {}
    for measure in NAMED:
        own = rows[(rows["column"] == measure.name) & (rows["family"] == measure.family)]
        if len(own):
            found[measure] = own.iloc[0].to_dict()
    return found


def _missing(found: Mapping[Column, Row], scale: str | None) -> str:
    """Say what a sweep lacks for any verdict; nothing where it lacks nothing."""
    draws, reasons = _draws(found), []
    if draws < LEAST_DRAWS:
        reasons.append(f"{draws} draw{'s' * (draws != 1)} where {LEAST_DRAWS} are wanted")
    if scale not in SCALES:
        reasons.append(f"scale {scale or 'not stated'} where {' or '.join(SCALES)} is wanted")
    return ", ".join(reasons)


def _draws(found: Mapping[Column, Row]) -> int:
    return int(max(row[f"{reading}_draws"] for row in found.values() for reading in READINGS))


def _answer(found: Mapping[Column, Row], scale: str | None) -> str:
    if missing := _missing(found, scale):
        numbers = [_numbers(found, reading) for reading in READINGS]
        return f"nothing is decided ({missing}); ρ with the error is {joined(numbers)}."
    return f"{'; '.join(_clause(found, reading) for reading in READINGS)}."


def _numbers(found: Mapping[Column, Row], reading: str) -> str:
    values = [f"{correlation(row[reading])} of {NAMED[m]}" for m, row in found.items()]
    return f"{PLACES[reading]} {', '.join(values)}"


def _clause(found: Mapping[Column, Row], reading: str) -> str:
    """Say of one reading what tracks the error, what does not, and what cannot be told."""
    outcomes = {NAMED[m]: outcome(row, reading, m.sign) for m, row in found.items()}
    tracks = [name for name, verdict in outcomes.items() if verdict == HOLDS]
    opposite = [
        NAMED[m]
        for m, row in found.items()
        if outcomes[NAMED[m]] == FAILS
        and verdicts.is_opposite(m.sign, row[f"{reading}_low"], row[f"{reading}_high"])
    ]
    fails = [name for name, v in outcomes.items() if v == FAILS and name not in opposite]
    hidden = [name for name, verdict in outcomes.items() if verdict == UNDECIDABLE]
    open_names = [name for name in outcomes if name not in (*tracks, *opposite, *fails, *hidden)]
    draws = f"{_draws(found)} draws"
    parts = []
    if tracks:
        parts.append(_tracking(tracks))
    if fails:
        verb = _plural(fails, "correlates", "correlate")
        limit = verdicts.CORRELATES_BEYOND
        parts.append(f"{joined(fails)} {verb} with it by less than {limit}, if at all")
    if opposite:
        verb = _plural(opposite, "goes", "go")
        parts.append(f"{joined(opposite)} {verb} the opposite way of what is claimed")
    if hidden:
        parts.append(f"for {joined(hidden)} this |E1| cannot tell")
    if open_names:
        parts.append(f"for {joined(open_names)} {draws} cannot tell")
    return f"{PLACES[reading]} {', and '.join(parts)}"


def _tracking(names: Sequence[str]) -> str:
    """Say that the first tracks the error, and the others as well."""
    first, *others = names
    also = f", and so {_plural(others, 'does', 'do')} {joined(others)}" if others else ""
    return f"{first} tracks the error{also}"


def _plural(words: Sequence[str], one: str, several: str) -> str:
    return one if len(words) == 1 else several


def _decidable(found: Mapping[Column, Row], reading: str) -> str:
    """Name the smallest correlation that would hold with intervals as wide as these."""
    limits = [
        f"{correlation(row[f'{reading}_decidable'])} of {NAMED[measure]}"
        for measure, row in found.items()
        if np.isfinite(row.get(f"{reading}_decidable") or np.nan)
    ]
    return f"{joined(limits)} {PLACES[reading]}" if limits else ""


def _undecided(found: Mapping[Column, Row], reading: str) -> Iterator[str]:
    for measure, row in found.items():
        verdict = row.get(f"{reading}_verdict")
        if isinstance(verdict, str) and verdict not in (HOLDS, FAILS):
            yield f"{NAMED[measure]} {PLACES[reading]}"
