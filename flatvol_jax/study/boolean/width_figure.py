"""V(f) at finite width, of the infinite network, and by EP, against the NNGP's estimate."""

from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from flatvol_jax.study.analysis.columns import LOG_VOLUME, flagged, numbers
from flatvol_jax.study.boolean.figures import ESTIMATE, FUNCTION, RANK, VOLUME, function_rows, part
from flatvol_jax.study.report import style
from flatvol_jax.study.report.scatter import Look, norm_bar, write_title

WIDTH, EP_CONVERGED = "hp.model.width", "is.ep_converged"
INFINITE, BY_EP = "∞", "EP"
SHOWN = 12  # functions that have a line
STEP = 3.0  # ratio of the places of the largest width, "∞" and "EP"
SPREAD = 0.06  # decades over which the functions of one width stand side by side
LOOK = Look(line=60)


def width_figure(frame: pd.DataFrame) -> Figure | None:
    """Draw direct sampling at each width, and EP, against the NNGP's log10 V(f).

    Left: d = log10 V - log10 V_NNGP, V_NNGP the sampling estimate, for the most frequent
    functions; bars are one standard error of the difference. Right: the numbers of
    `width_table`, over all functions.

    Args:
        frame: records; those of part "width", and of part "function" with the same id, are used.

    Returns:
        None where no function has an estimate and a direct volume at every width.
    """
    differences, errors = width_differences(frame)
    if differences.empty:
        return None
    places = _places(list(differences))
    with style.applied():
        figure = style.new_figure(2)
        left, right = figure.subplots(1, 2)
        _draw_differences(left, differences.head(SHOWN), errors.head(SHOWN), places)
        norm_bar(figure, [left], _rank_norm(differences.head(SHOWN)), "rank of the function")
        _draw_table(right, width_table(frame), places)
        out = part(frame, "width")[FUNCTION].nunique() - len(differences)
        write_title(left, [f"the {min(SHOWN, len(differences))} most frequent functions"], LOOK)
        out = f"left out: {out} without a value at every width"
        write_title(right, [f"{len(differences)} functions", out], LOOK)
        style.legend(figure, right.get_legend_handles_labels()[0], 2)
        for axis in (left, right):
            axis.set_xscale("log")
            axis.set_xticks(list(places.values()), list(places))
            axis.minorticks_off()
            axis.set_xlabel("width of the hidden layers")
    return figure


def width_differences(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return log10 V - log10 V_NNGP and its standard error: a row a function, a column a width.

    Rows are functions by rank, their index; columns the widths as text, from the smallest, then
    "∞" and "EP" where there are any. Only functions with a direct volume at every width are there,
    so that the columns compare. The error of EP's difference is the estimate's; NaN where EP did
    not converge.
    """
    rows, functions = part(frame, "width"), function_rows(frame)
    if FUNCTION not in rows or WIDTH not in rows or not len(rows) or not len(functions):
        return pd.DataFrame(), pd.DataFrame()
    nngp = _nngp(functions)
    direct, direct_error = _sampled_volumes(rows)
    known = nngp.index.intersection(direct.index)
    if known.empty:
        return pd.DataFrame(), pd.DataFrame()
    nngp, direct, direct_error = nngp.loc[known], direct.loc[known], direct_error.loc[known]
    differences = direct.sub(nngp["estimate"], axis=0)
    errors = np.hypot(direct_error, nngp[["error"]].to_numpy())
    if nngp["ep"].notna().any():
        differences[BY_EP] = nngp["ep"] - nngp["estimate"]
        errors[BY_EP] = nngp["error"].where(nngp["ep"].notna())
    ranks = nngp[RANK].astype(int)
    return differences.set_axis(ranks), errors.set_axis(ranks)


def width_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Say how far each width, and EP, is from the NNGP, over the functions of `width_differences`.

    A row a column of it: name; samples (NaN for EP); functions; mean, of the differences d;
    explained = sqrt(mean(se²)), what their errors explain; beyond =
    sqrt(max(mean(d²) - mean(se²), 0)); largest, |d|. Differences in log10.
    """
    differences, errors = width_differences(frame)
    rows = part(frame, "width")
    samples = dict(zip(_names(rows), numbers(rows, "meta.samples"), strict=True))
    table = []
    for name in differences:
        d, se = differences[name].dropna(), errors[name].dropna()
        explained = np.mean(se**2)
        table.append(
            {
                "name": name,
                "samples": samples.get(name, np.nan),
                "functions": len(d),
                "mean": d.mean(),
                "explained": np.sqrt(explained),
                "beyond": np.sqrt(max(np.mean(d**2) - explained, 0)),
                "largest": d.abs().max(),
            }
        )
    return pd.DataFrame(table)


def ep_volumes(functions: pd.DataFrame) -> np.ndarray:
    """Return log10 V by EP of each function, (n,); NaN where EP is known not to have converged."""
    volumes = LOG_VOLUME.drawn(functions)[0]
    known = EP_CONVERGED in functions
    return np.where(flagged(functions, EP_CONVERGED), volumes, np.nan) if known else volumes


def _nngp(functions: pd.DataFrame) -> pd.DataFrame:
    """Return rank, estimate, its error and EP in log10 of functions with an estimate."""
    estimate, error = ESTIMATE.drawn(functions)
    columns = {RANK: numbers(functions, RANK), "estimate": estimate, "error": error}
    index = functions[FUNCTION].to_numpy()
    table = pd.DataFrame(columns | {"ep": ep_volumes(functions)}, index=index)
    return table.dropna(subset=list(columns)).sort_values(RANK)


def _sampled_volumes(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return log10 V and its error: a row a function with both at every width, a column a width."""
    names, widths = _names(rows), numbers(rows, WIDTH)
    order = [names[i] for i in np.argsort(widths)]  # NaN, the infinite network, comes last
    values, errors = VOLUME.drawn(rows)
    long = pd.DataFrame(
        {FUNCTION: rows[FUNCTION].to_numpy(), "name": names, "value": values, "error": errors}
    )
    wide = long.pivot(index=FUNCTION, columns="name").dropna()
    columns = list(dict.fromkeys(order))
    return wide["value"][columns], wide["error"][columns]


def _names(rows: pd.DataFrame) -> list[str]:
    widths = numbers(rows, WIDTH)
    return [INFINITE if np.isnan(width) else f"{width:g}" for width in widths]


def _places(names: list[str]) -> dict[str, float]:
    """Return where each column stands on the width axis."""
    widths = {name: float(name) for name in names if name not in (INFINITE, BY_EP)}
    place = max(widths.values(), default=1.0)
    for name in names[len(widths) :]:
        place *= STEP
        widths[name] = place
    return widths


def _rank_norm(differences: pd.DataFrame) -> Normalize:
    return Normalize(0, max(differences.index.max(), 1))


def _draw_differences(
    axis: Axes, differences: pd.DataFrame, errors: pd.DataFrame, places: dict[str, float]
) -> None:
    colours, norm = matplotlib.colormaps[style.COLOURS], _rank_norm(differences)
    at = np.array(list(places.values()))
    beside = 10 ** np.linspace(-SPREAD / 2, SPREAD / 2, len(differences))
    direct = np.array([name != BY_EP for name in differences])
    axis.axhline(0, color=style.INK, linewidth=0.7)
    for shift, (rank, d), se in zip(beside, differences.iterrows(), errors.to_numpy(), strict=True):
        for here, marker, line in ((direct, "o", "-"), (~direct, "D", "none")):
            axis.errorbar(
                shift * at[here],
                d.to_numpy()[here],
                yerr=se[here],
                marker=marker,
                linestyle=line,
                color=colours(norm(rank)),
                markersize=2.6,
                linewidth=0.6,
                elinewidth=0.6,
            )
    axis.set_ylabel("log₁₀ V − log₁₀ V of the NNGP (sampled)")


def _draw_table(axis: Axes, table: pd.DataFrame, places: dict[str, float]) -> None:
    at = table["name"].map(places)
    ep = table["name"] == BY_EP
    colour = matplotlib.colormaps[style.COLOURS](0.3)
    for name, here, marker, line in (("direct", ~ep, "o", "-"), ("EP", ep, "D", "none")):
        if not here.any():
            continue
        look: dict[str, Any] = {"marker": marker, "linestyle": line}
        look |= {"linewidth": 0.9, "markersize": 3.4}
        for column, shade, says in (
            ("beyond", colour, "beyond the errors"),
            ("explained", style.MIDDLE, "what the errors explain"),
        ):
            label = f"{name}, {says}"
            axis.plot(
                at[here], table[column][here], color=shade, label=label, clip_on=False, **look
            )
    axis.set_ylim(bottom=0)
    axis.set_ylabel("root mean square difference (log₁₀)")
