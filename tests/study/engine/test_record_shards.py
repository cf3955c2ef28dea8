"""Records in several files: read as one table, a row that several have once."""

import gzip

import pandas as pd

from flatvol_jax.study.engine.record_files import record_files, records_name
from flatvol_jax.study.engine.records import load_records, load_sweeps, write_records
from flatvol_jax.study.engine.shards import Shard


def row(run_id, **columns):
    return {"run_id": run_id, "overtrain": 0, "transform": "none", "epoch": 3, **columns}


def test_shards_and_the_whole_are_the_same_table(tmp_path):
    rows = [row(f"{number:02}", x=number / 7, y=[number]) for number in range(20)]
    for number in range(3):
        write_records(tmp_path / "shards", rows[number::3], shard=Shard(number, 3))
    by_shard = rows[0::3] + rows[1::3] + rows[2::3]
    write_records(tmp_path / "whole", by_shard)
    wanted = load_records(tmp_path / "whole")
    pd.testing.assert_frame_equal(load_records(tmp_path / "shards"), wanted)
    write_records(tmp_path / "shards", by_shard)  # and the merged view beside them
    pd.testing.assert_frame_equal(load_records(tmp_path / "shards"), wanted)


def test_the_fuller_row_wins_in_the_place_of_the_first(tmp_path):
    write_records(tmp_path, [row("a"), row("b", x=None), row("c", x=5.0)])
    write_records(tmp_path, [row("d", x=1.0), row("a", x=2.0)], shard=Shard(0, 2))
    write_records(tmp_path, [row("b", x=3.0), row("c", x=6.0)], shard=Shard(1, 2))
    frame = load_records(tmp_path)
    assert list(frame["run_id"]) == ["a", "b", "c", "d"]
    assert list(frame["x"]) == [2.0, 3.0, 6.0, 1.0]  # of two as full, the shard's, which is newer


def test_epochs_and_transforms_are_rows_of_their_own(tmp_path):
    rows = [
        row("a"),
        row("a", overtrain=1, epoch=4),
        row("a", transform="alpha=5"),
        row("a", overtrain=None, epoch=1),  # a temporal study, before zero error
        row("a", overtrain=None, epoch=2),
    ]
    for number in range(2):
        write_records(tmp_path, rows, shard=Shard(number, 2))
    assert len(load_records(tmp_path)) == len(rows)


def test_another_epoch_of_zero_error_is_the_same_network(tmp_path):
    """Two machines that round otherwise: one of them counts, else statistics refuse the sweep."""
    write_records(tmp_path, [row("a", epoch=3)], shard=Shard(0, 2))
    write_records(tmp_path, [row("a", epoch=4)], shard=Shard(1, 2))
    assert list(load_records(tmp_path)["epoch"]) == [3]


def test_rows_without_a_name_are_kept_as_often_as_the_file_has_them_that_has_most(tmp_path):
    rows = [{"meta.experiment": "boolean", "x": 1}, {"meta.experiment": "boolean", "x": 1}]
    write_records(tmp_path, rows)
    assert len(load_records(tmp_path)) == 2
    write_records(tmp_path, rows, shard=Shard(0, 2))
    write_records(tmp_path, [row("a"), row(None)], shard=Shard(1, 2))
    assert len(load_records(tmp_path)) == 4


def test_shards_are_found_compressed_and_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        write_records(tmp_path / "run", [row(str(number))], shard=Shard(number, 11))
    path = tmp_path / "run" / records_name(Shard(2, 11))
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    (tmp_path / "run" / "records-1-of-11.jsonl.damaged").write_text("x")
    assert len(record_files(tmp_path / "run")) == 3
    assert list(load_sweeps(tmp_path)["run_id"]) == ["1", "2", "10"]
