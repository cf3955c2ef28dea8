"""The wheel has all that the command and the README's lines need, away from the repository."""

import os
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from twin_networks import WEIGHTS, X, Y

ROOT = Path(__file__).parents[1]
CARRIED = (*ROOT.glob("flatvol_jax/**/*.j2"), ROOT / "flatvol_jax/study/VERDICTS.md")


def run(*command, **options):
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """An environment with the wheel, beside this one's other packages: its folder of programs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a build leaves files where it was
    shutil.copytree(ROOT / "flatvol_jax", source / "flatvol_jax")
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip"]
    built = run(*pip, "wheel", source, "--no-deps", "--wheel-dir", folder, timeout=300)
    if built.returncode and "No matching distribution" in built.stdout + built.stderr:
        pytest.skip("building a wheel needs setuptools from a package index")
    assert built.returncode == 0, built.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", folder / "env", check=True, timeout=60)
    programs = folder / "env" / ("Scripts" if os.name == "nt" else "bin")
    python = programs / "python"
    run(
        *pip,
        "--python",
        python,
        "install",
        "--no-deps",
        "--no-index",
        wheel,
        check=True,
        timeout=60,
    )
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = run(python, "-c", code)
    others = {sysconfig.get_path("purelib"), *site.getsitepackages()}
    Path(purelib.stdout.strip(), "others.pth").write_text("\n".join(sorted(others)))
    return programs, Path(purelib.stdout.strip())


def test_it_carries_what_the_package_reads(installed):
    _, packages = installed
    for path in CARRIED:
        assert (packages / path.relative_to(ROOT)).read_bytes() == path.read_bytes()


def test_the_command_measures_in_any_folder(installed, tmp_path):
    programs, packages = installed
    np.savez(tmp_path / "data.npz", x=X[:8], y=Y[:8], x_test=X[8:], y_test=Y[8:])
    numbered = {f"W{i + 1}": weight for i, (weight, _) in enumerate(WEIGHTS)}
    numbered |= {f"b{i + 1}": bias for i, (_, bias) in enumerate(WEIGHTS)}
    np.savez(tmp_path / "weights.npz", **numbered)
    done = run(programs / "flatvol", "--help", cwd=tmp_path, timeout=120)
    assert done.returncode == 0
    assert "log-volume" in done.stdout
    options = ["--fcn=8,6", "--checkpoint=weights.npz", "--data=data.npz", "--quick"]
    options += ["--measures=log_volume,baselines", "--quiet"]
    done = run(programs / "flatvol", "measure", *options, cwd=tmp_path, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "log V, Heaviside, EP" in done.stdout
    code = "import flatvol_jax; print(flatvol_jax.__file__)"
    where = run(programs / "python", "-c", code, cwd=tmp_path)
    assert Path(where.stdout.strip()).is_relative_to(packages)
