import xml.etree.ElementTree as ElementTree

import jinja2
import pytest

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.columns import LOG_VOLUME
from flatvol_jax.study.report import page, scatter


def test_inline_svg_is_one_element_with_its_own_ids(one_draw):
    svg = scatter.svg_text(scatter.panel_figure(one_draw, LOG_VOLUME), transparent=True)
    inline = page.inline_svg(svg, "p1", 'a "label"')
    root = ElementTree.fromstring(inline)
    assert root.attrib["aria-label"] == 'a "label"'
    ids = [node.attrib["id"] for node in root.iter() if "id" in node.attrib]
    assert ids
    assert all(name.startswith("p1-") for name in ids)


def test_a_page_is_not_a_page_without_its_content():
    with pytest.raises(jinja2.TemplateRuntimeError, match="content"):
        page.render_page("study/report/page.html.j2", {})
    with pytest.raises(jinja2.UndefinedError):
        page.render_page("study/sweep/comparison.html.j2", {"scale": "cpu"})


def test_what_was_run_and_the_rules_stand_on_every_page():
    text = page.render_page(
        "study/sweep/comparison.html.j2",
        {"command": "python -m a&b", "versions": {"jax": "0.10.2"}, "title": "A <title>"},
        experiments=[],
        margin=0.2,
        reference="sgd",
    )
    assert "<h1>A &lt;title&gt;</h1>" in text
    for part in ("python -m a&amp;b", "0.10.2", verdicts.rules_hash(), "—"):
        assert part in text
