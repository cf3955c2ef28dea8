"""Tables of a page: what stands in their cells, by rows whose text is known."""

import re

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.report.tables import both_readings, judged, left_out, table

ROWS = [
    {"name": "a <b>", "family": "first", "value": 0.123456, "low": -0.5, "high": 0.25},
    {"name": "c", "family": "first", "value": np.nan, "low": np.nan, "high": np.nan},
    {"name": "d", "family": "second", "value": -3.0, "low": 0.1, "high": 0.2},
]


def cells(html):
    lines = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [re.findall(r"<td[^>]*>(.*?)</td>", line, re.DOTALL) for line in lines]


@pytest.mark.parametrize("rows", [ROWS, pd.DataFrame(ROWS)])
def test_cells_are_escaped_and_formatted_by_the_words_of_their_column(rows):
    columns = [("name", "name"), ("two", "value", "number:2"), ("sign", "value", "signed note")]
    head, *body = cells(table(rows, columns))
    assert head == []
    assert body == [["a &lt;b&gt;", "0.12", "+0.12"], ["c", "—", "—"], ["d", "−3", "−3.00"]]


def test_a_new_value_of_the_group_has_a_line_above_its_rows():
    html = table(ROWS, [("name", "name"), ("value", "value", "number")], "family")
    assert re.findall(r'<tr class="family"><td colspan="2">(\w+)</td>', html) == ["first", "second"]
    assert html.index("second") > html.index("<td>c</td>")


def test_text_stands_on_the_left_under_a_heading_that_does():
    html = table(
        ROWS[:1], [("one", "value"), ("said", "name", "wrap"), ("code", "name", "text code")]
    )
    assert '<th class="text">said</th>' in html
    assert '<td class="text wrap">a &lt;b&gt;</td>' in html
    assert '<td class="text"><code>a &lt;b&gt;</code></td>' in html


def test_plain_tuples_are_rows_and_a_table_may_have_no_head():
    html = table([("commit", None), ("jax", "0.10")], [("", 0), ("", 1, "text")])
    assert "<thead>" not in html
    assert re.findall(r"<td[^>]*>(.*?)</td>", html) == ["commit", "—", "jax", "0.10"]


def test_a_verdict_stands_with_its_reason_and_holms_p():
    row = {"within_verdict": "holds", "within_reason": "wholly > 0.3", "within_p_holm": 0.0123}
    html = judged(row, "within")
    assert '<span class="verdict holds">holds</span>' in html
    assert "wholly &gt; 0.3; Holm p 0.012" in html
    assert "Holm" not in judged(row | {"within_p_holm": np.nan}, "within")
    assert judged({"within_verdict": np.nan}, "within") == ""


def test_readings_without_a_correlation_are_left_out():
    row = {"pooled": np.nan, "within": -0.456, "within_low": -0.6, "within_high": -0.3}
    assert both_readings(row) == "−0.46 [−0.60, −0.30]"
    assert both_readings(None) == ""


def test_what_is_left_out_is_counted_by_reason():
    row = {"left_out": {"diverged": 2, "not finite": 1}, "runs": 20, "within_runs": 18}
    row |= {"within_draws": 3, "within_undefined": 1, "pooled_undefined": np.nan}
    assert left_out(row) == (
        "2 diverged; 1 not finite; within levels also 2 alone on their level or in a draw without "
        "a correlation; within not defined in 1 draw"
    )
    assert left_out({"left_out": {}, "runs": 5}) == "none"
