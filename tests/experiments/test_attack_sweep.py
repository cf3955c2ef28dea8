import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from flatvol_jax import study

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/mnist_fcn.py:smoke",
    "--config.hp.model.width=(8,)",
    "--config.hp.data.train_size=40",
    "--config.hp.data.attack_pool_size=100",
    "--config.hp.data.test_size=30",
    "--config.sweep.draws=1",
    "--config.measures.hessian.on=False",
    "--config.measures.sgd_sharpness.on=False",
]


def command(*arguments):
    return [sys.executable, "-m", "experiments.attack_sweep", *arguments]


def environment():
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def run(*arguments):
    return subprocess.run(
        command(*arguments), cwd=ROOT, env=environment(), capture_output=True, text=True
    )


def test_killed_and_called_again_it_ends_with_records_figure_and_report(tmp_path):
    workdir = f"--workdir={tmp_path}"
    killed = subprocess.Popen(command(*TINY, workdir), cwd=ROOT, env=environment())
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("units/log_volume/*.json")) and time.monotonic() < deadline:
        assert killed.poll() is None, "ended before it was killed"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    done = set(tmp_path.glob("units/*/*.json"))
    assert done

    ended = run(*TINY, workdir)
    assert ended.returncode == 0, ended.stderr
    assert done <= set(tmp_path.glob("units/*/*.json"))
    for file in ("records.jsonl", "figures/attack_sweep.png", "figures/attack_sweep.svg"):
        assert str(tmp_path / file) in ended.stdout
        assert (tmp_path / file).stat().st_size > 1000
    assert "http" not in (tmp_path / "report.html").read_text().replace("http://www.w3.org", "")
    assert "within |A|" in ended.stdout
    assert len(study.load_records(tmp_path)) == 6


def test_a_mistyped_key_gets_a_suggestion_and_no_traceback(tmp_path):
    ended = run(*TINY, "--config.hp.train.learning_rte=1.0", f"--workdir={tmp_path}/new")
    assert ended.returncode != 0
    assert 'Did you mean "learning_rate"' in ended.stderr
    assert "Traceback" not in ended.stderr
    assert not (tmp_path / "new").exists()


def test_sizes_that_do_not_fit_are_named(tmp_path):
    ended = run(*TINY, "--config.hp.data.train_size=6000", f"--workdir={tmp_path}/new")
    assert ended.returncode != 0
    assert "mnist5k' has 5000" in ended.stderr
    assert "Traceback" not in ended.stderr
