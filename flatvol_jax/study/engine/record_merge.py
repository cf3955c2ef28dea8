"""Rows of records, old and new, become one list: no row goes that was not computed anew.

A row is named by its key: run, transform, and epoch; in the Boolean experiment, which has no runs,
by its part, target, optimizer, function, width and epoch. Of two rows with one key:

- where all numbers that both have are equal, they are of the same network, and the row that stays
  has the columns of both: a measure that is not asked for this time keeps its columns;
- otherwise a finished row replaces the old one, whole: no row mixes two networks;
- and an unfinished row, some of whose measures are not done yet, leaves the old one as it is.

So a column that a newer version of its stage, or other settings, would compute otherwise stays
until that is done; `meta.settings.STAGE` says what it was computed by.

Rows that are drawn up together (the branch of a temporal study after its event, a table of the
Boolean sample) and were made under another event or sample replace the old ones together, once
they are finished.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]

SCHEMA = 2  # `meta.schema` of rows; rows without one were written before there was a number

FAULT = "is.fault."

# What names a row of the Boolean experiment within its part.
_PLACE = ("meta.system", "target.name", "hp.train.optimizer", "hp.model.width")
_NAME = ("function.id", "overtrain", "frequency.count")


def row_key(row: Row) -> tuple | None:
    """Return what names a row, None where nothing does.

    The epoch is counted from zero error if it was reached, so that another machine, which reaches
    it an epoch later, has the same row; in a temporal study from initialisation.
    """
    if row.get("run_id") is not None:
        beyond, epoch = row.get("overtrain"), row.get("epoch")
        by_epoch = beyond is None or "meta.event" in row
        when = ("epoch", epoch) if by_epoch else ("overtrain", beyond)
        return (str(row["run_id"]), str(row.get("transform")), *map(str, when))
    if "meta.part" in row:
        names = ("meta.part", *_PLACE, *_NAME)
        return tuple(str(row.get(name)) for name in names)
    return None


def merge_rows(old: Iterable[Row], new: Sequence[Row], finished: Sequence[bool]) -> list[Row]:
    """Return the new rows, each joined with the old one of its key, then all other old rows.

    Args:
        old: rows that are there.
        new: rows of this run.
        finished: which of them have all that was asked for.
    """
    there = dict(numbered(old))
    known = {(_group(row), _origin(row)) for row in there.values()}
    groups = {group for group, _ in known}
    foreign = {_group(r) for r in new if (_group(r), _origin(r)) not in known} & groups
    replaced = foreign & {_group(row) for row, whole in zip(new, finished, strict=True) if whole}
    merged = {}
    for (key, row), whole in zip(numbered(new), finished, strict=True):
        group = _group(row)
        if group in replaced or (group not in foreign and key not in there):
            merged[key] = row
        elif group not in foreign:
            merged[key] = _joined_row(there[key], row, whole)
    rest = {key: row for key, row in there.items() if _group(row) not in replaced}
    return list((merged | {key: row for key, row in rest.items() if key not in merged}).values())


def numbered(rows: Iterable[Row]) -> Iterator[tuple[tuple, Row]]:
    """Yield rows with a key that none of the others has: their own, and how often it came before.

    The key of a row without one is its content.
    """
    counts: dict[Any, int] = {}
    for row in rows:
        key = row_key(row) or json.dumps(row, sort_keys=True)
        counts[key] = counts.get(key, 0) + 1
        yield (key, counts[key]), row


def _joined_row(old: Row, new: Row, finished: bool) -> Row:
    if _of_one_network(old, new):
        return {**old, **new}
    return new if finished else old


def _of_one_network(old: Row, new: Row) -> bool:
    """Check that all numbers that both rows have are equal, and that no fault was mended."""
    numbers = ("measure.", "is.")
    common = [name for name in new.keys() & old.keys() if name.startswith(numbers)] + ["epoch"]
    stages = [
        name.removeprefix(FAULT) for name in old.keys() - new.keys() if name.startswith(FAULT)
    ]
    return all(old.get(name) == new.get(name) for name in common) and not any(
        f"meta.{stage}.seconds" in new for stage in stages
    )


def _group(row: Row) -> tuple:
    """Return what names the rows that are drawn up together with this one."""
    if row.get("run_id") is not None:
        return str(row["run_id"]), str(row.get("transform"))
    return tuple(str(row.get(name)) for name in ("meta.part", *_PLACE))


def _origin(row: Row) -> Any:
    """Return what the rows of a group have in common: the event of a branch, or settings."""
    branch = row.get("transform") not in (None, "none")
    return row.get("measure.epochs.event") if branch else row.get("meta.settings")
