"""Records in other programs' files."""

import json

import numpy as np
import pandas as pd
import pytest
from known_sweeps import SHARPNESS, known_sweep

from flatvol_jax.study import export_records
from flatvol_jax.study.engine.records import write_records


@pytest.fixture
def workdir(tmp_path):
    frame = known_sweep("sgd", -0.8, 0.6, draws=2, levels=2, samples=2)
    frame = frame.drop(columns="meta.workdir").assign(**{"hp.train.batch_size": 32})
    rows = frame.to_dict("records")
    rows[0]["hp.train.batch_size"] = rows[1]["is.ep_converged"] = None
    for row in rows:
        row["hp.model.width"] = [40, 40]
    write_records(tmp_path / "sweep", rows)
    return tmp_path / "sweep", rows


def test_parquet_keeps_numbers_flags_nulls_and_lists(workdir, tmp_path):
    folder, rows = workdir
    export_records(folder, tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert len(found) == len(rows)
    np.testing.assert_array_equal(found[SHARPNESS], [row[SHARPNESS] for row in rows])
    assert found["hp.train.batch_size"].isna().tolist() == [True] + [False] * 7
    assert found["hp.train.batch_size"].dtype == "Int64"
    assert found["is.ep_converged"].dtype == "boolean"
    assert pd.isna(found["is.ep_converged"][1])
    assert list(found["hp.model.width"][0]) == [40, 40]


def test_csv_has_lists_as_json(workdir, tmp_path):
    folder, rows = workdir
    export_records(folder, tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", float_precision="round_trip")
    assert json.loads(found["hp.model.width"][0]) == [40, 40]
    np.testing.assert_array_equal(found[SHARPNESS], [row[SHARPNESS] for row in rows])


def test_another_suffix_and_a_missing_pyarrow_are_said(workdir, tmp_path, monkeypatch):
    folder, _ = workdir
    with pytest.raises(ValueError, match=r"ends in .csv or .parquet"):
        export_records(folder, tmp_path / "out.xlsx")

    def missing(*_, **__):
        raise ImportError("no engine")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    with pytest.raises(ValueError, match=r"flatvol-jax\[parquet\]"):
        export_records(folder, tmp_path / "out.parquet")
