"""One self-contained page of two workdirs held against each other."""

from collections.abc import Mapping
from typing import Any

from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.report import page
from flatvol_jax.study.sweep.workdir_comparison import WorkdirComparison


def write_workdir_comparison(
    path: epath.PathLike, found: WorkdirComparison, context: Mapping[str, Any]
) -> None:
    """Write the page, which loads nothing.

    Args:
        path: of the .html file, written atomically.
        found: `compare_workdirs`.
        context: as `page.render_page` takes it.
    """
    text = page.render_page(
        "study/sweep/workdir_report.html.j2",
        {"title": "Two workdirs compared", **context},
        names=found.names,
        counts=found.counts,
        config_rows=found.config.astype(object).to_dict("records"),
        moved=found.moved.to_dict("records"),
        correlations=found.correlations.to_dict("records"),
    )
    files.write_text(path, text)
