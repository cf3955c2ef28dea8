"""The paper's page from the outside: what is there is taken, what is missing is run or named."""

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from absl import flags
from absl.testing import flagsaver

from configs import mnist_fcn, reproduce
from experiments import reproduce as main
from flatvol_jax.study.engine.records import load_records
from flatvol_jax.study.sweep.run import run_attack_sweep

ROOT = Path(__file__).parents[2]


get_config = mnist_fcn.get_config


def tiny_config(*_):
    config = get_config("smoke")
    config.hp.data.update(train_size=20, attack_pool_size=20, test_size=20, second_test_size=30)
    config.hp.model.width = (8,)
    config.sweep.update(draws=2, attack_sizes=(0, 20), samples=2)
    for name in ("sgd_sharpness", "hessian", "log_volume_null"):
        config.measures[name].on = False
    config.measures.log_volume.update(links=("heaviside",), estimator="ep")
    return config


@pytest.fixture
def one_job(monkeypatch):
    """A scale with one study, and one whose data nobody has prepared."""
    here = reproduce.Job("attack_sweep", "mnist_fcn", "smoke", "mnist_fcn_smoke")
    absent = here._replace(folder="mnist_fcn_smoke_absent", data="cifar10")
    monkeypatch.setattr(reproduce, "jobs", lambda scale: [here, absent])
    monkeypatch.setattr(mnist_fcn, "get_config", tiny_config)
    return here


def reproduced(workdir, capsys, **values):
    if not flags.FLAGS.is_parsed():
        flags.FLAGS(["test"])
    with flagsaver.flagsaver(workdir=str(workdir), data_dir=str(workdir), **values):
        main.main([])
    return capsys.readouterr().out


def test_it_runs_what_is_missing_and_takes_it_the_next_time(one_job, tmp_path, capsys, monkeypatch):
    said = reproduced(tmp_path, capsys, scale="smoke")
    assert f"1 of 2: mnist_fcn_smoke: {one_job.command}" in said
    report = (tmp_path / "report.html").read_text()
    assert "cifar10 is not prepared" in report
    assert "run in 0:0" in report
    assert (tmp_path / "figures" / "figure_3.png").exists()
    assert (tmp_path / "figures" / "summary.png").exists()
    claims = pd.read_csv(tmp_path / "claims.csv")
    verdicts = set(claims["paper_verdict"]) | set(claims["within_verdict"].dropna())
    assert verdicts <= {"undecided at this scale", "no verdict"}
    assert (tmp_path / "claims.md").read_text().startswith("| the paper says")

    def never(*_, **__):
        raise AssertionError("what is there was run again")

    monkeypatch.setattr("flatvol_jax.study.sweep.run.run_attack_sweep", never)
    assert "1 of 2" not in reproduced(tmp_path, capsys, scale="smoke")
    assert "reused" in (tmp_path / "report.html").read_text()


def test_interrupted_at_any_moment_it_leaves_the_records_that_are_there(
    one_job, tmp_path, capsys, monkeypatch
):
    """As in results/, where records have no units and one row is missing."""
    folder = tmp_path / "mnist_fcn_smoke"
    run_attack_sweep(tiny_config().to_dict(), tmp_path / "whole")
    lines = (tmp_path / "whole" / "records.jsonl").read_text().splitlines(keepends=True)
    folder.mkdir()
    (folder / "records.jsonl.gz").write_bytes(gzip.compress("".join(lines[:-1]).encode()))
    shutil.copy(tmp_path / "whole" / "config.json", folder)
    before = {json.loads(line)["run_id"]: json.loads(line) for line in lines[:-1]}

    limit = [0]

    @contextlib.contextmanager
    def stopping(workdir, *_):
        steps = iter(range(limit[0]))

        def progress(*_):
            if next(steps, None) is None:
                raise KeyboardInterrupt

        yield SimpleNamespace(progress=progress)

    monkeypatch.setattr(main, "long_work", stopping)
    for limit[0] in (0, 1, 3):  # one network is missing
        with pytest.raises(KeyboardInterrupt):
            reproduced(tmp_path, capsys, scale="smoke")
        after = {row["run_id"]: row for row in load_records(folder).to_dict("records")}
        assert before.keys() <= after.keys()
        for name, row in before.items():
            for column in (c for c in row if c.startswith("measure.") and row[c] is not None):
                assert after[name][column] == row[column]
    limit[0] = 10**6
    reproduced(tmp_path, capsys, scale="smoke")
    assert len(load_records(folder)) == len(lines)


def test_without_running_it_says_what_is_missing(one_job, tmp_path, capsys):
    run_attack_sweep(tiny_config().to_dict(), tmp_path / "mnist_fcn_smoke")
    reproduced(tmp_path, capsys, scale="smoke", run=False)
    not_run = (tmp_path / "report.html").read_text().split("Not run")[1]
    assert one_job.command in not_run


def test_a_sweep_under_way_is_judged_by_what_is_there(one_job, tmp_path, capsys):
    folder = tmp_path / "mnist_fcn_smoke"
    run_attack_sweep(tiny_config().to_dict(), folder)
    lines = (folder / "records.jsonl").read_text().splitlines(keepends=True)
    (folder / "records.jsonl").write_text("".join(lines[:-1]))
    reproduced(tmp_path, capsys, scale="smoke", run=False)
    assert "7 of 8 networks so far" in (tmp_path / "report.html").read_text()


def test_a_workdir_without_records_ends_in_a_sentence(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.reproduce", "--norun", f"--workdir={tmp_path}"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
