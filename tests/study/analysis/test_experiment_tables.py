"""Records of several sweeps: which belong together, which must not be put together."""

import numpy as np
import pandas as pd
import pytest

from flatvol_jax.study.analysis import comparison
from flatvol_jax.study.analysis.experiment_tables import (
    experiment_tables,
    flat_table,
    function_movement_table,
    of_scale,
    tables_summary,
    zero_error_table,
)

CHANGED = "measure.function.changed"


def sweep(optimizer, experiment="mnist_fcn", scale="cpu", draws=2, train_size=500, samples=3):
    """The records of one sweep; sharpness follows the error, log V falls with it."""
    generator = np.random.default_rng(len(optimizer))
    draw, size, sample = (index.ravel() for index in np.indices((draws, 3, samples)))
    error = 0.2 + 0.1 * size + 0.01 * generator.normal(size=len(draw))
    return pd.DataFrame(
        {
            "run_id": [f"{experiment} {scale} {optimizer} {i}" for i in range(len(draw))],
            "meta.experiment": experiment,
            "meta.scale": scale,
            "meta.workdir": f"runs/{experiment}_{scale}_{optimizer}",
            "hp.train.optimizer": optimizer,
            "hp.draw": draw,
            "hp.attack_size": 100 * size,
            "hp.sample": sample,
            "hp.seed": 0,
            "hp.data.train_size": train_size,
            "hp.model.width": [[40, 40]] * len(draw),
            "measure.error.second_test": error,
            "measure.log_volume.heaviside": -900 * error + generator.normal(size=len(draw)),
            "measure.sharpness.best": np.exp(6 * error),
            "is.zero_error": True,
            "is.ep_converged": True,
            "is.sharpness_converged": True,
        }
    )


def together(*frames):
    return pd.concat(frames, ignore_index=True)


def later(frame, epochs, changed):
    return frame.assign(overtrain=epochs, **{CHANGED: changed})


@pytest.fixture(scope="module")
def records():
    """Two experiments; Adam gets stuck once, and is followed beyond zero error, as SGD is."""
    sgd, adam = sweep("sgd"), sweep("adam")
    adam.loc[4, "is.zero_error"] = False
    beyond = later(together(sgd, adam.drop(index=4)), 100, np.arange(35) % 3)
    return together(sgd, adam, beyond, sweep("sgd", "cifar_fcn", train_size=5000))


@pytest.fixture(scope="module")
def tables(records):
    return experiment_tables(records, "cpu")


def test_each_experiment_at_each_epoch_has_its_tables(tables):
    assert [(t.experiment, t.overtrain) for t in tables] == [
        ("cifar_fcn", 0),
        ("mnist_fcn", 0),
        ("mnist_fcn", 100),
    ]
    cifar, mnist, _ = tables
    assert len(cifar.differences) == 0
    assert set(mnist.differences["optimizer"]) == {"adam"}
    assert len(mnist.frame) == 36
    assert cifar.claims["confidence"].iloc[0] == pytest.approx(1 - 0.05 / 2)


def test_all_claims_of_an_experiment_are_judged_together(tables):
    claims, differences = tables[1].claims, tables[1].differences
    primary = [table[table["family"] == "primary"] for table in (claims, differences)]
    confidences = {c for table in primary for c in table["confidence"]}
    assert confidences == {comparison.simultaneous_confidence(6)}
    assert tables[1].family == 6
    for reading in ("pooled", "within"):
        p, p_holm = f"{reading}_p", f"{reading}_p_holm"
        found = {(i, row): x for i, table in enumerate(primary) for row, x in table[p].items()}
        assert len(found) == 6
        adjusted = comparison.holm(found)
        for i, table in enumerate(primary):
            wanted = [adjusted[i, row] for row in table.index]
            np.testing.assert_array_equal(table[p_holm], wanted)
        assert claims.loc[claims["family"] != "primary", p_holm].isna().all()


def test_primary_claims_are_judged_again_on_each_half_of_e2(records, tables):
    assert not len(tables[1].halves)
    error, half = "measure.error.second_test", "measure.error.second_test.half_"
    shifted = records.assign(**{f"{half}1": records[error], f"{half}2": -records[error]})
    halves = experiment_tables(shifted, "cpu")[1].halves
    assert list(dict.fromkeys(halves["error"])) == ["E2, first half", "E2, second half"]
    first, second = (rows.reset_index(drop=True) for _, rows in halves.groupby("error"))
    assert set(first["family"]) == {"primary"}
    assert len(first) == 4 + 2
    whole = pd.concat([tables[1].claims, tables[1].differences])
    whole = whole[whole["family"] == "primary"]
    for name in ("pooled", "within_low", "within_high", "pooled_verdict", "claim"):
        assert first[name].tolist() == pytest.approx(whole[name].tolist(), nan_ok=True)
    np.testing.assert_allclose(second["within"], -first["within"], atol=1e-12)


def test_a_level_that_was_not_completed_stays_so_beyond_zero_error(tables):
    at_zero, beyond = tables[1], tables[2]
    assert len(beyond.frame) == 36
    for table in (at_zero, beyond):
        row = table.differences.iloc[0]
        assert (row["levels"], row["levels_run"]) == (5, 6)
        assert row["left_out"] == {"level not completed by both": 6}
    pd.testing.assert_series_equal(at_zero.differences["within"], beyond.differences["within"])


def test_zero_error_is_counted_by_optimizer_and_size(tables):
    table = zero_error_table(tables[1].frame)
    assert list(table.index) == ["sgd", "adam"]
    assert table.loc["adam"].to_dict() == {0: "6 of 6", 100: "5 of 6", 200: "6 of 6"}
    fewer = tables[1].frame.query("`hp.train.optimizer` == 'sgd' or `hp.attack_size` == 0")
    assert zero_error_table(fewer).loc["adam", 200] == ""


def test_movement_of_the_function_is_counted_beyond_zero_error(records):
    table = function_movement_table(records).set_index("optimizer")
    assert table.loc["sgd"].to_dict() == {
        "overtrain": 100,
        "runs": 18,
        "moved": 12,
        "median": 1.0,
        "most": 2,
    }
    assert table.loc["adam", "runs"] == 17
    assert not len(function_movement_table(records[records["overtrain"].isna()]))


def test_every_row_stands_in_the_flat_table(tables):
    flat = flat_table(tables)
    assert len(flat) == sum(len(t.claims) + len(t.differences) for t in tables)
    place = (flat["experiment"] == "mnist_fcn") & (flat["overtrain"] == 100)
    differences = flat[place & (flat["table"] == "difference")]
    assert differences["within"].tolist() == tables[2].differences["within"].tolist()
    assert differences["left_out"].iloc[0] == '{"level not completed by both": 6}'


def test_the_summary_has_each_claim_and_its_verdict(tables):
    lines = list(tables_summary(tables))
    assert sum("2 draws, 10 wanted" in line for line in lines) == 2 * (2 + 6 + 6)
    assert any("mnist_fcn, 100 epochs after zero error" in line for line in lines)


def test_a_scale_without_records_is_answered_with_those_there_are(records):
    other = sweep("sgd", scale="paper").assign(**{"meta.scale": "paper"})
    audit = pd.DataFrame({"run_id": ["a"], "transform": ["layer"]})
    mixed = together(records, other, audit)
    assert len(of_scale(mixed, "cpu")) == len(records)
    with pytest.raises(ValueError, match=r"got 'large'.*Try: cpu, paper"):
        of_scale(mixed, "large")


def test_records_of_other_studies_are_left_out():
    records = together(sweep("sgd"))
    temporal = records.head(2).assign(**{"transform.symmetry": "none"})
    boolean = records.head(3).assign(**{"meta.part": "function"})
    predictors = records.head(4).assign(**{"hp.factor.optimizer": "sgd"})
    mixed = pd.concat([records, temporal, boolean, predictors], ignore_index=True)
    assert len(of_scale(mixed, "cpu")) == len(records)
    assert len(experiment_tables(of_scale(mixed, "cpu"), "cpu")) == 1
    with pytest.raises(ValueError, match="scale: got 'cpu'"):
        of_scale(pd.concat([temporal, boolean]), "cpu")


def test_two_sweeps_of_one_optimizer_are_refused():
    frame = together(sweep("sgd"), sweep("adam"), sweep("sgd", scale="paper", draws=1))
    with pytest.raises(ValueError, match="got 2 records") as refused:
        experiment_tables(frame, "cpu")
    for text in ("runs/mnist_fcn_cpu_sgd", "runs/mnist_fcn_paper_sgd at scale paper", "--scale="):
        assert text in str(refused.value)


def test_optimizers_of_other_data_are_refused():
    frame = together(sweep("sgd"), sweep("adam", train_size=100))
    with pytest.raises(ValueError, match=r"hp.data.train_size: got 500 in runs/mnist_fcn_cpu_sgd"):
        experiment_tables(frame, "cpu")


def test_an_unset_size_is_one_value_however_it_is_null():
    size = "hp.data.second_test_size"
    frame = together(sweep("sgd").assign(**{size: None}), sweep("adam"))
    assert len(experiment_tables(frame, "cpu")) == 1
    frame = together(sweep("sgd").assign(**{size: 300}), sweep("adam"))
    with pytest.raises(ValueError, match="second_test_size: got 300.0 in .* null in"):
        experiment_tables(frame, "cpu")
