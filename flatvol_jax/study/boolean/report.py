"""One self-contained report.html of the Boolean experiment, and its figures by name."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from etils import epath

from flatvol_jax.study.analysis.columns import ASCENT, SHARPNESS, SPECTRAL_NORM, numbers
from flatvol_jax.study.boolean import figures
from flatvol_jax.study.boolean.posterior_figure import posterior_figure, posterior_table
from flatvol_jax.study.boolean.summary import boolean_sentence
from flatvol_jax.study.boolean.width_figure import ep_volumes, width_figure, width_table
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.report import page
from flatvol_jax.study.report.pictures import Picture, drawn_pictures

LISTED = 20  # functions in the table
PICTURES = (
    ("figure_2", "Figure 2: volume against sharpness", figures.volume_sharpness_figure),
    ("figure_S1", "Figure S1: sharpness against spectral norm", figures.sharpness_norm_figure),
    ("figure_S2", "Figure S2: volume against spectral norm", figures.volume_norm_figure),
    ("rank", "Probability of each function against its rank", figures.rank_figure),
    ("complexity", "Volume against Lempel-Ziv complexity", figures.complexity_figure),
    ("width", "V(f) by width, and by EP, against the NNGP", width_figure),
    ("posterior", "What the optimizer finds against the Bayesian posterior", posterior_figure),
)


def boolean_pictures(frame: pd.DataFrame) -> list[Picture]:
    """Draw all figures that the records of the Boolean experiment allow, by name.

    Args:
        frame: records, the rows of all parts.
    """
    return drawn_pictures(*((name, shows, draw(frame)) for name, shows, draw in PICTURES))


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
    functions = figures.function_rows(frame)
    return page.write_page(
        epath.Path(workdir) / "report.html",
        "study/boolean/report.html.j2",
        {"title": "Boolean functions", **context},
        notes=list(context.get("notes") or []),
        config=list(flatten(context.get("config") or {})),
        sentence=boolean_sentence(frame),
        functions=len(functions),
        with_minima=int((numbers(functions, figures.MINIMA) > 0).sum()),
        pictures={
            name: page.inline_figure(figure, name, shows)
            for name, shows, figure in boolean_pictures(frame)
        },
        listed=function_table(functions),
        widths=width_table(frame),
        posteriors=posterior_table(frame),
    )


def function_table(functions: pd.DataFrame) -> pd.DataFrame:
    """Return the most frequent functions of part "function" in numbers, volumes in log10.

    A row a function: rank, id, minority, count; direct, direct_se; ep (NaN where it did not
    converge); estimate, estimate_se; complexity in bits; over its minima best, ascent (the two
    sharpnesses) and norm (the Hessian's spectral norm); minima of tried. NaN where not recorded.
    """
    numbered = {
        "rank": figures.RANK,
        "minority": figures.MINORITY,
        "count": "measure.count",
        "complexity": figures.COMPLEXITY.name,
        "best": SHARPNESS.name,
        "ascent": ASCENT.name,
        "norm": SPECTRAL_NORM.name,
        "minima": figures.MINIMA,
        "tried": figures.TRIED,
    }
    columns = {name: numbers(functions, column) for name, column in numbered.items()}
    for name, measure in (("direct", figures.VOLUME), ("estimate", figures.ESTIMATE)):
        columns[name], columns[f"{name}_se"] = measure.drawn(functions)
    columns["ep"] = ep_volumes(functions)
    columns["id"] = functions.get(figures.FUNCTION, pd.Series(index=functions.index)).to_numpy()
    return pd.DataFrame(columns).sort_values("rank", kind="stable").head(LISTED)
