"""Two workdirs held against each other: the same networks number by number, or two designs."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from etils import epath

from flatvol_jax.study.analysis import columns as col
from flatvol_jax.study.analysis import comparison, selection, statistics
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.engine.records import load_records
from flatvol_jax.study.report import page

KEY = [col.RUN, col.OVERTRAIN, col.TRANSFORM, col.EPOCH]
SAME_DRAWS = ("hp.data.", "hp.seed")  # what makes the draws of two sweeps the same S, A, E


class WorkdirComparison(NamedTuple):
    """What differs between two workdirs.

    Attributes:
        names: of the two folders.
        config: columns entry, first, second: entries of config.json that differ, absent as None.
        counts: rows in both, in the first only, in the second only.
        moved: of the rows in both, a row a measure: column, rows, equal (bit for bit), largest and
            median absolute difference, largest relative one; most moved first.
        correlations: a row a measure that both have on the same draws: measure, within and pooled
            correlation with the error of each, how much weaker the second is within |A| (estimate,
            low, high, 95% over draws), draws, runs; empty where the draws differ.
    """

    names: tuple[str, str]
    config: pd.DataFrame
    counts: tuple[int, int, int]
    moved: pd.DataFrame
    correlations: pd.DataFrame


def compare_workdirs(first: epath.PathLike, second: epath.PathLike) -> WorkdirComparison:
    """Hold the records of two workdirs against each other.

    Args:
        first: a folder with records.
        second: another.

    Raises:
        ValueError: a folder without records.
    """
    one, other = load_records(first), load_records(second)
    keys = [name for name in KEY if name in one and name in other]
    both = one[keys].merge(other[keys], how="outer", indicator=True)["_merge"].value_counts()
    return WorkdirComparison(
        (str(first), str(second)),
        _config_differences(first, second),
        (int(both["both"]), int(both["left_only"]), int(both["right_only"])),
        _changes(one, other, keys),
        _correlations(one, other),
    )


def comparison_summary(found: WorkdirComparison) -> Iterator[str]:
    """Write the comparison in plain text."""
    both, left, right = found.counts
    yield f"{both} rows in both, {left} only in {found.names[0]}, {right} only in {found.names[1]}"
    for row in found.config.itertuples():
        yield f"  config {row.entry}: {row.first} | {row.second}"
    if both:
        same = found.moved[found.moved["equal"] == found.moved["rows"]]
        yield f"{len(same)} of {len(found.moved)} measures are equal bit for bit"
        for row in found.moved[found.moved["equal"] < found.moved["rows"]].itertuples():
            yield (
                f"  {row.column}: {row.rows - row.equal} of {row.rows} rows moved, by at most "
                f"{row.largest:.3g} ({row.relative:.2g} relative), median {row.median:.3g}"
            )
    for row in found.correlations.itertuples():
        yield (
            f"  {row.measure:32} within |A| {row.within_first:+.2f} | {row.within_second:+.2f}, "
            f"weaker by {row.estimate:+.2f} [{row.low:+.2f}, {row.high:+.2f}]; "
            f"pooled {row.pooled_first:+.2f} | {row.pooled_second:+.2f}"
        )


def write_workdir_comparison(
    path: epath.PathLike, found: WorkdirComparison, context: Mapping[str, Any]
) -> None:
    """Write one self-contained page of two workdirs held against each other.

    Args:
        path: of the .html file, written atomically.
        found: `compare_workdirs`.
        context: as `page.render_page` takes it.
    """
    ends = {"low": "estimate_low", "high": "estimate_high"}
    page.write_page(
        path,
        "study/sweep/workdir_comparison.html.j2",
        {"title": "Two workdirs compared", **context},
        names=found.names,
        counts=found.counts,
        config_rows=found.config.astype(object),
        moved=found.moved,
        correlations=found.correlations.rename(columns=ends),
    )


def _config_differences(first: epath.PathLike, second: epath.PathLike) -> pd.DataFrame:
    one, other = _config(first), _config(second)
    names = [name for name in {**one, **other} if one.get(name) != other.get(name)]
    rows = [(name, one.get(name), other.get(name)) for name in names]
    return pd.DataFrame(rows, columns=["entry", "first", "second"])


def _config(workdir: epath.PathLike) -> dict[str, Any]:
    path = epath.Path(workdir) / "config.json"
    return dict(flatten(json.loads(path.read_text())["config"])) if path.exists() else {}


def _changes(one: pd.DataFrame, other: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    columns = [c for c in one if c.startswith("measure.") and c in other]
    both = one[keys + columns].merge(other[keys + columns], on=keys, suffixes=("|1", "|2"))
    rows = []
    for column in columns:
        a, b = (col.numbers(both, f"{column}|{side}") for side in (1, 2))
        known = np.isfinite(a) | np.isfinite(b)
        a, b = a[known], b[known]
        if not len(a):
            continue
        difference = np.abs(a - b)
        difference[np.isnan(difference)] = np.inf  # a number on one side only
        scale = np.maximum(np.abs(a), np.abs(b))
        relative = np.divide(difference, scale, out=np.zeros_like(difference), where=scale > 0)
        largest = (difference.max(), relative.max(), np.median(difference))
        rows.append((column, len(a), int(np.sum(a == b)), *map(float, largest)))
    names = ["column", "rows", "equal", "largest", "relative", "median"]
    table = pd.DataFrame(rows, columns=names)
    return table.sort_values("relative", ascending=False, ignore_index=True)


def _correlations(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    columns = ["measure", "within_first", "within_second", "pooled_first", "pooled_second"]
    columns += ["estimate", "low", "high", "draws", "runs"]
    needed = {col.DRAW, col.ATTACK_SIZE, col.SAMPLE, col.ZERO_ERROR, col.TEST_ERROR}
    if not needed <= set(one) or not needed <= set(other) or not _same_draws(one, other):
        return pd.DataFrame(columns=columns)
    one, other = (f[np.nan_to_num(col.numbers(f, col.OVERTRAIN)) == 0] for f in (one, other))
    error = selection.error_column(one)[0]
    rows = []
    for measure in col.MEASURES:
        if measure.name == error or not (measure.name in one and measure.name in other):
            continue
        pair = _paired(one, other, measure.name, error)
        if not len(pair[0]):
            continue
        within, pooled = (
            [statistics.draw_statistics(p, measure.name, error, reading=reading) for p in pair]
            for reading in (statistics.WITHIN, statistics.POOLED)
        )
        found = comparison.difference_of_draws(within[0], within[1], measure.sign)
        estimates = map(statistics.mean_over_z, (*within, *pooled))
        cells = (found.estimate, found.low, found.high, found.draws, len(pair[0]))
        rows.append((measure.label, *estimates, *cells))
    return pd.DataFrame(rows, columns=columns)


def _same_draws(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Say whether both drew the same S, A and E from the same data."""

    def drawn(frame: pd.DataFrame) -> dict[str, str]:
        names = frame.columns[frame.columns.str.startswith(SAME_DRAWS)]
        return {name: str(frame[name].iloc[0]) for name in names}

    return drawn(one) == drawn(other)


def _paired(one, other, column: str, error: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return usable runs of both with the same draw, |A| and sample."""
    usable = [selection.usable(frame, column, error)[0] for frame in (one, other)]
    place = [col.DRAW, col.ATTACK_SIZE, col.SAMPLE]
    places = [pd.MultiIndex.from_frame(part[place]) for part in usable]
    return usable[0][places[0].isin(places[1])], usable[1][places[1].isin(places[0])]
