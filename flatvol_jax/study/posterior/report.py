"""One self-contained report.html of the posterior experiment, and its figure by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.study.analysis.names import OPTIMIZERS
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.posterior import summary
from flatvol_jax.study.posterior.figure import posterior_figure
from flatvol_jax.study.posterior.margin_figure import margin_figure
from flatvol_jax.study.posterior.published import DIFFERENCES
from flatvol_jax.study.report import formatting, page
from flatvol_jax.study.report.pictures import Picture, drawn_pictures

_RANDOM = ("random", "vote", "guessed")


def posterior_pictures(frame: pd.DataFrame) -> list[Picture]:
    """Draw the figures that the records allow."""
    return drawn_pictures(
        ("posterior", "Trained networks and random ones that fit S", posterior_figure(frame)),
        ("margins", "Trained networks beside guessed ones, by margin", margin_figure(frame)),
    )


def write_posterior_report(
    workdir: epath.PathLike, frame: pd.DataFrame, context: Mapping[str, Any]
) -> epath.Path:
    """Write WORKDIR/report.html, which loads nothing, and return its path.

    Args:
        workdir: the folder of the experiment; the file is written atomically.
        frame: records.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`, what is missing is shown as a dash; `config`, nested plain data.
    """
    config = context.get("config") or {}
    sizes, networks = summary.size_table(frame), summary.network_table(frame)
    published, claims = summary.published_table(frame), summary.claim_table(frame)
    trained = [name for name in OPTIMIZERS if name in sizes]
    return page.write_page(
        epath.Path(workdir) / "report.html",
        "study/posterior/report.html.j2",
        {"title": "Trained networks and random ones that fit S", **context},
        config=list(flatten(config)),
        note=config.get("note"),
        sentence=summary.first_sentence(frame),
        pictures=[
            page.inline_figure(figure, name, shows)
            for name, shows, figure in posterior_pictures(frame)
        ],
        claims=_spelled(claims, {"estimate": 1}),
        sizes=_spelled(sizes, dict.fromkeys([*_RANDOM, *trained], 100) | {"gap": 1}),
        trained=[(OPTIMIZERS[name], name, "plain") for name in trained],
        networks=_spelled(networks, {"trained": 100, "guessed": 100, "infinite": 100, "gap": 1}),
        margins=_spelled(summary.margin_table(frame), {"trained": 100, "gap": 1}),
        published=_spelled(
            published, dict.fromkeys(("trained", "later", "guessed", "infinite"), 100)
        ),
        differences=DIFFERENCES,
    )


def _spelled(table: pd.DataFrame, scales: Mapping[str, float]) -> pd.DataFrame:
    """Return the table with estimates written with their intervals, in percent or points."""
    table = table.copy()
    known = {name: scale for name, scale in scales.items() if name in table or name == "estimate"}
    for name, scale in known.items() if len(table) else ():
        low, high = ("low", "high") if name == "estimate" else (f"{name}_low", f"{name}_high")
        ends = zip(*(scale * table[column] for column in (name, low, high)), strict=True)
        table[name] = [_with_interval(*values) for values in ends]
    return table


def _with_interval(mean: float, low: float, high: float) -> str:
    if pd.isna(mean):
        return formatting.DASH
    text = f"{mean:.1f}"
    ends = f" [{low:.1f}, {high:.1f}]" if not pd.isna(low) else ""
    return (text + ends).replace("-", "−")
