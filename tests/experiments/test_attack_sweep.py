"""The main from the outside: SIGKILL in the middle costs no number; stopping has a message.

test_attack_sweep.py holds what it prints, draws and refuses.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flatvol_jax.study import load_records

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/mnist_fcn.py:smoke",
    "--config.hp.model.width=(8,)",
    "--config.hp.data.train_size=40",
    "--config.hp.data.attack_pool_size=40",
    "--config.hp.data.test_size=30",
    "--config.hp.data.second_test_size=100",
    "--config.hp.train.max_epochs=60",
    "--config.sweep.draws=1",
    "--config.sweep.attack_sizes=(0, 40)",
    "--config.sweep.samples=2",
    "--config.ensemble=1",
    "--config.measures.log_volume_null.on=False",
    "--config.measures.sharpness.on=False",
    "--config.measures.sgd_sharpness.on=False",
    "--config.measures.hessian.on=False",
]


def start(workdir, *more):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.attack_sweep", *TINY, f"--workdir={workdir}", *more],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def stop_when_there_is(pattern, workdir, number):
    """Start the main, send it a signal as soon as a file matches, return how it ended."""
    process = start(workdir)
    deadline = time.monotonic() + 150
    while not list(workdir.glob(pattern)):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline, f"no {pattern} in time"
        time.sleep(0.01)
    process.send_signal(number)
    return ended(process)


def numbers(workdir):
    frame = load_records(workdir)
    return frame[[name for name in frame.columns if not name.startswith("meta.")]]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("undisturbed")
    return workdir, *ended(start(workdir))


def test_it_ends_well_and_says_where_records_figure_and_report_are(undisturbed):
    workdir, code, out, err = undisturbed
    assert code == 0, err
    for label, file in (
        ("records", "records.jsonl"),
        ("figure", "figures/attack_sweep.png"),
        ("report", "report.html"),
    ):
        (line,) = [line for line in out.splitlines() if line.startswith(f"{label}:")]
        assert str(workdir / file) in line
        assert (workdir / file).stat().st_size > 1000
    assert len(load_records(workdir)) == 4
    assert "Traceback" not in err


def test_killed_while_training_and_terminated_while_measuring_no_number_moves(
    undisturbed, tmp_path
):
    code, out, _ = stop_when_there_is("units/train/*.json", tmp_path, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert not out
    trained = {p: p.stat().st_mtime_ns for p in tmp_path.glob("units/train/*.json")}
    assert trained

    code, _, err = stop_when_there_is("units/log_volume/*.json", tmp_path, signal.SIGTERM)
    assert code == 1, err
    assert f"what is finished is in {tmp_path}. The same command resumes." in err
    assert "Traceback" not in err
    assert not (tmp_path / "report.html").exists()

    code, out, err = ended(start(tmp_path))
    assert code == 0, err
    assert (tmp_path / "report.html").stat().st_size > 1000
    assert {p: p.stat().st_mtime_ns for p in trained} == trained
    assert numbers(tmp_path).equals(numbers(undisturbed[0]))


def test_a_mistyped_override_fails_with_a_suggestion(tmp_path):
    code, _, err = ended(start(tmp_path / "new", "--config.hp.train.learning_rte=1"))
    assert code != 0
    assert "learning_rate" in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()
