import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import flatvol_jax as fv

ROOT = Path(__file__).parents[2]
TINY = [
    "--config=configs/symmetry_audit.py:smoke",
    "--config.hp.model.width=(6, 5)",
    "--config.hp.data.train_size=30",
    "--config.hp.data.test_size=20",
    "--config.audit.symmetries=('layer',)",
    "--config.audit.alphas=(4.0, 16.0)",
    "--config.measures.sgd_sharpness.on=False",
    "--config.measures.hessian.on=False",
    "--config.measures.scale_invariant.on=False",
]


def audit(workdir, *more):
    command = [sys.executable, "-m", "experiments.symmetry_audit", *TINY, f"--workdir={workdir}"]
    done = subprocess.run([*command, *more], cwd=ROOT, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("audit") / "run"
    return workdir, *audit(workdir)


def test_the_table_and_the_figure_are_there(finished):
    workdir, code, out, err = finished
    assert code == 0, err
    assert "5 of 5 forms have the same function" in out
    assert "5 the same outputs to the last bit" in out
    table = pd.read_csv(workdir / "symmetry_audit.csv")
    volume = table[table["column"] == "measure.log_volume.heaviside"]
    assert (volume["verdict"] == "unchanged").all()
    assert (workdir / "figures" / "symmetry_audit.png").stat().st_size > 10_000
    assert (workdir / "figures" / "symmetry_audit.svg").exists()


def test_the_same_command_draws_the_same_from_records(finished):
    workdir, _, out, _ = finished
    figure = (workdir / "figures" / "symmetry_audit.svg").read_text()
    code, again, err = audit(workdir)
    assert (code, again) == (0, out), err
    assert (workdir / "figures" / "symmetry_audit.svg").read_text() == figure


def test_weights_from_elsewhere_are_audited(tmp_path):
    rng = np.random.default_rng(0)
    shapes = {"W1": (784, 6), "b1": 6, "W2": (6, 5), "b2": 5, "W3": (5, 1), "b3": 1}
    arrays = {name: rng.normal(size=shape) for name, shape in shapes.items()}
    np.savez(tmp_path / "network.npz", **arrays)
    code, _, err = audit(tmp_path / "run", f"--npz={tmp_path / 'network.npz'}")
    assert code == 1
    assert "labels of S of draw 0 of mnist5k" in err
    assert "Traceback" not in err
    data = {"train_x": rng.random((8, 28, 28, 1)), "test_x": rng.random((6, 28, 28, 1))}
    data |= {"train_y": np.resize([1, -1], 8), "test_y": np.resize([1, -1], 6)}
    np.savez(tmp_path / "data.npz", **data)
    own = f"--npz={tmp_path / 'network.npz'}", f"--data={tmp_path / 'data.npz'}"
    code, out, err = audit(tmp_path / "run", *own)
    assert code == 0, err
    assert "log V and all other numbers are of your own 8 inputs S and 6 E1" in out
    assert fv.study.load_records(tmp_path / "run")["is.function_unchanged"].all()
    np.savez(tmp_path / "network.npz", **{**arrays, "W1": arrays["W1"].T})
    code, _, err = audit(tmp_path / "run", f"--npz={tmp_path / 'network.npz'}")
    assert code == 1
    assert "layer 1: got W1 (6, 784)" in err
    assert "Traceback" not in err


def test_a_mistake_is_named_in_one_line(tmp_path):
    code, _, err = audit(tmp_path, "--config.audit.alphas=(-1.0,)")
    assert code == 1
    assert "audit.alphas: got -1.0, wanted a finite number above 0" in err
    assert "Traceback" not in err
