import html
import re

import pytest

from flatvol_jax.study.temporal import report as temporal_report

CONTEXT = {
    "command": "python -m experiments.temporal --config=a&b",
    "commit": "0123abcd",
    "wall_seconds": 170.3,
    "config": {"note": "Reduced.", "event": {"after": 500}},
}


def text_of(page):
    body = page[page.index("<body>") : page.index("<h2>The rules")]
    body = re.sub(r"<svg.*?</svg>", "", body, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


@pytest.mark.parametrize("alphas", [(5.9, 1 / 5.9), (0.1, 0.5, 2.0, 4.0, 8.0), ()])
def test_page_is_whole_and_loads_nothing(temporal_frame, tags_of, tmp_path, alphas):
    frame = temporal_frame(networks=2, alphas=alphas)
    path = temporal_report.write_temporal_report(tmp_path, frame, CONTEXT)
    assert path == tmp_path / "report.html"
    page = path.read_text("utf-8")
    tags = tags_of(page)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))
    assert page.count("<svg") == 1
    text = text_of(page)
    for part in ("2 networks, 1 draw of", "Reduced.", "0123abcd", "event.after 500", "a&b"):
        assert part in text
    assert "nan" not in text.lower()
    assert text.count("without scaling") >= 2
    if alphas:
        assert "The largest α that keeps the function" in text
        assert "W1 × 5.9, W2 / 5.9" in text or "W1 / 10, W2 × 10" in text


def test_pictures_have_the_papers_numbers(temporal_frame):
    names = [p.name for p in temporal_report.temporal_pictures(temporal_frame())]
    assert names == ["figure_5"]
    sweep = temporal_frame(alphas=(0.1, 0.5, 2.0, 4.0, 8.0)).assign(**{"meta.scale": "alpha_sweep"})
    assert [p.name for p in temporal_report.temporal_pictures(sweep)] == ["alpha_sweep"]
    smoke = temporal_frame().assign(**{"meta.scale": "smoke"})
    assert [p.name for p in temporal_report.temporal_pictures(smoke)] == ["temporal"]


def test_without_zero_error_the_page_says_no_more(temporal_frame, tmp_path):
    frame = temporal_frame()
    before = frame[frame["measure.epochs.zero_error"].isna()].assign(
        **{"measure.epochs.event": None}
    )
    page = temporal_report.write_temporal_report(tmp_path, before, {}).read_text("utf-8")
    assert "What became of the function" not in page
    assert "largest α" not in page
