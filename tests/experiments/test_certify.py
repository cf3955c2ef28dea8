import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


def certify(tmp_path, *flags):
    command = [sys.executable, "-m", "experiments.certify", f"--npz={tmp_path / 'f.npz'}"]
    out = [f"--out={tmp_path / 'certificate.json'}", "--config.particles=32"]
    done = subprocess.run(
        [*command, *out, *flags], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def test_a_labelling_is_certified_and_the_certificate_checked(tmp_path):
    generator = np.random.default_rng(0)
    x, y = generator.random((30, 8)), generator.choice([-1, 1], 30)
    np.savez(tmp_path / "f.npz", x=x, y=y)
    code, out, err = certify(tmp_path, "--config.model.width=(10,10,10)")
    assert code == 0, err
    assert "log V (heaviside): certified" in out
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert certificate["about"]["spec"]["width"] == [10, 10, 10]
    assert f"{certificate['log_volume']['probit']['estimate']['log_volume']:.4f}" in out
    check = ("--config.model.width=(10,10,10)", "--check", "--config.seed=1")
    code, out, err = certify(tmp_path, *check)
    assert code == 0, err
    assert "agree" in out
    np.savez(tmp_path / "f.npz", x=x, y=-y)
    code, out, err = certify(tmp_path, *check)
    assert code == 1
    assert "The labels are others" in err


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 2))}, "wanted y"),
        ({"kernel": np.eye(3), "y": np.array([0, 1, 1])}, "2 * y - 1"),
        (
            {"kernel": np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 2]]), "y": np.array([1, 1, 1])},
            "least eigenvalue",
        ),
    ],
)
def test_what_the_file_holds_decides(tmp_path, arrays, message):
    np.savez(tmp_path / "f.npz", **arrays)
    code, out, err = certify(tmp_path)
    assert message in out + err
    assert "Traceback" not in err
    assert code == 1


def test_no_file_is_an_error_by_name(tmp_path):
    code, _, err = certify(tmp_path)
    assert code == 1
    assert "f.npz" in err
    assert "Traceback" not in err
