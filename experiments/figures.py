"""python -m experiments.figures --figure=4 --workdir=runs: the paper's figures from the records.

Records are those of the experiment in --workdir or of all experiments one level below it.
--figure=all draws every figure that has a panel with records.
"""

import sys
import warnings
from typing import Any

from absl import app, flags, logging
from etils import epath

from experiments.flag_help import parse_flags
from flatvol_jax import paper, runtime
from flatvol_jax.study import engine, report

FIGURE = flags.DEFINE_string("figure", "all", "2 to 5 or S1 to S18, but S4; C1; or all.")
WORKDIR = flags.DEFINE_string("workdir", "runs", "Folder of a sweep, or of folders of sweeps.")
SCALE = flags.DEFINE_string("scale", None, "Which sweep, where a system has one at several scales.")


def main(_) -> None:
    """Draw, write pictures and tables, say in a line a panel what they show."""
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    folder = epath.Path(WORKDIR.value) / "figures"
    try:
        names = [*paper.layout.FIGURES, *paper.studies.STUDIES]
        runtime.checks.one_of("--figure", FIGURE.value, ["all", *names])
        frame = engine.records.load_sweeps(WORKDIR.value)
        for name in names if FIGURE.value == "all" else [FIGURE.value]:
            draw = _sweeps if name in paper.layout.FIGURES else _study
            print("\n".join(draw(frame, name, folder)))
    except ValueError as error:
        sys.exit(f"error: {error}")


def _sweeps(frame: Any, name: str, folder: epath.Path) -> list[str]:
    """A figure of panels from several sweeps, with its table; a line a panel."""
    figure, table = paper.paper_figure(frame, name, SCALE.value)
    if FIGURE.value == "all" and table["scale"].isna().all():
        return [f"figure {name}: no records, not drawn"]
    stem = folder / f"figure_{name}"
    report.scatter.save_figure(figure, stem)
    runtime.files.write_text(folder / f"{stem.name}.csv", table.to_csv(index=False))
    shows, lines = paper.layout.FIGURES[name].shows, paper.panel_lines(table)
    return [f"figure {name}: {shows}; {stem}.png, .svg, .csv", *lines]


def _study(frame: Any, name: str, folder: epath.Path) -> list[str]:
    """A figure from the records of one study, for each study that has it; a line each."""
    study, found = paper.studies.STUDIES[name], paper.studies.study_figures(frame, name)
    lines = []
    for workdir, figure in found.items():
        of_study = f"_{epath.Path(workdir).name}" if len(found) > 1 else ""
        stem = folder / f"figure_{name}{of_study}"
        report.scatter.save_figure(figure, stem)
        lines.append(f"figure {name}: {study.shows}, from {workdir}; {stem}.png, .svg")
    return lines or [f"figure {name}: no records, not drawn: {study.command}"]


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
