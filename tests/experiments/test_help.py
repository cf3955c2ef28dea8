"""--help of every main fits a screen, says what it takes, and waits for no library."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAINS = sorted(
    path.stem for path in (ROOT / "experiments").glob("*.py") if "app.run(" in path.read_text()
)
HEAVY = {"flax", "jax", "matplotlib", "optax", "orbax", "pandas", "scipy", "tensorflow_datasets"}


def run(module, *arguments):
    """Run a main; return how it ended, its lines, and its errors without those of importtime."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr, re.MULTILINE))
    assert {"argparse", "absl"} & imported
    return done, imported


@pytest.mark.parametrize("main", MAINS)
def test_help_has_every_flag_of_the_main_in_a_line(main):
    done, imported = run(f"experiments.{main}", "--help")
    assert done.returncode == 0, done.stderr
    assert not HEAVY & imported
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"python -m experiments.{main}")
    assert len(lines) < 60
    source = (ROOT / "experiments" / f"{main}.py").read_text()
    for flag in re.findall(r'flags\.DEFINE_\w+\(\s*"(\w+)"', source):
        assert sum(line.startswith(f"  --{flag} ") for line in lines) == 1, flag
    if "define_sharing()" in source:
        assert any(line.startswith("  --shard ") for line in lines)
    if "define_config" in source:
        assert any(line.startswith("configs/") for line in lines)


@pytest.mark.parametrize("command", [[], ["measure"], ["log-volume"]])
def test_help_of_the_command_imports_no_heavy_library(command):
    done, imported = run("flatvol_jax.command.main", *command, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: flatvol")
    assert not HEAVY & imported


def test_help_explains_the_config_that_is_named():
    done, imported = run("experiments.attack_sweep", "--config=configs/cifar_fcn.py:cpu", "--help")
    assert "CIFAR-10, cars against cats" in done.stdout
    assert not HEAVY & imported


def test_a_mistyped_entry_ends_with_the_suggestion():
    done, _ = run("experiments.attack_sweep", "--config.hp.train.learning_rat=2")
    assert done.returncode == 1
    assert 'Did you mean "learning_rate"' in done.stderr
    assert "Traceback" not in done.stderr
