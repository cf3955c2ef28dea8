"""The paper as one page: every figure and table, every claim judged, where all of it is from."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.paper import sensitivity
from flatvol_jax.paper._provenance import Provenance
from flatvol_jax.paper.claims.claim import PaperClaim
from flatvol_jax.paper.claims.paper_claims import Overview, overview, span
from flatvol_jax.paper.claims.sentences import QUESTIONS, SENTENCES
from flatvol_jax.paper.pictures import PaperPicture
from flatvol_jax.paper.table_1 import Row
from flatvol_jax.study.report import answer, forest, page
from flatvol_jax.study.report.formatting import DASH, number

SUMMARY = (
    "How log V(f) and sharpness correlate with the error, by optimizer: pooled over |A|, as the "
    "paper measures it, and within |A|"
)


def write_paper_report(
    path: epath.PathLike,
    claims: Sequence[PaperClaim],
    summary: pd.DataFrame | None,
    pictures: Sequence[PaperPicture],
    table_1: Sequence[Row],
    sensitivities: pd.DataFrame,
    through_time: pd.DataFrame,
    studies: Sequence[tuple[Provenance, str, str]],
    context: Mapping[str, Any],
    sweeps: Sequence[tuple[str, pd.DataFrame, pd.DataFrame]] = (),
) -> None:
    """Write the report, one HTML file that loads nothing.

    Args:
        path: of the .html file, written atomically.
        claims: `reproduction.paper_claims`.
        summary: the claims table that answers in one picture, None without sweeps.
        pictures: `paper_pictures`, in the paper's order.
        table_1: `reproduction.table_1`.
        sensitivities: `reproduction.sensitivity_table`.
        through_time: `reproduction.temporal_table`.
        studies: of each study that has records: its provenance, its command, and what became of
            it ("reused", "run in 3 min 5 s", ...).
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`; `not_run`, pairs of a command and the reason.
        sweeps: of each system at zero error its name, `halves_table` and `attack_size_table`.
    """
    sources = {
        source.folder: {**source._asdict(), "command": command, "fate": fate}
        for source, command, fate in studies
    }
    page.write_page(
        path,
        "paper/report.html.j2",
        {"title": "Why flatness correlates with generalisation: every figure and claim", **context},
        sentences=SENTENCES,
        questions=list(_questions(claims)),
        counts={name: _counts(claims, name) for name in ("paper", "within")},
        sweeps=sweeps,
        **_answer(summary, context.get("scale")),
        pictures=[_picture(i, picture, sources) for i, picture in enumerate(pictures)],
        table_1=[_table_1_row(row) for row in table_1],
        sensitivities=_pivots(sensitivities),
        through_time=list(through_time.groupby("study", sort=False)) if len(through_time) else [],
        studies=list(sources.values()),
        not_run=list(context.get("not_run") or ()),
        networks=sum(source["networks"] for source in sources.values()),
        span=span,
    )


def _answer(summary: pd.DataFrame | None, scale: str | None) -> dict[str, Any]:
    """Return the answer in sentences and its picture; empty without sweeps."""
    if summary is None:
        return {"answers": [], "forest": [], "forest_labels": []}
    return {
        "answers": answer.answer_sentences(summary, scale),
        "forest": [
            page.inline_figure(figure, f"summary{i}", f"{SUMMARY}: {label}")
            for i, (label, figure) in enumerate(forest.forest_panels(summary))
        ],
        "forest_labels": forest.legend_labels(summary),
    }


def _questions(
    claims: Sequence[PaperClaim],
) -> Iterator[tuple[str, list[tuple[Overview, list[PaperClaim]]]]]:
    """Yield each question with the sentences that have claims: in a line, and claim by claim."""
    lines = {line.key: line for line in overview(claims)}
    for question, keys in QUESTIONS.items():
        found = [
            (lines[key], [claim for claim in claims if claim.sentence == key])
            for key in keys
            if key in lines
        ]
        if found:
            yield question, found


def _counts(claims: Sequence[PaperClaim], reading: str) -> list[tuple[str, int]]:
    """Count the verdicts of one reading, most frequent first."""
    found = [claim.readings[reading].verdict for claim in claims if reading in claim.readings]
    return Counter(found).most_common()


def _picture(i: int, picture: PaperPicture, sources: Mapping[str, Any]) -> dict[str, Any]:
    named = [epath.Path(folder).name for folder in picture.folders]
    svg, width = None, 0.0
    if picture.figure is not None:
        svg = page.inline_figure(picture.figure, f"fig{i}", f"Figure {picture.name}")
        width = float(picture.figure.get_size_inches()[0])
    return {
        **picture._asdict(),
        "svg": svg,
        "width": width,
        "study": named[0] if len(named) == 1 else "",
        "sources": [sources[name] for name in named if name in sources],
    }


def _table_1_row(row: Row) -> dict[str, Any]:
    names = ("epsilon", "batch", "rate", "epochs")
    ours = "not measured at this scale"
    if row.ours is not None:
        same = row.ours == row.paper
        ours = "the same" if same else ", ".join(map(number, row.ours))
    settled = DASH if row.converged is None else "{} of {}".format(*row.converged)
    cells = dict(zip(names, row.paper, strict=True))
    return {**row._asdict(), **cells, "ours": ours, "settled": settled}


def _pivots(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return for each fact a table: a row a change, a cell an optimizer."""
    pivots = []
    for sentence, fact in sensitivity.FACTS.items():
        rows = table[table["sentence"] == sentence]
        optimizers = list(dict.fromkeys(rows["optimizer"]))
        changes = [
            {row["optimizer"]: row for row in group.to_dict("records")}
            | {"change": sensitivity.NAMES[change]}
            for change, group in rows.groupby("change", sort=False)
        ]
        columns = [("change", "change", "wrap"), *((name, name, "both") for name in optimizers)]
        if changes:
            pivots.append({"sentence": sentence, "fact": fact, "rows": changes, "columns": columns})
    return pivots
