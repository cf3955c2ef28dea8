import subprocess
import sys
from pathlib import Path

from flatvol_jax.study import load_records
from flatvol_jax.study.equal_networks import equal_networks_summary

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/equal_networks.py:smoke",
    "--config.hp.data.train_size=20",
    "--config.hp.data.test_size=20",
    "--config.hp.data.second_test_size=30",
    "--config.hp.model.width=(8,)",
    "--config.confounders.batch_size=(10,)",
    "--config.confounders.learning_rate=(0.1, 0.2)",
    "--config.sweep.samples=6",
    "--config.ensemble=1",
    "--config.measures.log_volume.links=('heaviside',)",
    "--config.measures.log_volume.estimator=ep",
]
OFF = ("hessian", "scale_invariant", "basin_volume", "learning_coefficient", "log_volume_null")


def test_one_command_says_the_answer_and_writes_figure_report_and_tables(tmp_path):
    command = [sys.executable, "-m", "experiments.equal_networks", *TINY, f"--workdir={tmp_path}"]
    command += [f"--config.measures.{name}.on=False" for name in OFF]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    said = equal_networks_summary(load_records(tmp_path), "smoke")
    assert done.stdout.splitlines()[: len(said)] == said
    assert said[0].startswith("Which of the networks that fit the same S, trained alike, has the")
    assert (tmp_path / "figures" / "equal_networks.png").stat().st_size > 10_000
    assert "Networks that differ by their seed" in (tmp_path / "report.html").read_text()
    assert len((tmp_path / "draws.csv").read_text().splitlines()) == 3
    assert (tmp_path / "measures.csv").read_text().count("judged") == 7
