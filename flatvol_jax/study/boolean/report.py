"""One self-contained report.html of the Boolean experiment, and its figures by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.study.analysis import selection
from flatvol_jax.study.boolean.figures import (
    ASCENT,
    BEST,
    COMPLEXITY,
    MINIMA,
    MINORITY,
    RANK,
    SPECTRAL_NORM,
    TRIED,
    VOLUME,
    complexity_figure,
    function_rows,
    measured,
    rank_figure,
    sharpness_norm_figure,
    volume_norm_figure,
    volume_sharpness_figure,
)
from flatvol_jax.study.boolean.posterior_figure import posterior_figure, posterior_summaries
from flatvol_jax.study.boolean.width_figure import (
    ESTIMATE,
    FUNCTION,
    ep_volumes,
    width_figure,
    width_table,
)
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.report import page, scatter
from flatvol_jax.study.report.pictures import Picture, drawn_pictures

FILE = "report.html"
LISTED = 20  # functions in the table


def boolean_pictures(frame: pd.DataFrame) -> list[Picture]:
    """All figures that the records of the Boolean experiment allow, by name.

    Args:
        frame: records, the rows of all parts.
    """
    candidates = [
        (
            "figure_2",
            "Figure 2: volume against sharpness, a point a function",
            volume_sharpness_figure(frame),
        ),
        (
            "figure_S1",
            "Figure S1: sharpness against the spectral norm of the Hessian",
            sharpness_norm_figure(frame),
        ),
        (
            "figure_S2",
            "Figure S2: volume against the spectral norm of the Hessian",
            volume_norm_figure(frame),
        ),
        ("rank", "Probability of each function against its rank", rank_figure(frame)),
        ("complexity", "Volume against Lempel-Ziv complexity", complexity_figure(frame)),
        ("width", "V(f) by width, and by EP, against the NNGP", width_figure(frame)),
        (
            "posterior",
            "What the optimizer finds against the Bayesian posterior",
            posterior_figure(frame),
        ),
    ]
    return drawn_pictures(candidates)


def write_boolean_report(
    workdir: epath.PathLike, frame: pd.DataFrame, context: Mapping[str, Any]
) -> epath.Path:
    """Write WORKDIR/report.html, which loads nothing, and return its path.

    It shows numbers and gives no verdict. A section whose part has no rows is left out.

    Args:
        workdir: the folder of the experiment; the file is written atomically.
        frame: records, the rows of all parts.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`, what is missing is shown as a dash; `notes`, paragraphs for the top;
            `config`, nested plain data.
    """
    functions = function_rows(frame)
    text = page.render_page(
        "study/boolean/report.html.j2",
        {"title": "Boolean functions", **context},
        notes=list(context.get("notes") or []),
        config=list(flatten(context.get("config") or {})),
        functions=len(functions),
        with_minima=int((selection.numbers(functions, MINIMA) > 0).sum()),
        pictures={
            name: page.inline_svg(scatter.svg_text(figure, transparent=True), name, shows)
            for name, shows, figure in boolean_pictures(frame)
        },
        listed=function_table(functions).to_dict("records"),
        widths=width_table(frame).to_dict("records"),
        posteriors=posterior_summaries(frame),
        measured=measured,
    )
    path = epath.Path(workdir) / FILE
    files.write_text(path, text)
    return path


def function_table(functions: pd.DataFrame) -> pd.DataFrame:
    """The most frequent functions of part "function" in numbers, volumes in log10.

    A row a function: rank, id, minority, count; direct, direct_se; ep (NaN where it did not
    converge); estimate, estimate_se; complexity in bits; over its minima best, ascent (the two
    sharpnesses) and norm (the Hessian's spectral norm); minima of tried. NaN where not recorded.
    """
    direct, direct_se = VOLUME.drawn(functions)
    estimate, estimate_se = ESTIMATE.drawn(functions)
    plain = {
        "rank": RANK,
        "minority": MINORITY,
        "count": "measure.count",
        "complexity": COMPLEXITY.column,
        "best": BEST.column,
        "ascent": ASCENT.column,
        "norm": SPECTRAL_NORM.column,
        "minima": MINIMA,
        "tried": TRIED,
    }
    columns = {name: selection.numbers(functions, column) for name, column in plain.items()}
    columns |= {"direct": direct, "direct_se": direct_se, "ep": ep_volumes(functions)}
    columns |= {"estimate": estimate, "estimate_se": estimate_se}
    columns["id"] = functions[FUNCTION].to_numpy() if FUNCTION in functions else None
    return pd.DataFrame(columns).sort_values("rank", kind="stable").head(LISTED)
