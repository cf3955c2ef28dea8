"""All records below a workdir -> report.html, claims.csv, claims.md and the paper's figures."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.figures.claims_markdown import claims_markdown
from flatvol_jax.figures.paper_pictures import PaperPicture, paper_pictures
from flatvol_jax.figures.paper_report import write_paper_report
from flatvol_jax.figures.scatter import png_bytes
from flatvol_jax.runtime import files
from flatvol_jax.study.experiment_tables import experiment_tables, of_scale
from flatvol_jax.study.records import load_records, load_sweeps
from flatvol_jax.study.reproduction import (
    Provenance,
    claims_frame,
    overview,
    paper_claims,
    provenance,
    sensitivity_table,
    temporal_table,
)
from flatvol_jax.study.reproduction.table_1 import table_1

JUDGED = ("draws", "smoke")  # variants of the temporal study that the claims are judged on
FOLDER = "meta.workdir"


def write_reproduction(
    workdir: epath.PathLike,
    scale: str,
    studies: Mapping[str, tuple[str, str]],
    context: Mapping[str, Any],
    seed: int = 0,
) -> list[str]:
    """Judge every claim, draw every figure, write the report; lines that say where all is.

    Args:
        workdir: folder of the studies, one each; results go there, too.
        scale: of the sweeps; "cpu" and "paper" allow verdicts.
        studies: folder name -> the command that makes it and what became of it ("reused", ...).
            Records in other folders are left alone.
        context: as `write_paper_report` takes it.
        seed: fixes bootstraps.

    Raises:
        ValueError: there are no records.
    """
    root = epath.Path(workdir)
    frame = load_sweeps(root)
    frame = frame[[epath.Path(path).name in studies for path in frame[FOLDER]]]
    records = {path: load_records(path) for path in frame[FOLDER].unique()}
    sources = {path: provenance(path, rows) for path, rows in records.items()}
    claims = _claims(frame, records, sources, scale, seed)
    pictures = list(paper_pictures(frame, scale))
    sensitivities = sensitivity_table(frame)
    through_time = temporal_table(list(_scaled(records, sources)))
    write_paper_report(
        root / "report.html",
        claims,
        pictures,
        table_1([(sources[path].settings, rows) for path, rows in records.items()]),
        sensitivities,
        through_time,
        [(source, *studies[source.folder]) for source in sources.values()],
        {**context, "scale": scale},
    )
    files.write_text(root / "claims.csv", claims_frame(claims).to_csv(index=False))
    files.write_text(root / "claims.md", claims_markdown(claims))
    files.write_text(root / "sensitivity.csv", sensitivities.to_csv(index=False))
    _save(pictures, root / "figures")
    return [
        *_summary(claims),
        f"claims:      {root / 'claims.csv'}, claims.md",
        f"sensitivity: {root / 'sensitivity.csv'}",
        f"figures:     {root / 'figures'}",
        f"report:      {root / 'report.html'}",
    ]


def _claims(frame, records, sources, scale, seed):
    of_temporal = [
        rows
        for path, rows in records.items()
        if _is(sources[path], "temporal")
        and sources[path].scale in JUDGED
        and _plain(sources[path])
    ]
    of_boolean = [rows for path, rows in records.items() if _is(sources[path], "boolean")]
    try:
        tables = experiment_tables(_of_systems(of_scale(frame, scale)), scale, seed)
    except ValueError:
        if not of_temporal and not of_boolean:
            raise
        tables = []
    return paper_claims(
        tables,
        of_temporal[0] if of_temporal else None,
        of_boolean[0] if of_boolean else None,
        scale,
    )


def _of_systems(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the sensitivity sweeps, which have a table of their own."""
    return frame[~frame["meta.experiment"].astype(str).str.startswith("sensitivity_")]


def _scaled(
    records: Mapping[str, pd.DataFrame], sources: Mapping[str, Provenance]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The temporal studies with one or two scaled branches, those for verdicts first."""
    studies = [path for path in records if _is(sources[path], "temporal")]
    for path in sorted(studies, key=lambda path: sources[path].scale not in JUDGED):
        if 1 <= len(sources[path].settings["event"]["alphas"]) <= 2:
            yield sources[path].config, records[path]


def _is(source: Provenance, experiment: str) -> bool:
    return source.settings.get("experiment") == experiment


def _plain(source: Provenance) -> bool:
    """Whether a study is no sensitivity run."""
    return not str(source.settings.get("note", "")).startswith("Sensitivity run")


def _save(pictures: list[PaperPicture], folder: epath.Path) -> None:
    """FOLDER/figure_NAME.png; of several studies of one figure with the study's name."""
    for picture in pictures:
        if picture.figure is None:
            continue
        several = sum(other.name == picture.name for other in pictures) > 1
        study = f"_{epath.Path(picture.folders[0]).name}" if several else ""
        files.write_bytes(folder / f"figure_{picture.name}{study}.png", png_bytes(picture.figure))


def _summary(claims) -> Iterator[str]:
    for line in overview(claims):
        verdicts = ", ".join(f"{count} x {verdict}" for verdict, count in line.verdicts.items())
        yield f"{line.sentence.text}\n    {verdicts}"
