"""A sweep whose workdir is gs://bucket/run: a folder of this machine stands in for the bucket."""

import os
import sys

import pytest
from etils import epath
from etils.epath import backend
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from flatvol_jax.study import load_records
from flatvol_jax.study.sweep.run import run_attack_sweep


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    class Folder(DirFileSystem):
        protocol, cachable = ("gcs", "gs"), False

        def __init__(self, **_):
            super().__init__(path=str(tmp_path), fs=LocalFileSystem(auto_mkdir=True))

        @classmethod
        def _strip_protocol(cls, path):
            return os.fspath(path).removeprefix("gs://")

    monkeypatch.setitem(sys.modules["fsspec.registry"]._registry, "gcs", Folder)
    backend.fsspec_backend._get_filesystem.cache_clear()
    yield tmp_path
    backend.fsspec_backend._get_filesystem.cache_clear()


@pytest.fixture
def config(tiny):
    return tiny(draws=1, attack_sizes=(0,), samples=2)


def test_its_records_are_those_of_a_local_one(bucket, config, tmp_path_factory):
    local = run_attack_sweep(config, tmp_path_factory.mktemp("local"))
    workdir = epath.Path("gs://bucket/run")
    rows = run_attack_sweep(config, workdir)
    assert len(load_records(workdir)) == 2
    for row, wanted in zip(rows, local, strict=True):
        assert {n: v for n, v in row.items() if not n.startswith("meta.")} == {
            n: v for n, v in wanted.items() if not n.startswith("meta.")
        }
    assert (bucket / "bucket" / "run" / "records.jsonl").exists()
    calls = []
    assert run_attack_sweep(config, workdir, progress=lambda *c: calls.append(c)) == rows
    assert len(calls) == 1  # all of it was there
    assert not [p for p in (bucket / "bucket" / "run").rglob("*.part")]
