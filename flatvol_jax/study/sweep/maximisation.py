"""The paper's figure S4: whether the maximisation of the loss over the box had converged."""

from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from flatvol_jax.study.analysis.columns import ASCENT, ATTACK_SIZE, SHARPNESS, flagged, numbers
from flatvol_jax.study.engine.records import load_arrays
from flatvol_jax.study.report import style
from flatvol_jax.study.report.scatter import Look, attack_size_norm, colour_bar, write_title

LEAST = 1e-4  # a running maximum closer to its end than this share of its rise has arrived
SETTLED = 0.01  # the share of the rise that the last tenth may still add
LOOK = Look(line=48)
DASHED = f"dashed: {SETTLED:.0%}, what the last tenth of a converged ascent may add"


class Search(NamedTuple):
    """One way to look for the maximum, and where its running maximum stands in the records."""

    stage: str
    history: str
    losses: tuple[str, ...]  # L(w): the first column that has a value
    status: str
    label: str
    steps: str
    from_start: bool  # whether the history begins with L(w) itself


SEARCHES = (
    Search(
        "sgd_sharpness",
        f"{ASCENT.name}.history",
        (f"{ASCENT.name}.loss", "measure.loss.train"),
        "is.sgd_sharpness_converged",
        "SGD ascent (table 1)",
        "epochs",
        False,
    ),
    Search(
        "sharpness",
        f"{SHARPNESS.name}.trace",
        ("measure.loss.train",),
        "is.sharpness_converged",
        "best found",
        "loss evaluations",
        True,
    ),
)


def maximisation_figure(frame: pd.DataFrame, workdir: epath.PathLike) -> Figure | None:
    """Draw fig. S4: how far the running maximum m_t of the loss is from its end m_T, by steps t.

    Drawn is (m_T - m_t) / (m_T - L(w)), one line a network: the share of its sharpness still to
    be found. A line leaves the panel below when less than `LEAST` is missing; the dashed line is
    the 1% by which the maximum may rise in the last tenth of an ascent that counts as converged.

    Args:
        frame: records, one row a network.
        workdir: the folder of the sweep, where the arrays lie.

    Returns:
        A panel for each search whose arrays the records name; None where they name none.
    """
    found = {search: _missing_shares(frame, workdir, search) for search in SEARCHES}
    found = {search: shares for search, shares in found.items() if shares}
    if not found:
        return None
    with style.applied():
        figure = style.new_figure(len(found))
        axes = figure.subplots(1, len(found), squeeze=False, sharey=True)[0]
        for axis, (search, shares) in zip(axes, found.items(), strict=True):
            _draw(axis, frame, search, shares)
        axes[0].set_ylabel("share of the final rise still missing")
        colour_bar(figure, axes.tolist(), frame)
    return figure


def _missing_shares(frame: pd.DataFrame, workdir: epath.PathLike, search: Search) -> dict:
    """Return by row (m_T - m_t) / (m_T - L(w)), (steps,); NaN where the loss did not rise."""
    losses = np.full(len(frame), np.nan)
    for column in search.losses:
        losses = np.where(np.isfinite(losses), losses, numbers(frame, column))
    shares = {}
    for number, (row, loss) in enumerate(zip(frame.to_dict("records"), losses, strict=True)):
        largest = load_arrays(workdir, row, search.stage).get(search.history)
        if largest is not None and len(largest):
            largest = largest if search.from_start else np.concatenate([[loss], largest])
            rise = largest[-1] - loss
            shares[number] = (largest[-1] - largest) / (rise if rise > 0 else np.nan)
    return shares


def _draw(axis: Axes, frame: pd.DataFrame, search: Search, shares: dict) -> None:
    norm, colours = attack_size_norm(frame), matplotlib.colormaps[style.COLOURS]
    sizes = numbers(frame, ATTACK_SIZE)
    drawn = {number: share for number, share in shares.items() if np.isfinite(share).all()}
    for number, share in drawn.items():
        axis.step(
            np.arange(len(share)),
            np.maximum(share, LEAST / 10),  # a logarithm of zero would break the line off
            where="post",
            color=colours(norm(sizes[number])),
            linewidth=0.7,
            alpha=0.8,
        )
    axis.axhline(SETTLED, color=style.INK, linewidth=0.8, linestyle="--")
    axis.set_yscale("log")
    axis.set_ylim(LEAST, 1.5)
    axis.set_xlabel(f"{search.steps} of the ascent")
    done, failed = (flagged(frame, search.status, value).sum() for value in (True, False))
    note = f"{failed} of {done + failed} did not converge"
    if hidden := len(shares) - len(drawn):
        note += f"; {hidden} did not rise, not drawn"
    write_title(axis, [f"{search.label}, {len(drawn)} networks", note, DASHED], LOOK)
