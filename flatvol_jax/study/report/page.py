"""What every HTML page of the project shares: one template, its filters, pictures that fit in."""

import re
from collections.abc import Mapping
from typing import Any

import jinja2
import markupsafe
import numpy as np
from etils import epath
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

from flatvol_jax.runtime import files
from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.report import compact_svg, formatting, scatter, style, tables

FILTERS = (
    *("number", "correlation", "interval", "signed", "signed_interval"),
    *("p_value", "percent", "duration", "cell"),
)
CLOUD = 50  # so many points are smaller as a picture
LEAST_PIXELS = 86  # an inch of a figure of several panels, so that its words can be read


def write_page(
    path: epath.PathLike, template: str, context: Mapping[str, Any], **content: Any
) -> epath.Path:
    """Write `render_page` to a file, atomically, and return its path."""
    files.write_text(path, render_page(template, context, **content))
    return epath.Path(path)


def render_page(template: str, context: Mapping[str, Any], **content: Any) -> str:
    """Return a page of page.html.j2's look, self-contained: content, what was run, the rules.

    Args:
        template: path in the package of a template that extends page.html.j2.
        context: `command`, `commit`, `versions` (name -> version), `wall_seconds`, `scale`,
            `title`; what is missing is shown as a dash.
        content: what the template itself wants.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flatvol_jax", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(formatting, name) for name in FILTERS}
    environment.filters |= {"slug": slug, "size_columns": tables.size_columns}
    shared = ("table", "verdict", "estimate", "both_readings")
    environment.globals |= {name: getattr(tables, name) for name in shared}
    environment.globals |= {"least_draws": verdicts.LEAST_DRAWS, "scales": verdicts.SCALES}
    text = environment.get_template(template).render(
        title=context.get("title") or "flatvol_jax",
        **{name: context.get(name) for name in ("command", "commit", "scale", "wall_seconds")},
        versions=dict(context.get("versions") or {}),
        rules=verdicts.rules_text(),
        rules_hash=verdicts.rules_hash(),
        **content,
    )
    return text.replace("<!--contents-->", _contents(text), 1)


def _contents(text: str) -> str:
    """Return a link to each section of a page that has an id and a heading."""
    found = re.findall(r'<section id="([^"]+)">\s*<h2>(.*?)</h2>', text, re.DOTALL)
    return "\n".join(f'<a href="#{name}">{heading}</a>' for name, heading in found)


def slug(heading: str) -> str:
    """Return a heading as an id: small letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-")


def inline_figure(figure: Figure, prefix: str, label: str) -> markupsafe.Markup:
    """Return a figure as SVG for the middle of a page, large clouds of points as pictures in it.

    What is a picture keeps its colours where the page is dark, so that few points stay lines.
    """
    clouds = [
        artist
        for axis in figure.axes
        for artist in axis.collections
        if isinstance(artist, (PathCollection, LineCollection))
        and max(len(np.asarray(artist.get_offsets())), len(artist.get_paths())) >= CLOUD
    ]
    for artist in clouds:
        artist.set_rasterized(True)
    svg = compact_svg.compact_svg(scatter.svg_text(figure, transparent=True, text=True))
    for artist in clouds:  # the figure is as it was
        artist.set_rasterized(False)
    wide = figure.get_figwidth() > style.COLUMN_WIDTH
    return inline_svg(svg, prefix, label, LEAST_PIXELS * figure.get_figwidth() if wide else 0)


def inline_svg(svg: str, prefix: str, label: str, least: float = 0) -> markupsafe.Markup:
    """Return SVG for the middle of a page: its own ids, ink of the page's colour, no fixed size.

    It is at least `least` pixels wide: what holds it scrolls where the page is narrower.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    svg = svg.replace(style.INK, "currentColor").replace(style.GRID, "var(--grid)")
    label = markupsafe.escape(label)
    width = f' style="min-width: {least:.0f}px"' if least else ""
    return markupsafe.Markup(svg.replace("<svg", f'<svg role="img" aria-label="{label}"{width}', 1))
