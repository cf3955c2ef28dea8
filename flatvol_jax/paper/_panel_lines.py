"""What the panels of a figure show, a line a panel."""

from collections.abc import Iterator

import pandas as pd

from flatvol_jax.study.report import formatting


def panel_lines(table: pd.DataFrame) -> Iterator[str]:
    """Yield a line for each row of the table of `paper_figure`."""
    for row in table.itertuples():
        after = f" + {row.overtrain} epochs" if row.overtrain else ""
        what = f"({row.letter}) {row.experiment} {row.optimizer}{after}, {row.x}, {row.y}"
        if pd.isna(row.scale):
            yield f"  {what}: {row.left_out}"
            continue
        within, pooled = (
            f"{formatting.correlation(estimate)} {formatting.interval(low, high)}"
            for estimate, low, high in (
                (row.within, row.within_low, row.within_high),
                (row.pooled, row.pooled_low, row.pooled_high),
            )
        )
        left_out = f" ({row.left_out})" if row.left_out else ""
        yield f"  {what}: within |A| {within}, pooled {pooled}, n = {row.n}{left_out}"
