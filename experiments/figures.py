"""python -m experiments.figures --figure=4 --workdir=runs: the paper's figures from the records.

Records are those of the experiment in --workdir or of all experiments one level below it.
--figure=all draws every figure that has a panel with records.
"""

import sys
import warnings
from collections.abc import Iterator

import pandas as pd
from absl import app, flags, logging
from etils import epath

from experiments.flag_help import parse_flags
from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.paper.scatter_figures import paper_figure
from flatvol_jax.paper.studies import STUDIES, study_figures
from flatvol_jax.runtime import checks, files
from flatvol_jax.study.engine.records import load_sweeps
from flatvol_jax.study.report import formatting
from flatvol_jax.study.report.scatter import save_figure

NAMES = [*FIGURES, *STUDIES]
FIGURE = flags.DEFINE_string("figure", "all", f"One of {', '.join(NAMES)}, or all.")
WORKDIR = flags.DEFINE_string("workdir", "runs", "Folder of a sweep, or of folders of sweeps.")
SCALE = flags.DEFINE_string("scale", None, "Which sweep, where a system has one at several scales.")


def main(_) -> None:
    """Draw, write pictures and tables, say in a line a panel what they show."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    folder = epath.Path(WORKDIR.value) / "figures"
    try:
        checks.one_of("--figure", FIGURE.value, ["all", *NAMES])
        frame = load_sweeps(WORKDIR.value)
        for name in NAMES if FIGURE.value == "all" else [FIGURE.value]:
            lines = _sweeps(frame, name, folder) if name in FIGURES else _study(frame, name, folder)
            print("\n".join(lines))
    except ValueError as error:
        sys.exit(f"error: {error}")


def _sweeps(frame: pd.DataFrame, name: str, folder: epath.Path) -> list[str]:
    """A figure of panels from several sweeps, with its table; a line a panel."""
    figure, table = paper_figure(frame, name, SCALE.value)
    if FIGURE.value == "all" and table["scale"].isna().all():
        return [f"figure {name}: no records, not drawn"]
    stem = folder / f"figure_{name}"
    save_figure(figure, stem)
    files.write_text(folder / f"{stem.name}.csv", table.to_csv(index=False))
    return [f"figure {name}: {FIGURES[name].shows}; {stem}.png, .svg, .csv", *_lines(table)]


def _study(frame: pd.DataFrame, name: str, folder: epath.Path) -> list[str]:
    """A figure from the records of one study, for each study that has it; a line each."""
    found = study_figures(frame, name)
    lines = []
    for workdir, figure in found.items():
        of_study = f"_{epath.Path(workdir).name}" if len(found) > 1 else ""
        stem = folder / f"figure_{name}{of_study}"
        save_figure(figure, stem)
        lines.append(f"figure {name}: {STUDIES[name].shows}, from {workdir}; {stem}.png, .svg")
    return lines or [f"figure {name}: no records, not drawn: {STUDIES[name].command}"]


def _lines(table: pd.DataFrame) -> Iterator[str]:
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


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
