import html
import re

import numpy as np
import pytest

from flatvol_jax.study.boolean import report as boolean_report
from flatvol_jax.study.boolean import width_figure as boolean_width

CONTEXT = {
    "command": "python -m experiments.boolean --config=a&b",
    "commit": "0123abcd",
    "versions": {"jax": "0.10.2"},
    "wall_seconds": 170.3,
    "notes": ["The first <note>.", "Not every target was tried."],
    "config": {"samples": 12345, "minima": {"functions": 240}},
}
NAMES = ["figure_2", "figure_S1", "figure_S2", "rank", "complexity", "width", "posterior"]
EP_AND_WIDTH = "Finite width and EP against the NNGP"
OF_MINIMA = ("sharpness.best", "sharpness.sgd", "hessian.spectral_norm")


@pytest.fixture(scope="module")
def page(tmp_path_factory, boolean):
    workdir = tmp_path_factory.mktemp("report")
    path = boolean_report.write_boolean_report(workdir, boolean, CONTEXT)
    assert path == workdir / "report.html"
    return path.read_text("utf-8")


def words(page):
    """What a reader sees of the page without its pictures, rules and style."""
    page = page[page.index("<body>") : page.index("<h2>The rules")]
    page = re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", page).split()))


def rows_of(page, heading):
    """The cells of the table under a heading, a list a row."""
    section = page[page.index(f"<h2>{heading}") :]
    body = section[section.index("<tbody>") : section.index("</tbody>")]
    lines = re.findall(r"<tr>(.*?)</tr>", body, flags=re.DOTALL)
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", line, flags=re.DOTALL) for line in lines]
    return [[re.sub(r"<[^>]*>", "", cell) for cell in line] for line in cells]


def test_pictures_are_named_and_complete(boolean):
    assert [picture.name for picture in boolean_report.boolean_pictures(boolean)] == NAMES
    nothing = boolean[boolean["meta.part"] == "posterior_summary"]
    assert boolean_report.boolean_pictures(nothing) == []


def test_page_is_well_formed_and_loads_nothing(page, tags_of):
    tags = tags_of(page)
    assert tags.open == []
    assert all(link.startswith(("#", "data:")) for link in tags.links)
    assert len(tags.ids) == len(set(tags.ids))
    assert {link[1:] for link in tags.links if link.startswith("#")} <= set(tags.ids)
    assert page.count("<svg") == len(NAMES)


def test_page_says_what_was_run_with_its_notes(page):
    text = words(page)
    for part in ("The first <note>.", "Not every target was tried.", "--config=a&b", "0123abcd"):
        assert part in text
    assert "2 min 50 s" in text
    assert "minima.functions 240" in text
    assert "300 functions, 216 of them with a minimum" in text
    assert "nan" not in text.lower()


def test_page_gives_no_verdict(page):
    text = words(page).lower()
    assert not re.search(r"correlates|breaks|broken|holds|unchanged|undecided", text)


def test_the_most_frequent_functions_are_listed_with_their_numbers(page, boolean):
    rows = rows_of(page, "The most frequent functions")
    assert [row[0] for row in rows] == [str(rank) for rank in range(20)]
    functions = boolean[boolean["meta.part"] == "function"].set_index("function.rank")
    for rank, row in enumerate(rows):
        record = functions.loc[rank]
        number = [float(re.split(" ± ", cell.replace("−", "-"))[0]) for cell in row[3:4] + row[5:7]]
        ln10 = np.log(10)
        assert number[0] == pytest.approx(record["measure.log_volume.direct"] / ln10, abs=1e-4)
        assert number[1] == pytest.approx(record["measure.log_volume.estimate"] / ln10, abs=1e-4)
        assert number[2] == record["measure.complexity.lempel_ziv"]
        ep = record["measure.log_volume.heaviside"] / ln10
        assert row[4] == ("—" if rank == 5 else f"{ep:.4g}".replace("-", "−"))
        minima = record["measure.minima"]
        assert row[10:12] == [f"{minima:.0f}", "20"]
        for cell, name in zip(
            row[7:10], ("sharpness.best", "sharpness.sgd", "hessian"), strict=True
        ):
            column = f"measure.{name}" + (".spectral_norm" if name == "hessian" else "")
            assert cell == (f"{record[column]:.3g}" if minima else "—")
        assert row[12] == record["function.id"]
    spread = functions.loc[0, "measure.log_volume.direct.se"] / np.log(10)
    assert rows[0][3].endswith(f" ± {spread:.2g}")


def test_the_widths_are_those_of_the_table(page, boolean):
    rows = rows_of(page, EP_AND_WIDTH)
    table = boolean_width.width_table(boolean)
    assert [row[0] for row in rows] == ["10", "40", "160", "∞", "EP"]
    assert [row[2] for row in rows] == [str(count) for count in table["functions"]]
    for column, place in (("mean", 3), ("beyond", 4), ("explained", 5), ("largest", 6)):
        shown = [float(row[place].replace("−", "-")) for row in rows]
        np.testing.assert_allclose(shown, table[column], rtol=0.01)
    assert rows[0][1] == "1e+07"
    assert rows[-1][1] == "—"


def test_every_optimizer_and_reference_has_a_row(page, boolean):
    rows = rows_of(page, "What the optimizer finds")
    assert len(rows) == 2 * 2 * 2 + 2
    expected = ["boolean", "f1", "sgd", "2000", "1987", "500", "−4.301 ± 0.020", "direct"]
    assert rows[0][:8] == expected
    assert rows[-1][:8] == ["mnist", "S=100", "adam", "2000", "1987", "—", "—", "NNGP"]
    summary = boolean[boolean["meta.part"] == "posterior_summary"].iloc[-1]
    variation = summary["measure.total_variation.nngp"]
    slope = summary["measure.slope.nngp"]
    wanted = [f"{slope:.3f} ± 0.031", "21", f"{variation:.3g}", "0.083", "0.061", "0.107"]
    assert rows[-1][8:] == wanted


@pytest.mark.parametrize(
    ("parts", "gone", "pictures"),
    [
        (
            ["function"],
            {"Volume and flatness", "The most frequent functions", EP_AND_WIDTH},
            ["rank", "posterior"],
        ),
        (
            ["frequency", "width", "posterior", "posterior_summary"],
            {EP_AND_WIDTH, "What the optimizer finds"},
            ["figure_2", "figure_S1", "figure_S2", "complexity"],
        ),
    ],
)
def test_parts_that_are_absent_leave_their_sections_out(
    tmp_path, boolean, page, tags_of, parts, gone, pictures
):
    frame = boolean[~boolean["meta.part"].isin(parts)]
    other = boolean_report.write_boolean_report(tmp_path, frame, {}).read_text("utf-8")
    every, left = (set(re.findall(r"<h2>(.*?)</h2>", text)) for text in (page, other))
    assert every - left == gone
    assert left <= every
    tags = tags_of(other)
    assert tags.open == []
    assert {name.split("-")[0] for name in tags.ids} & set(NAMES) == set(pictures)


def test_records_of_another_kind_make_an_empty_report(tmp_path, one_draw, tags_of):
    page = boolean_report.write_boolean_report(tmp_path, one_draw, {}).read_text("utf-8")
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["What was run", "The rules"]
    assert "0 functions, 0 of them with a minimum" in words(page)
    assert tags_of(page).open == []
