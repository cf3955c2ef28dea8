"""The spectral density of the Hessian of one network for each size of A."""

from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from flatvol_jax.study.analysis import selection
from flatvol_jax.study.analysis.columns import ATTACK_SIZE, OPTIMIZER, numbers
from flatvol_jax.study.engine.records import load_arrays
from flatvol_jax.study.report import style

NAME = "measure.spectral_density"
WIDTH = 0.01  # of the Gaussian, in units of the largest eigenvalue of all that is drawn
GRID = 800
PANEL_HEIGHT = 1.15  # inches: low panels under each other, for comparison along x
NEGATIVE, NEAR_ZERO, POSITIVE = "#b5432a", "#6e6e78", "#2f6db3"


def spectrum_figure(frame: pd.DataFrame, workdir: epath.PathLike) -> Figure | None:
    """Draw the density of the Hessian's eigenvalues λ by Lanczos quadrature, a panel a size of A.

    Drawn is μ * N(0, σ²), μ with mass 1/P on each of the P eigenvalues, estimated by the mean
    over probes of Σ_j w_j N(λ; λ_j, σ²); the axis ends at a tenth of the height of one single
    eigenvalue. σ is 1% of the largest |λ_j|, the same in all panels; what lies within 3σ of zero
    is grey, since the Gaussian spreads the zero eigenvalues to both sides. The shares of either
    sign in the legends are the records', of the quadrature itself. Ticks at the foot are the top
    eigenvalues.

    Args:
        frame: records, one row a network; the first usable one of each |A| (and optimizer) is
            drawn.
        workdir: the folder of the sweep, where the arrays lie.

    Returns:
        None where no usable row names a quadrature.

    Reference: Ghorbani, Krishnan and Xiao 2019.
    """
    rows = _first_of_each_level(frame, workdir)
    if not rows:
        return None
    reach = max(np.abs(arrays[f"{NAME}.nodes"]).max() for _, arrays in rows)
    if not reach > 0:
        return None
    columns = 1 if len(rows) <= 3 else 2
    lines = -(-len(rows) // columns)
    with style.applied():
        figure = style.new_figure(columns, lines)
        figure.set_size_inches(style.COLUMN_WIDTH * columns, 0.55 + PANEL_HEIGHT * lines)
        axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
        for axis, (row, arrays) in zip(axes.ravel(), rows, strict=False):
            top = load_arrays(workdir, row, "hessian").get("measure.hessian.eigenvalues", [])
            _draw(axis, row, arrays, np.asarray(top), WIDTH * reach)
        for axis in axes.ravel()[len(rows) :]:
            axis.set_axis_off()
        least = min(_height_of_one(row, WIDTH * reach) for row, _ in rows)
        axes[0, 0].set_ylim(0.1 * least, 1.5 / (WIDTH * reach * np.sqrt(2 * np.pi)))
        figure.supxlabel(
            f"eigenvalue λ of the Hessian of the mean loss (σ = {WIDTH * reach:.2g})", fontsize=8
        )
        figure.supylabel("density of the eigenvalues", fontsize=8)
    return figure


def _first_of_each_level(frame: pd.DataFrame, workdir: epath.PathLike) -> list[tuple[dict, dict]]:
    """Return row and arrays of the first usable run with a quadrature, by optimizer and |A|."""
    runs = selection.usable(frame)[0]
    runs = runs[numbers(runs, f"{NAME}.size") > 0]
    sort = [name for name in (OPTIMIZER, ATTACK_SIZE) if name in runs]
    found = {}
    for row in runs.sort_values(sort, kind="stable").to_dict("records"):
        level = tuple(row[name] for name in sort)
        arrays = {} if level in found else load_arrays(workdir, row, "spectral_density")
        if arrays and all(np.isfinite(array).all() for array in arrays.values()):
            found[level] = row, arrays
    return list(found.values())


def _height_of_one(row: dict, width: float) -> float:
    return 1 / (row[f"{NAME}.size"] * width * np.sqrt(2 * np.pi))


def _draw(axis: Axes, row: dict, arrays: dict, top: np.ndarray, width: float) -> None:
    nodes, weights = arrays[f"{NAME}.nodes"], arrays[f"{NAME}.weights"]
    points = np.linspace(nodes.min() - 5 * width, nodes.max() + 5 * width, GRID)
    kernel = stats.norm.pdf(points[:, None, None], nodes, width)
    density = np.sum(weights * kernel, axis=(1, 2)) / len(nodes)
    near = 3 * width
    for (label, colour), side in zip(
        (
            (_share(row, "negative", "λ < 0"), NEGATIVE),
            ("|λ| ≤ 3σ", NEAR_ZERO),
            (_share(row, "positive", "λ > 0"), POSITIVE),
        ),
        (points <= -near, np.abs(points) <= near, points >= near),
        strict=True,
    ):
        axis.fill_between(points[side], density[side], 1e-300, color=colour, alpha=0.35, lw=0)
        axis.plot(points[side], density[side], color=colour, linewidth=0.8, label=label)
    if len(top):
        axis.plot(
            top,
            np.full(len(top), 0.03),  # of the panel's height
            "|",
            color=style.INK,
            markersize=5,
            markeredgewidth=0.7,
            transform=axis.get_xaxis_transform(),
            label=f"top {len(top)} eigenvalues",
        )
    axis.set_yscale("log")
    names = [str(row[name]) for name in (OPTIMIZER,) if name in row]
    title = ", ".join([*names, f"|A| = {row[ATTACK_SIZE]}"])
    axis.set_title(title, loc="left", fontsize=7)
    place: dict[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1, 1.1)}
    axis.legend(fontsize=6, frameon=False, handlelength=1.2, **place)


def _share(row: dict, sign: str, relation: str) -> str:
    share, error = (row.get(f"{NAME}.{sign}_share{end}", np.nan) for end in ("", ".se"))
    if pd.isna(share):
        return relation
    spread = "" if pd.isna(error) else f" ± {100 * error:.1f}"
    return f"{relation}: {100 * share:.1f}{spread}%"
