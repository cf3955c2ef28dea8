"""Every kind of page in a real browser, on a telephone and a desk, in light and in dark."""

import planted_equal_networks
import planted_posterior
import planted_predictors
import pytest
from browser import chromium, looked_at
from known_sweeps import known_sweep

from flatvol_jax.paper.claims.paper_claims import paper_claims
from flatvol_jax.paper.pictures import paper_pictures
from flatvol_jax.paper.report import write_paper_report
from flatvol_jax.paper.sensitivity import sensitivity_table, temporal_table
from flatvol_jax.paper.table_1 import table_1
from flatvol_jax.study.analysis.claims import claims_table
from flatvol_jax.study.analysis.experiment_tables import experiment_tables
from flatvol_jax.study.boolean.report import write_boolean_report
from flatvol_jax.study.equal_networks import write_equal_networks_report
from flatvol_jax.study.posterior import write_posterior_report
from flatvol_jax.study.predictors import write_predictor_report
from flatvol_jax.study.predictors.summary import summarised
from flatvol_jax.study.sweep import write_comparison, write_report
from flatvol_jax.study.temporal.report import write_temporal_report

pytestmark = pytest.mark.skipif(chromium() is None, reason="there is no Chromium here")
NARROW, WIDE = 390, 1280
BAD = """<!DOCTYPE html><html><head><style>
body { margin: 0; background: #ffffff } p { color: #eeeeee } .note { color: #dddddd }
</style></head><body><nav class="side"></nav><p class="note">pale</p>
<div style="overflow-x: auto"><table style="width: 3000px"><tr><td>scrolls</td></tr></table></div>
<table style="width: 2000px"><tr><td>does not</td></tr></table>
<svg style="width: 90px" viewBox="0 0 900 90"><text y="20" font-size="20">small</text></svg>
</body></html>"""


def paper_page(path):
    sgd = known_sweep("sgd", -0.9, 0.9)
    tables = experiment_tables(sgd, "cpu")
    claims = paper_claims(tables, (), "cpu")
    pictures = list(paper_pictures(sgd, "cpu"))
    write_paper_report(
        path,
        claims,
        tables[0].claims,
        pictures,
        table_1([]),
        sensitivity_table(sgd),
        temporal_table([]),
        [],
        {"scale": "cpu"},
    )
    return tables


@pytest.fixture(scope="module")
def pages(tmp_path_factory, ten_draws, boolean, temporal_frame):
    folder = tmp_path_factory.mktemp("pages")
    tables = paper_page(folder / "paper.html")
    write_comparison(folder / "comparison.html", tables, {"scale": "cpu"})
    table = claims_table(ten_draws, "cpu", permutations=0)
    write_report(folder / "sweep.html", ten_draws, {"seed": 0}, {"scale": "cpu"}, table)
    write_boolean_report(folder / "boolean", boolean, {})
    write_temporal_report(folder / "temporal", temporal_frame(), {})
    context = {"scale": "cpu"}
    write_posterior_report(folder / "posterior", planted_posterior.records(), context)
    equal = planted_equal_networks.records()
    write_equal_networks_report(folder / "equal_networks", equal, context)
    predictors = summarised(planted_predictors.records())
    write_predictor_report(folder / "predictors", predictors, context)
    (folder / "bad.html").write_text(BAD)
    places = [f"{name}.html" for name in ("paper", "comparison", "sweep", "bad")]
    experiments = ("boolean", "temporal", "posterior", "equal_networks", "predictors")
    return [folder / place for place in (*places, *(f"{e}/report.html" for e in experiments))]


@pytest.fixture(scope="module", params=["light", "dark"])
def looks(request, pages):
    names = [page.stem if page.stem != "report" else page.parent.name for page in pages]
    found = dict(zip(names, looked_at(pages, request.param == "dark"), strict=True))
    return request.param, found, found.pop("bad")


def test_every_edge_is_on_the_screen_and_every_word_can_be_read(looks):
    scheme, found, _ = looks
    for page, widths in found.items():
        for width, one in widths.items():
            assert one["faults"] == [], (page, width, scheme)
            assert one["dark"] == (scheme == "dark"), (page, width)
            assert "#rules" in one["links"]


def test_a_page_that_does_not_fit_is_seen(looks):
    _, _, bad = looks
    faults = "; ".join(bad[NARROW]["faults"])
    assert "the page is 2000 wide" in faults
    assert "TABLE does not: 0 to 2000" in faults
    assert "TABLE scrolls" not in faults
    assert "text of 2.0 pixels: small" in faults
    assert "P pale: rgb(221, 221, 221) on rgb(255, 255, 255)" in faults


def test_a_point_tells_its_network(looks, ten_draws):
    _, found, _ = looks
    for one in found["sweep"].values():
        pointed = one["pointed"]
        card = dict(pointed["card"])
        assert f"draw {card['draw']} · |A| {card['|A|']}" in pointed["tip"]
        assert card["log V (Heaviside)"] in pointed["tip"]
        row = ten_draws[ten_draws["run_id"] == card["run"]].iloc[0]
        assert card["error on E2"] == f"{100 * row['measure.error.second_test']:.1f}%"
        number = float(card["log V (Heaviside)"].split(" ")[0].replace("−", "-"))
        assert number == pytest.approx(row["measure.log_volume.heaviside"], rel=1e-3)
