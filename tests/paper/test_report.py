"""The paper's page: whole, self-contained, and all figures in the paper's order."""

import html.parser
import importlib
import re

import matplotlib
import numpy as np
import pandas as pd
import pytest
from known_sweeps import known_sweep

from flatvol_jax.paper import pictures as pictures_module
from flatvol_jax.paper._provenance import Provenance
from flatvol_jax.paper.claims.paper_claims import claims_markdown, paper_claims
from flatvol_jax.paper.layout import FIGURES
from flatvol_jax.paper.pictures import NOT_PAPER, ORDER, paper_pictures
from flatvol_jax.paper.registry import is_there
from flatvol_jax.paper.report import write_paper_report
from flatvol_jax.paper.schematic import NAMES, REGIONS, schematic_figure
from flatvol_jax.paper.sensitivity import sensitivity_table, temporal_table
from flatvol_jax.paper.studies import STUDIES
from flatvol_jax.paper.table_1 import table_1
from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.experiment_tables import experiment_tables
from flatvol_jax.study.report import page
from flatvol_jax.study.report.formatting import signed, signed_interval


@pytest.fixture(scope="module")
def records():
    frames = [known_sweep("sgd", -0.9, 0.9), known_sweep("adam", -0.9, 0.0)]
    frames += [known_sweep("sgd", -0.5, 0.5, "sensitivity_sigma_w_1")]
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def claims(records):
    tables = experiment_tables(records[records["meta.experiment"] == "mnist_fcn"], "cpu")
    return paper_claims(tables, (), "cpu")


@pytest.fixture(scope="module")
def text(records, claims, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    source = Provenance("mnist_fcn_cpu_sgd", "mnist_fcn_cpu", {}, "cpu", "abc1234", {}, 480, 61.0)
    write_paper_report(
        path,
        claims,
        None,
        list(paper_pictures(records, "cpu")),
        table_1([]),
        sensitivity_table(records),
        temporal_table([]),
        [(source, "python -m experiments.attack_sweep", "reused")],
        {"scale": "cpu", "not_run": [("python -m experiments.boolean", "no records")]},
    )
    return path.read_text()


class Links(html.parser.HTMLParser):
    """Ids, inner links, and what the page would load."""

    def __init__(self):
        super().__init__()
        self.ids, self.inner, self.loads = set(), set(), []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.add(found.get("id"))
        for name in ("href", "src", "xlink:href"):
            target = found.get(name) or ""
            if target.startswith("#"):
                self.inner.add(target[1:])
            elif target and not target.startswith("data:"):
                self.loads.append(target)


def test_the_page_loads_nothing_and_its_links_lead_somewhere(text):
    links = Links()
    links.feed(text)
    assert links.loads == []
    assert "url(http" not in text
    assert links.inner <= links.ids


def test_every_claim_and_verdict_is_on_the_page(text, claims):
    for claim in claims:
        assert html_text(claim.statement) in text
        for reading in claim.readings.values():
            assert reading.verdict in text
            assert html_text(reading.reason) in text
    assert verdicts.rules_hash() in text
    assert "prefers-color-scheme: dark" in text
    assert "width=device-width" in text
    assert "python -m experiments.boolean" in text.split("Not run")[1]


def html_text(words):
    return words.replace("&", "&amp;").replace("'", "&#39;").replace(">", "&gt;")


def test_all_figures_of_the_paper_come_once_and_in_its_order(records, text):
    pictures = list(paper_pictures(records, "cpu"))
    assert (*(picture.name for picture in pictures), NOT_PAPER) == ORDER  # no ten classes here
    every = ("1", "2", "3", "4", "5", *(f"S{i}" for i in range(1, 19)), NOT_PAPER)
    known = {"1", "S4", *FIGURES, *STUDIES}
    assert tuple(name for name in every if name in known) == ORDER
    if is_there("boolean") and is_there("temporal"):
        assert every == ORDER
    for name in ORDER:
        assert (f'id="figure-{name}"' in text) == (name != NOT_PAPER)


def test_ten_classes_stand_beside_two_where_both_have_records(records, monkeypatch):
    monkeypatch.setattr(pictures_module, "ORDER", (NOT_PAPER,))
    ten = records[records["meta.experiment"] == "mnist_fcn"]
    ten = ten[ten["hp.train.optimizer"] == "sgd"].assign(
        **{"meta.experiment": "mnist_fcn_classes10", "meta.workdir": "runs/mnist_fcn_classes10_cpu"}
    )
    (picture,) = paper_pictures(pd.concat([records, ten]), "cpu")
    assert picture.folders == ("runs/mnist_fcn_cpu_sgd", "runs/mnist_fcn_classes10_cpu")
    titles = [axis.get_title(loc="left") for axis in picture.figure.axes]
    assert sum("ten classes" in title for title in titles) == 2


def test_what_is_missing_names_a_command_that_exists(records):
    for picture in paper_pictures(records, "cpu"):
        assert picture.figure is not None or picture.missing
        for command in picture.missing:
            path, _, variant = re.search(r"configs/(\S+)", command)[1].partition(":")
            module = importlib.import_module(f"configs.{path.removesuffix('.py')}")
            assert module.get_config(*filter(None, [variant])).hp


def test_a_figure_is_drawn_from_the_folders_of_its_sweeps(records):
    picture = next(p for p in paper_pictures(records, "cpu") if p.name == "3")
    assert picture.folders == ("runs/mnist_fcn_cpu_sgd",)


def test_the_schematic_has_its_volumes_in_the_order_of_their_names():
    widths = [high - low for low, high, _ in REGIONS]
    assert widths == sorted(widths, reverse=True)
    words = [text.get_text() for text in schematic_figure().axes[0].texts]
    assert [f"V({name})" for name in NAMES] == [word for word in words if word.startswith("V(")]


def test_large_clouds_are_pictures_and_small_ones_stay_lines():
    figure = matplotlib.figure.Figure()
    axis = figure.subplots()
    for count in (page.CLOUD - 1, page.CLOUD):
        axis.scatter(np.arange(count), np.arange(count))
    text = page.inline_figure(figure, "x", "a cloud")
    assert text.count("<image") == 1
    assert not any(artist.get_rasterized() for artist in axis.collections)  # it is left as it was


def test_the_markdown_is_a_table(claims):
    head, rule, *rows = claims_markdown(claims).splitlines()
    columns = len(re.findall(r"(?<!\\)\|", head))
    assert set(rule) <= set("|-")
    assert all(len(re.findall(r"(?<!\\)\|", row)) == columns for row in rows)
    assert any("Volume correlates" in row and "holds (SGD, Adam)" in row for row in rows)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.123456, "+0.12"),
        (-0.0999, "−0.10"),
        (0.00734, "+0.0073"),
        (7.6e-5, "+0.0001"),
        (-1e-17, "0.00"),
        (999.5, "999.5"),
        (-2.0, "−2.00"),
        (float("nan"), "—"),
    ],
)
def test_a_signed_number_has_the_digits_that_it_needs(value, shown):
    assert signed(value) == shown


def test_an_interval_needs_both_ends():
    assert signed_interval(-0.5, 0.002) == "[−0.50, +0.002]"
    assert signed_interval(float("nan"), 1.0) == "—"
