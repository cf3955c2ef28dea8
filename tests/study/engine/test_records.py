"""records.jsonl: each trained run joined with the measures it has."""

import gzip
import json
import math

import numpy as np
import pandas as pd
import pytest

from configs.mnist_fcn import get_config
from flatvol_jax.study.engine.plan import TRAIN, ChosenMeasure, plan_runs
from flatvol_jax.study.engine.record_merge import SCHEMA
from flatvol_jax.study.engine.records import FILE, load_records, load_sweeps
from flatvol_jax.study.engine.run_records import merge_records
from flatvol_jax.study.engine.store import Stage, Store

MEASURES = {
    "hessian": ChosenMeasure(Stage("hessian", 3), {"k": 5}),
    "baselines": ChosenMeasure(Stage("baselines", 1), {}),
}


@pytest.fixture
def runs():
    config = get_config("smoke").to_dict()
    config["sweep"].update(draws=1, attack_sizes=(0, 50), samples=2)
    return plan_runs(config)


@pytest.fixture
def merged(runs, tmp_path):
    """Runs 0 to 2 are trained, 0 has both measures, 1 has one, 3 has a measure but no training."""
    for i, run in enumerate(runs[:3]):
        Store(tmp_path).write(run.training, {"epoch": i, "measure.error.test": i / 8})
    for i in (0, 1, 3):
        trace = math.nan if i == 1 else 2.0
        row = {"measure.hessian.trace": trace, "meta.hessian.seconds": 1.5}
        Store(tmp_path).write(MEASURES["hessian"].unit(*runs[i].network), row)
    baselines = MEASURES["baselines"].unit(*runs[0].network)
    Store(tmp_path).write(baselines, {"measure.baseline.margin": 0.1})
    return tmp_path, merge_records(Store(tmp_path), runs, MEASURES, "mnist_fcn", "smoke")


def test_a_row_joins_hp_training_and_measures(merged, runs):
    _, rows = merged
    run = runs[0]
    assert rows[0] == {
        "run_id": run.run_id,
        "overtrain": 0,
        "transform": "none",
        **{f"hp.{name}": value for name, value in run.hp.items()},
        "epoch": 0,
        "measure.error.test": 0.0,
        "measure.hessian.trace": 2.0,
        "meta.hessian.seconds": 1.5,
        "meta.settings.hessian": MEASURES["hessian"].label,
        "measure.baseline.margin": 0.1,
        "meta.settings.baselines": MEASURES["baselines"].label,
        "meta.settings.train": TRAIN.label({}),
        "meta.experiment": "mnist_fcn",
        "meta.scale": "smoke",
        "meta.schema": SCHEMA,
    }


def test_compressed_records_are_the_same(merged):
    folder, _ = merged
    wanted = load_records(folder)
    (folder / f"{FILE}.gz").write_bytes(gzip.compress((folder / FILE).read_bytes()))
    (folder / FILE).unlink()
    pd.testing.assert_frame_equal(load_records(folder), wanted)
    assert len(load_sweeps(folder)) == len(wanted)


def test_only_trained_runs_have_rows_in_the_order_of_the_plan(merged, runs):
    _, rows = merged
    assert [row["run_id"] for row in rows] == [run.run_id for run in runs[:3]]


def test_a_missing_measure_leaves_its_columns_out(merged):
    _, rows = merged
    assert "measure.hessian.trace" in rows[1]  # measured as NaN is not "not measured"
    assert rows[1]["measure.hessian.trace"] is None
    assert "measure.baseline.margin" not in rows[1]
    assert not {"measure.hessian.trace", "measure.baseline.margin"} & rows[2].keys()


def test_measures_of_other_settings_stay_out(merged, runs):
    workdir, _ = merged
    other = {"hessian": MEASURES["hessian"]._replace(settings={"k": 6})}
    rows = merge_records(Store(workdir), runs, other)
    assert len(rows) == 3
    assert not any("measure.hessian.trace" in row for row in rows)


def test_the_file_is_the_rows_a_line_each(merged):
    workdir, rows = merged
    lines = (workdir / FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    assert [path.name for path in workdir.iterdir() if path.is_file()] == [FILE]


def test_loading_gives_a_table_with_nan_where_nothing_is(merged, runs):
    workdir, _ = merged
    frame = load_records(workdir)
    assert list(frame["run_id"]) == [run.run_id for run in runs[:3]]
    assert frame["measure.error.test"].tolist() == [0.0, 0.125, 0.25]
    assert frame["measure.hessian.trace"].isna().tolist() == [False, True, True]


def test_a_damaged_unit_leaves_its_columns_out_with_a_warning(merged, runs):
    workdir, _ = merged
    Store(workdir).path(MEASURES["baselines"].unit(*runs[0].network)).write_text("{")
    with pytest.warns(UserWarning, match="was damaged"):
        rows = merge_records(Store(workdir), runs, MEASURES)
    assert "measure.baseline.margin" not in rows[0]
    assert rows[0]["measure.hessian.trace"] == 2.0


def test_damaged_lines_are_named_in_one_warning_and_left_out(merged):
    workdir, rows = merged
    lines = (workdir / FILE).read_bytes().splitlines()
    foreign = [b"[1, 2]", b"", b"3", b"\xff\xfe\x00", b'{"a": 1}', b"null", b"[" * 100_000]
    (workdir / FILE).write_bytes(b"\n".join([lines[0], lines[1][:40], *foreign, lines[2], b""]))
    wanted = f"{FILE}, lines 2, 3, 4, 5, 6 and 3 more: not a record, left out"
    with pytest.warns(UserWarning, match=wanted) as caught:
        frame = load_records(workdir)
    assert list(frame["run_id"]) == [rows[0]["run_id"], rows[2]["run_id"]]
    assert len(caught) == 1


def test_one_damaged_line_is_named(merged):
    workdir, rows = merged
    with (workdir / FILE).open("ab") as file:
        file.write(b'{"run_id": "cut sho')
    with pytest.warns(UserWarning, match=f"{FILE}, line 4: not a record, left out"):
        assert len(load_records(workdir)) == len(rows)


def test_nan_of_another_program_and_windows_lines_are_read(tmp_path):
    (tmp_path / FILE).write_bytes(b'{"run_id": "a", "x": NaN}\r\n{"run_id": "b", "x": 2}\r\n')
    frame = load_records(tmp_path)
    np.testing.assert_array_equal(frame["x"], [np.nan, 2.0])


@pytest.mark.filterwarnings("ignore:.*not a record")
def test_what_can_be_read_of_a_short_gz_is_used(merged):
    workdir, rows = merged
    content = (workdir / FILE).read_bytes()
    noise = np.random.default_rng(0).bytes(50_000).hex().encode()  # so that the cut hits line 4
    longer = content + b'{"run_id": "' + noise + b'"}\n'
    (workdir / FILE).unlink()
    (workdir / f"{FILE}.gz").write_bytes(gzip.compress(longer)[:-20_000])
    with pytest.warns(UserWarning, match="cut short") as caught:
        frame = load_records(workdir)
    assert list(frame["run_id"]) == [row["run_id"] for row in rows]
    assert [str(w.message).split(f"{FILE}.gz")[1] for w in caught] == [
        ": cut short; what can be read of it is used.",
        ", line 4: not a record, left out.",
    ]


def test_a_damaged_gz_is_an_error(merged):
    workdir, _ = merged
    content = bytearray(gzip.compress((workdir / FILE).read_bytes()))
    content[len(content) // 2] ^= 1
    (workdir / FILE).unlink()
    (workdir / f"{FILE}.gz").write_bytes(bytes(content))
    with pytest.raises(ValueError, match="damaged .gz file .*Copy it again"):
        load_records(workdir)


def test_parts_of_a_gz_written_one_after_another_are_one(merged):
    workdir, _ = merged
    wanted = load_records(workdir)
    lines = (workdir / FILE).read_bytes().splitlines(keepends=True)
    (workdir / FILE).unlink()
    (workdir / f"{FILE}.gz").write_bytes(b"".join(map(gzip.compress, lines)))
    pd.testing.assert_frame_equal(load_records(workdir), wanted)


def test_no_records_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="run the experiment with this --workdir first"):
        load_records(tmp_path)


@pytest.mark.parametrize("text", ["", "not a record\n"])
@pytest.mark.filterwarnings("ignore:.*not a record")
def test_a_file_without_a_record_is_an_error(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match="no records"):
        load_records(tmp_path)
