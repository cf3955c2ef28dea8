"""How the mains begin and end: exit codes, and who draws."""

import os
import signal
import sys
import types
import warnings

import pytest

from experiments import running
from experiments.running import Job, all_done, long_work
from flatvol_jax.runtime.files import StorageError
from flatvol_jax.runtime.preemption import safe_point
from flatvol_jax.study.engine.records import load_records, write_records
from flatvol_jax.study.engine.shards import Shard


def code_of(work, tmp_path, monkeypatch):
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(running.flags, "FLAGS", types.SimpleNamespace(flag_values_dict=dict))
    with pytest.raises(SystemExit) as ended, long_work(tmp_path):
        work()
    return ended.value.code


def terminated():
    os.kill(os.getpid(), signal.SIGTERM)
    safe_point()


def raising(error):
    def work():
        raise error

    return work


@pytest.mark.parametrize(
    ("work", "code", "says"),
    [
        (terminated, 75, "Stopped by SIGTERM; what is finished is in"),
        (raising(KeyboardInterrupt()), 130, "Interrupted"),
        (raising(ValueError("x: got 1, wanted 2.")), 1, "error: x: got 1, wanted 2."),
        (raising(StorageError("no space")), 1, "no space"),
    ],
)
def test_each_end_has_its_code(work, code, says, tmp_path, monkeypatch, capsys):
    assert code_of(work, tmp_path, monkeypatch) == code
    assert says in capsys.readouterr().err


def test_what_the_main_needs_at_its_end_is_imported_before_its_work(tmp_path, monkeypatch):
    package, used = types.ModuleType("flatvol_jax.study.any"), []
    package.__all__, package.__getattr__ = ["write_report"], used.append
    monkeypatch.setitem(sys.modules, "__main__", types.SimpleNamespace(any=package, os=os))

    def work():
        assert "write_report" in used
        raise ValueError("the work began")

    assert code_of(work, tmp_path, monkeypatch) == 1


def job(index, count, alone):
    return Job(lambda *_: None, Shard(index, count), alone)


def row(name):
    return {"run_id": name, "overtrain": 0, "transform": "none", "measure.x": 1.0}


def test_the_first_of_several_joins_the_records_and_draws(tmp_path):
    for index, name in enumerate("ab"):
        write_records(tmp_path, [row(name)], Shard(index, 2))
    assert not all_done(job(1, 2, False), tmp_path)
    assert all_done(job(0, 2, False), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["records.jsonl"]
    assert list(load_records(tmp_path)["run_id"]) == ["a", "b"]


def test_processes_that_do_not_share_the_folder_are_noticed(tmp_path):
    write_records(tmp_path, [row("a")], Shard(0, 2))
    with pytest.raises(SystemExit, match=r"no records of process\(es\) \[1\].*do not share"):
        all_done(job(0, 2, False), tmp_path)
    assert (tmp_path / "records-0-of-2.jsonl").exists()


def test_a_shard_by_itself_draws_nothing_and_says_how_it_goes_on(tmp_path, capsys):
    assert not all_done(job(1, 4, True), tmp_path)
    assert "records-1-of-4.jsonl" in capsys.readouterr().out
