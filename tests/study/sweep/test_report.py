import numpy as np
import pytest

from flatvol_jax.study.analysis import claims, run_tables, verdicts
from flatvol_jax.study.report import scatter
from flatvol_jax.study.sweep import report

CONFIG = {"seed": 0, "hp": {"train": {"optimizer": "sgd<script>"}, "sizes": (0, 50)}}
CONTEXT = {
    "command": "python -m experiments.attack_sweep --config=a&b",
    "commit": "0123abcd",
    "versions": {"jax": "0.10.2"},
    "wall_seconds": 170.3,
    "scale": "cpu",
}


@pytest.fixture(scope="module")
def table(ten_draws):
    return claims.claims_table(ten_draws, "cpu")


@pytest.fixture(scope="module")
def page(tmp_path_factory, ten_draws, table):
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write_report(path, ten_draws, CONFIG, CONTEXT, claims=table)
    return path.read_text("utf-8")


def test_page_is_well_formed_and_loads_nothing(page, tags_of):
    tags = tags_of(page)
    assert tags.open == []
    assert all(link.startswith(("#", "data:")) for link in tags.links)
    assert "url(http" not in page
    assert "@import" not in page


def test_ids_are_unique_and_every_reference_is_there(page, tags_of):
    tags = tags_of(page)
    assert len(tags.ids) == len(set(tags.ids))
    assert {link[1:] for link in tags.links if link.startswith("#")} <= set(tags.ids)


def test_page_escapes_what_it_is_given(page):
    assert "sgd<script>" not in page
    assert "sgd&lt;script&gt;" in page
    assert "--config=a&amp;b" in page


def test_page_says_what_was_run_and_by_which_rules(page):
    for text in ("0123abcd", "jax", "0.10.2", "2 min 50 s", "hp.train.optimizer", "[0, 50]"):
        assert text in page
    assert verdicts.rules_hash() in page
    assert "Rules of judgement" in page


def test_page_has_every_correlation_and_verdict_of_the_table(page, table):
    for row in table.itertuples():
        assert row.measure.replace("'", "&#39;") in page
        for number in (row.within, row.pooled):
            assert np.isnan(number) or f"{number:+.2f}".replace("-", "−") in page
    for row in table[table["family"] == "primary"].itertuples():
        for words in (row.pooled_verdict, row.pooled_reason, row.within_verdict, row.within_reason):
            assert words in page
    assert "2 primary claims in each reading" in page
    assert "do not have the errors on the halves of E2" in page


def test_page_judges_again_on_each_half_of_e2(tmp_path, ten_draws):
    error = "measure.error.second_test"
    halves = ten_draws.assign(
        **{f"{error}.half_1": ten_draws[error], f"{error}.half_2": -ten_draws[error]}
    )
    report.write_report(tmp_path / "r.html", halves, CONFIG, CONTEXT)
    text = (tmp_path / "r.html").read_text("utf-8")
    assert text.count("E2, first half") == text.count("E2, second half") == 2
    assert "do not have the errors on the halves" not in text


def test_page_lists_every_run_and_who_is_left_out(page, ten_draws):
    assert all(run in page for run in ten_draws["run_id"])
    stuck = int((~ten_draws["is.zero_error"]).sum())
    assert f"{stuck} zero training error not reached" in page


def test_page_says_how_far_ep_is_off(page, ten_draws):
    (row,) = run_tables.volume_table(ten_draws).to_dict("records")
    assert row["link"] == "heaviside"
    assert row["runs"] == len(ten_draws)
    assert row["certified"] == int((ten_draws["hp.sample"] != 0).sum())
    np.testing.assert_allclose([row["ep"], row["ep_most"]], 0.5)
    np.testing.assert_allclose([row["corrected"], row["se"]], [0.05, 0.03])
    assert "How far EP is from log V(f)" in page
    assert not len(run_tables.volume_table(ten_draws[["hp.draw"]]))


def test_page_adapts_to_dark_and_to_a_phone(page):
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page
    assert "currentColor" in page


def test_little_context_little_data_still_makes_a_report(tmp_path, one_draw):
    columns = ["run_id", "hp.draw", "hp.attack_size", "hp.train.optimizer"]
    columns += ["is.zero_error", "measure.error.test", "measure.log_volume.heaviside"]
    path = tmp_path / "report.html"
    report.write_report(path, one_draw[columns].head(8), {}, {})
    text = path.read_text("utf-8")
    assert "E2 is\nempty" in text
    assert "conditional on this S, E" in text
    assert "nan" not in text.lower().replace("finance", "")


def test_what_the_sharpness_is_made_of_stands_in_the_report(ten_draws, table, tmp_path, tags_of):
    share = {
        "measure.sharpness.best.first_order": 0.95 * ten_draws["measure.sharpness.best"],
        "measure.sharpness.best.on_face": 0.7,
        "measure.basin_volume": -5000.0,
        "measure.basin_volume.se": 1.0,
        "measure.basin_volume.effective_directions": 1.5,
        "measure.basin_volume.permutations": 220.64,
        "is.basin_volume_ok": False,
    }
    figure = scatter.attack_sweep_figure(ten_draws)
    report.write_report(
        tmp_path / "r.html",
        ten_draws.assign(**share),
        CONFIG,
        CONTEXT,
        claims=table,
        pictures={"a further <picture>": figure},
    )
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<td>95.0%</td>" in page
    assert "<td>70.0%</td>" in page
    assert "0 of 550" in page  # basin volumes that can be trusted
    assert "1.5 effective directions in the median" in page
    assert 'aria-label="a further &lt;picture&gt;"' in page
    tags = tags_of(page)
    assert tags.open == []
    assert len(tags.ids) == len(set(tags.ids))  # no two pictures share the id of a clip path


def test_nothing_is_said_of_measures_that_are_absent(page):
    assert "Volumes, global and local" not in page
    assert "More pictures" not in page
