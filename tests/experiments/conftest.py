import os
import subprocess
import sys
from pathlib import Path

import pytest

from flatvol_jax.study import load_records

ROOT = Path(__file__).parents[2]


class TinySweep:
    """experiments.attack_sweep on four small networks, from the outside."""

    FLAGS = (
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
    )

    def start(self, workdir, *more, **environment):
        """Start it; more flags win over those above."""
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "experiments.attack_sweep",
                *self.FLAGS,
                f"--workdir={workdir}",
                *more,
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def ended(self, process):
        """Exit code, output and errors of a process that should end by itself."""
        out, err = process.communicate(timeout=200)
        return process.returncode, out, err

    def numbers(self, workdir):
        """All that the records say of networks, in the order of the plan."""
        frame = load_records(workdir)
        frame = frame[sorted(name for name in frame.columns if not name.startswith("meta."))]
        by = ["hp.draw", "hp.attack_size", "hp.sample", "overtrain"]
        return frame.sort_values(by).reset_index(drop=True)


@pytest.fixture(scope="session")
def sweep():
    return TinySweep()


@pytest.fixture(scope="session")
def undisturbed(sweep, tmp_path_factory):
    """Workdir, exit code, output and errors of a run that nothing disturbed."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    return workdir, *sweep.ended(sweep.start(workdir))
