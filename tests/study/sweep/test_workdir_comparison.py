"""Two workdirs: equal, moved by a known amount, of other networks."""

import json

import numpy as np
import pytest
from known_sweeps import ERROR, SHARPNESS, known_sweep

from flatvol_jax.study.analysis import comparison
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.store import jsonable
from flatvol_jax.study.sweep.workdir_comparison import compare_workdirs, comparison_summary


def stored(folder, frame, **config):
    folder.mkdir()
    rows = frame.drop(columns="meta.workdir").to_dict("records")
    write_records(folder, map(jsonable, rows))
    (folder / "config.json").write_text(json.dumps({"config": config}))
    return folder


@pytest.fixture(scope="module")
def frame():
    return known_sweep("sgd", -0.8, 0.6, draws=4, levels=3, samples=4)


def test_equal_workdirs_are_equal_bit_for_bit(frame, tmp_path):
    found = compare_workdirs(stored(tmp_path / "a", frame), stored(tmp_path / "b", frame))
    assert found.counts == (len(frame), 0, 0)
    assert (found.moved["equal"] == found.moved["rows"]).all()
    assert not len(found.config)
    assert (found.correlations["estimate"] == 0).all()


def test_a_measure_that_moved_says_how_far_and_where(frame, tmp_path):
    other = frame.copy()
    other.loc[other.index[:3], SHARPNESS] *= 1.5
    other = other.iloc[:-2]
    found = compare_workdirs(stored(tmp_path / "a", frame), stored(tmp_path / "b", other))
    assert found.counts == (len(frame) - 2, 2, 0)
    row = found.moved.set_index("column").loc[SHARPNESS]
    assert row["rows"] - row["equal"] == 3
    np.testing.assert_allclose(row["largest"], 0.5 * frame[SHARPNESS].iloc[:3].max())
    np.testing.assert_allclose(row["relative"], 1 / 3)
    assert found.moved["column"].iloc[0] == SHARPNESS  # the most moved comes first
    assert any("3 of 46 rows moved" in line for line in comparison_summary(found))


def test_a_number_on_one_side_only_is_infinitely_far(frame, tmp_path):
    other = frame.copy()
    other.loc[0, SHARPNESS] = np.nan
    found = compare_workdirs(stored(tmp_path / "a", frame), stored(tmp_path / "b", other))
    assert found.moved.set_index("column").loc[SHARPNESS, "largest"] == np.inf


def test_other_networks_on_the_same_draws_are_compared_by_their_correlations(frame, tmp_path):
    adam = known_sweep("adam", -0.8, -0.2, draws=4, levels=3, samples=4)
    one = stored(tmp_path / "a", frame, hp={"train": {"optimizer": "sgd"}})
    other = stored(tmp_path / "b", adam, hp={"train": {"optimizer": "adam"}})
    found = compare_workdirs(one, other)
    assert found.counts[0] == 0
    assert found.config.values.tolist() == [["hp.train.optimizer", "sgd", "adam"]]
    row = found.correlations.set_index("measure").loc["sharpness (best found)"]
    expected = comparison.paired_difference(frame, adam, SHARPNESS, ERROR, 1)
    np.testing.assert_allclose(row["estimate"], expected.estimate)
    np.testing.assert_allclose((row["low"], row["high"]), (expected.low, expected.high))


def test_other_draws_have_nothing_to_compare(frame, tmp_path):
    other = frame.assign(**{"hp.seed": 1, "run_id": frame["run_id"] + " other"})
    found = compare_workdirs(stored(tmp_path / "a", frame), stored(tmp_path / "b", other))
    assert not len(found.correlations)
    assert not len(found.moved)
