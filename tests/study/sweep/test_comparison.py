import html

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis import verdicts
from flatvol_jax.study.analysis.experiment_tables import experiment_tables
from flatvol_jax.study.sweep.comparison import write_comparison

CONTEXT = {"command": "python -m experiments.compare --workdir=a&b", "scale": "cpu"}


@pytest.fixture(scope="module")
def tables(ten_draws):
    """SGD and Adam on three draws, both followed beyond zero error, SGD elsewhere on one."""
    sgd = ten_draws[(ten_draws["hp.draw"] < 3) & (ten_draws["hp.attack_size"] < 200)]
    sgd = sgd.drop(columns=[name for name in sgd if name.startswith("measure.hessian")])
    adam = sgd.assign(**{"hp.train.optimizer": "adam", "run_id": "adam" + sgd["run_id"]})
    adam["measure.sharpness.best"] = np.roll(adam["measure.sharpness.best"], 1)
    both = pd.concat([sgd, adam], ignore_index=True)
    beyond = both[both["is.zero_error"]].assign(overtrain=100)
    beyond["measure.function.changed"] = np.arange(len(beyond)) % 7
    other = sgd[sgd["hp.draw"] == 0].assign(**{"meta.experiment": "other<script>"})
    frames = [frame.assign(**{"meta.experiment": "mnist_fcn"}) for frame in (both, beyond)]
    return experiment_tables(pd.concat([*frames, other], ignore_index=True), "cpu")


@pytest.fixture(scope="module")
def page(tables, tmp_path_factory):
    path = tmp_path_factory.mktemp("comparison") / "comparison.html"
    write_comparison(path, tables, CONTEXT)
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
    assert "other<script>" not in page
    assert "--workdir=a&amp;b" in page


def test_every_claim_stands_with_its_verdict_and_numbers(page, tables):
    text = html.unescape(page)
    for of_one in tables:
        for table in (of_one.claims, of_one.differences):
            for row in table[table["family"] == "primary"].itertuples():
                assert row.claim in text
                assert row.pooled_verdict in text
                assert row.pooled_reason in text
                assert row.within_verdict in text
                assert row.within_reason in text
            for number in (*table["pooled"].dropna(), *table["within"]):
                shown = f"{number:+.2f}".replace("+0.00", "0.00").replace("-0.00", "0.00")
                assert shown.replace("-", "−") in text
    assert "6 primary claims in each reading, judged together: 99.2% each" in text
    assert "±0.2" in text


def test_baselines_and_pooled_correlations_stand_beside_the_claims(page, tables):
    text = html.unescape(page)
    for row in tables[0].claims.itertuples():
        assert f"<td>{row.measure}</td>" in text
        if np.isfinite(row.pooled):
            assert f"{row.pooled:+.2f}".replace("-", "−") in text


def test_zero_errors_are_counted_and_what_is_left_out_is_said(page, tables):
    frame = tables[0].frame
    reached = frame[frame["hp.train.optimizer"] == "adam"]
    reached = reached[reached["hp.attack_size"] == 50]["is.zero_error"]
    assert f"<td>{reached.sum()} of {len(reached)}</td>" in page
    left = tables[0].differences["left_out"].iloc[0]["level not completed by both"]
    assert f"{left} level not completed by both" in page


def test_movement_stands_where_it_was_recorded(page, tables, tmp_path):
    assert "How far overtraining moved the functions" in page
    assert "100 epochs after zero error" in page
    write_comparison(tmp_path / "zero.html", tables[:1], {})
    text = (tmp_path / "zero.html").read_text("utf-8")
    assert "How far overtraining moved the functions" not in text
    assert "epochs after zero error" not in text


def test_one_optimizer_alone_is_compared_with_nothing(page, tables, tmp_path):
    assert [of_one.experiment for of_one in tables][-1] == "other<script>"
    write_comparison(tmp_path / "one.html", tables[-1:], {})
    text = (tmp_path / "one.html").read_text("utf-8")
    assert "Nothing to compare" in text
    assert "conditional on this S, E" in text
    assert "Nothing to compare" not in page.split('id="experiment2')[0]


def test_the_rules_stand_on_the_page(page):
    assert verdicts.rules_hash() in page
    assert "Rules of judgement" in page


def test_no_tables_are_no_comparison(tmp_path):
    with pytest.raises(ValueError, match="at least one experiment"):
        write_comparison(tmp_path / "none.html", [], {})
