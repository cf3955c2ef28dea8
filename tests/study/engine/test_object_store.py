"""Files on a store that has no folders: nothing is there before its first object, as on gs://."""

import os
import sys

import numpy as np
import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from flatvol_jax.kernels import prior_check
from flatvol_jax.kernels.monte_carlo_sums import SumFiles
from flatvol_jax.runtime.cache import cached_arrays
from flatvol_jax.runtime.checkpoints import Checkpoint
from flatvol_jax.sampling.chunk_files import ChunkFiles
from flatvol_jax.sampling.tables import Table
from flatvol_jax.study.engine.records import load_records, load_sweeps, write_records
from flatvol_jax.study.engine.shards import Shard
from flatvol_jax.study.engine.store import Store, Unit
from flatvol_jax.study.engine.workdir import open_workdir

UNIT = Unit("train", "abc")


@pytest.fixture
def workdir(monkeypatch):
    class Store(MemoryFileSystem):
        protocol, cachable, store, pseudo_dirs = ("gcs", "gs"), False, {}, [""]

        @classmethod
        def _strip_protocol(cls, path):
            return super()._strip_protocol(os.fspath(path).removeprefix("gs://"))

        def mkdir(self, path, create_parents=True, **_):
            """A store makes no folders."""

        def makedirs(self, path, exist_ok=False):
            """A store makes no folders."""

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gcs", Store)
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield epath.Path("gs://bucket/run")
    backend.fsspec_backend._get_filesystem.cache_clear()


def test_a_workdir_is_bound_to_its_config(workdir):
    config = {"hp": {"width": 1}, "sweep": {"seed": 0}}
    for _ in range(2):
        with open_workdir(workdir, config) as path:
            assert path == workdir
    other = open_workdir(workdir, {"hp": {"width": 2}, "sweep": {"seed": 0}})
    with pytest.raises(ValueError, match="width: there 1, asked 2"):
        other.__enter__()


def test_units_come_back_and_a_damaged_one_is_set_aside(workdir):
    assert Store(workdir).row(UNIT) is None
    Store(workdir).write(UNIT, {"x": 1.0}, {"a": np.arange(3)})
    assert Store(workdir).row(UNIT) == {"x": 1.0}
    assert Store(workdir).arrays(UNIT)["a"].tolist() == [0, 1, 2]
    path = Store(workdir).path(UNIT)
    path.write_text("cut sh")
    with pytest.warns(UserWarning, match="was damaged"):
        assert Store(workdir).row(UNIT) is None
    names = {found.name for found in path.parent.iterdir()}
    assert names == {"abc.json.damaged", "abc.npz.damaged"}


def test_records_of_shards_are_read_as_one(workdir):
    with pytest.raises(ValueError, match="no records there"):
        load_records(workdir)
    for index in range(2):
        write_records(workdir, [{"run_id": f"r{index}", "v": index}], Shard(index, 2))
    assert load_records(workdir)["v"].tolist() == [0, 1]
    assert set(load_sweeps(workdir.parent)["meta.workdir"]) == {str(workdir)}


def test_cached_arrays_are_computed_once(workdir):
    calls = []

    def compute():
        calls.append(1)
        return {"a": np.ones(2)}

    for _ in range(2):
        assert cached_arrays(workdir / "cache", {"k": 1}, compute)["a"].tolist() == [1, 1]
    assert len(calls) == 1


def test_chunks_and_sums_are_read_back(workdir):
    chunks = ChunkFiles(workdir / "chunks", "name")
    assert chunks.read(0, 4) is None
    chunks.write(0, 4, Table(np.array([[1], [2]], np.uint64), np.array([1, 3])))
    table = chunks.read(0, 4)
    assert (table.words[:, 0].tolist(), table.counts.tolist()) == ([1, 2], [1, 3])
    sums = SumFiles(workdir / "sums", "name", 9)
    assert sums.read(2)[0] == 0
    for done in (3, 9):
        checked = done + prior_check.no_networks()
        sums.write(done, done * np.eye(2), checked)
        found, matrix, beside = sums.read(2)
        assert (found, matrix[0, 0]) == (done, done)
        np.testing.assert_array_equal(beside, checked)
    assert len(list((workdir / "sums").iterdir())) == 1  # what it continued is gone


def test_there_is_no_checkpoint_before_the_first(workdir):
    checkpoint = Checkpoint(workdir / "checkpoints" / "one")
    assert checkpoint.read({"a": np.zeros(2)}) is None
    checkpoint.drop()
