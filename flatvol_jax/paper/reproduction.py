"""All records below a workdir -> report.html, claims, tables and the paper's figures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.paper._provenance import Provenance, provenance
from flatvol_jax.paper.claims.boolean import boolean_claims
from flatvol_jax.paper.claims.claim import PaperClaim
from flatvol_jax.paper.claims.paper_claims import (
    claims_frame,
    claims_markdown,
    overview_lines,
    paper_claims,
)
from flatvol_jax.paper.claims.through_time import temporal_claims
from flatvol_jax.paper.measure_tables import measures_markdown
from flatvol_jax.paper.pictures import PaperPicture, paper_pictures
from flatvol_jax.paper.report import write_paper_report
from flatvol_jax.paper.sensitivity import PREFIX, sensitivity_table, temporal_table
from flatvol_jax.paper.table_1 import table_1
from flatvol_jax.runtime import files
from flatvol_jax.study.analysis.attack_size_table import attack_size_table
from flatvol_jax.study.analysis.columns import EXPERIMENT, SCALE, WORKDIR
from flatvol_jax.study.analysis.experiment_tables import (
    ExperimentTables,
    experiment_tables,
    of_scale,
)
from flatvol_jax.study.analysis.names import SYSTEMS
from flatvol_jax.study.engine.records import load_records, load_sweeps
from flatvol_jax.study.report.answer import answer_lines
from flatvol_jax.study.report.forest import forest_figure
from flatvol_jax.study.report.scatter import png_bytes

SENSITIVITY = "Sensitivity run"  # how the note of such a study begins
JUDGED = ("draws", "smoke")  # variants of the temporal study that the claims are judged on
FIRST_PROTOCOL = "first_protocol"  # a folder of sweeps, and a row of the sensitivities


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
        seed: fixes permutations.

    Raises:
        ValueError: there are no records.
    """
    root = epath.Path(workdir)
    frame = load_sweeps(root)
    frame = frame[[epath.Path(path).name in studies for path in frame[WORKDIR]]]
    records = [(path, load_records(path)) for path in frame[WORKDIR].unique()]
    sources = [(provenance(path, rows), rows) for path, rows in records]
    tables = _tables(frame, scale, seed)
    through_time = list(_claims_through_time(sources, scale))
    judged = next((claims for source, claims in through_time if _is_judged(source)), ())
    boolean = next((rows for source, rows in sources if _experiment(source) == "boolean"), None)
    others = [*judged, *(boolean_claims(boolean) if boolean is not None else ())]
    claims = paper_claims(tables, others, scale)
    if not claims:
        raise ValueError(
            f"{root}: got no records at scale {scale!r}, wanted those of at least one study of "
            "configs/reproduce.py. Run it without --norun, or name another --workdir or --scale."
        )
    summary = _summary_claims(tables)
    pictures = list(paper_pictures(frame, scale))
    sensitivities = sensitivity_table(pd.concat([frame, *_first_protocol(root)]))
    write_paper_report(
        root / "report.html",
        claims,
        summary,
        pictures,
        table_1([(source.settings, rows) for source, rows in sources]),
        sensitivities,
        temporal_table([(source.config, found) for source, found in through_time]),
        [(source, *studies[source.folder]) for source, _ in sources],
        {**context, "scale": scale},
        [
            (SYSTEMS[one.experiment], one.halves, attack_size_table(one.frame))
            for one in tables
            if one.overtrain == 0
        ],
    )
    files.write_text(root / "claims.csv", claims_frame(claims).to_csv(index=False))
    files.write_text(root / "claims.md", claims_markdown(claims))
    files.write_text(root / "measures.md", measures_markdown(tables))
    files.write_text(root / "sensitivity.csv", sensitivities.to_csv(index=False))
    if summary is not None:
        files.write_bytes(root / "figures" / "summary.png", png_bytes(forest_figure(summary)))
    _save(pictures, root / "figures")
    return [
        *(answer_lines(summary, scale) if summary is not None else ()),
        *overview_lines(claims),
        f"claims:      {root / 'claims.csv'}, claims.md",
        f"measures:    {root / 'measures.md'}",
        f"sensitivity: {root / 'sensitivity.csv'}",
        f"figures:     {root / 'figures'}",
        f"report:      {root / 'report.html'}",
    ]


def _first_protocol(root: epath.Path) -> Iterator[pd.DataFrame]:
    """Yield the sweeps of the protocol before the paper's, named as a sensitivity row."""
    folder = root / FIRST_PROTOCOL
    if folder.is_dir():
        yield load_sweeps(folder).assign(**{EXPERIMENT: f"{PREFIX}{FIRST_PROTOCOL}"})


def _tables(frame: pd.DataFrame, scale: str, seed: int) -> list[ExperimentTables]:
    """Return the tables of the sweeps of this scale, without those for sensitivity."""
    known = frame[EXPERIMENT].isin(SYSTEMS) & (frame[SCALE] == scale)
    return experiment_tables(of_scale(frame[known], scale), scale, seed) if known.any() else []


def _claims_through_time(
    sources: Sequence[tuple[Provenance, pd.DataFrame]], scale: str
) -> Iterator[tuple[Provenance, list[PaperClaim]]]:
    """Yield the claims of each temporal study with one or two scalings, judged ones first."""
    studies = [pair for pair in sources if _experiment(pair[0]) == "temporal"]
    for source, rows in sorted(studies, key=lambda pair: pair[0].scale not in JUDGED):
        if 1 <= len(source.settings["event"]["alphas"]) <= 2:
            yield source, list(temporal_claims(rows, scale))


def _is_judged(source: Provenance) -> bool:
    """Say whether the claims are judged on this temporal study."""
    note = str(source.settings.get("note", ""))
    return source.scale in JUDGED and not note.startswith(SENSITIVITY)


def _experiment(source: Provenance) -> str | None:
    return source.settings.get("experiment")


def _summary_claims(tables: Sequence[ExperimentTables]) -> pd.DataFrame | None:
    """Return the claims table of the experiment with most optimizers."""
    at_zero = [one for one in tables if one.overtrain == 0]
    widest = max(at_zero, key=lambda one: one.claims["optimizer"].nunique(), default=None)
    return None if widest is None else widest.claims


def _save(pictures: list[PaperPicture], folder: epath.Path) -> None:
    """Write FOLDER/figure_NAME.png; of several studies of one figure with the study's name."""
    for picture in pictures:
        if picture.figure is None:
            continue
        several = sum(other.name == picture.name for other in pictures) > 1
        study = f"_{epath.Path(picture.folders[0]).name}" if several else ""
        files.write_bytes(folder / f"figure_{picture.name}{study}.png", png_bytes(picture.figure))
