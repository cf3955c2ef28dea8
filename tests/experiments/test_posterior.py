import subprocess
import sys
from pathlib import Path

from flatvol_jax.study import load_records
from flatvol_jax.study.posterior import posterior_summary

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/posterior.py:smoke",
    "--config.hp.data.train_size=12",
    "--config.hp.data.test_size=40",
    "--config.hp.inputs.pool=4",
    "--config.hp.model.width=(8, 6)",
    "--config.hp.train.learning_rate=0.1",
    "--config.posterior.sizes=(4, 12)",
    "--config.posterior.networks=((1, 1.0),)",
    "--config.posterior.sampler.particles=8",
    "--config.posterior.sampler.replicates=4",
    "--config.posterior.guess.sizes=()",
    "--config.posterior.margins.sizes=()",
]


def test_one_command_says_the_answer_and_writes_figure_report_and_table(tmp_path):
    command = [sys.executable, "-m", "experiments.posterior", *TINY, f"--workdir={tmp_path}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    said = posterior_summary(load_records(tmp_path))
    assert done.stdout.splitlines()[: len(said)] == said
    assert said[0].startswith("At |S| = 12, SGD's network is right on ")
    assert (tmp_path / "figures" / "posterior.png").stat().st_size > 10_000
    assert "Trained networks and random ones" in (tmp_path / "report.html").read_text()
    assert len((tmp_path / "sizes.csv").read_text().splitlines()) == 3
