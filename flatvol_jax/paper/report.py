"""The paper as one page: every figure and table, every claim judged, where all of it is from."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath
from matplotlib.figure import Figure

from flatvol_jax.paper import sensitivity
from flatvol_jax.paper.claims.claim import PaperClaim
from flatvol_jax.paper.claims.paper_claims import overview
from flatvol_jax.paper.claims.sentences import SENTENCES
from flatvol_jax.paper.pictures import PaperPicture
from flatvol_jax.paper.provenance import Provenance
from flatvol_jax.paper.table_1 import Row
from flatvol_jax.runtime import files
from flatvol_jax.study.report import page

SUMMARY = (
    "How log V(f) and sharpness correlate with the error, by optimizer: pooled over |A|, as the "
    "paper measures it, and within |A|"
)


def write_paper_report(
    path: epath.PathLike,
    claims: Sequence[PaperClaim],
    summary: Figure | None,
    pictures: Sequence[PaperPicture],
    table_1: Sequence[Row],
    sensitivities: pd.DataFrame,
    through_time: pd.DataFrame,
    studies: Sequence[tuple[Provenance, str, str]],
    context: Mapping[str, Any],
    halves: Sequence[tuple[str, pd.DataFrame]] = (),
) -> None:
    """Write the report, one HTML file that loads nothing.

    Args:
        path: of the .html file, written atomically.
        claims: `reproduction.paper_claims`.
        summary: the answer in one picture, None without sweeps.
        pictures: `paper_pictures`, in the paper's order.
        table_1: `reproduction.table_1`.
        sensitivities: `reproduction.sensitivity_table`.
        through_time: `reproduction.temporal_table`.
        studies: of each study that has records: its provenance, its command, and what became of
            it ("reused", "run in 3 min 5 s", ...).
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`; `not_run`, pairs of a command and the reason.
        halves: of each sweep at zero error its name and `halves_table`.
    """
    of_folder = {of.folder: (of, command, fate) for of, command, fate in studies}
    text = page.render_page(
        "paper/report.html.j2",
        {"title": "Why flatness correlates with generalisation: every figure and claim", **context},
        overview=overview(claims),
        sentences=SENTENCES,
        claims=list(_by_sentence(claims)),
        halves=[(name, table.to_dict("records")) for name, table in halves],
        summary=None if summary is None else page.inline_figure(summary, "summary", SUMMARY),
        summary_text=SUMMARY,
        pictures=[_picture(i, picture, of_folder) for i, picture in enumerate(pictures)],
        table_1=[row._asdict() for row in table_1],
        sensitivities=_pivots(sensitivities),
        changes=sensitivity.NAMES,
        through_time=_through_time(through_time),
        studies=[(of._asdict(), command, fate) for of, command, fate in studies],
        not_run=list(context.get("not_run") or ()),
        networks=sum(of.networks for of, _, _ in studies),
    )
    files.write_text(path, text)


def _by_sentence(claims: Sequence[PaperClaim]) -> Iterator[tuple[str, list[PaperClaim]]]:
    for key in SENTENCES:
        if of_sentence := [claim for claim in claims if claim.sentence == key]:
            yield key, of_sentence


def _picture(i: int, picture: PaperPicture, of_folder: Mapping[str, tuple]) -> dict[str, Any]:
    named = [epath.Path(folder).name for folder in picture.folders]
    sources = [of_folder[name] for name in named if name in of_folder]
    svg, width = None, 0.0
    if picture.figure is not None:
        svg = page.inline_figure(picture.figure, f"fig{i}", f"Figure {picture.name}")
        width = float(picture.figure.get_size_inches()[0])
    return {
        **picture._asdict(),
        "svg": svg,
        "width": width,
        "study": named[0] if len(named) == 1 else "",
        "sources": [(of._asdict(), command, fate) for of, command, fate in sources],
    }


def _pivots(table: pd.DataFrame) -> list[dict[str, Any]]:
    """For each fact a table: a row a change, a cell an optimizer."""
    pivots = []
    for sentence, fact in sensitivity.FACTS.items():
        rows = table[table["sentence"] == sentence]
        if not len(rows):
            continue
        optimizers = list(dict.fromkeys(rows["optimizer"]))
        cells = {
            change: {row["optimizer"]: row for row in group.to_dict("records")}
            for change, group in rows.groupby("change", sort=False)
        }
        pivots.append(
            {"sentence": sentence, "fact": fact, "optimizers": optimizers, "cells": cells}
        )
    return pivots


def _through_time(table: pd.DataFrame) -> list[tuple[str, list[dict[str, Any]]]]:
    if not len(table):
        return []
    return [(study, rows.to_dict("records")) for study, rows in table.groupby("study", sort=False)]
