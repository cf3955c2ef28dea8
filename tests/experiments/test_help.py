"""--help of every main fits a screen and says what it takes."""

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


def run(main, *arguments):
    return subprocess.run(
        [sys.executable, "-m", f"experiments.{main}", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )


@pytest.mark.parametrize("main", MAINS)
def test_help_has_every_flag_of_the_main_in_a_line(main):
    done = run(main, "--help")
    assert done.returncode == 0, done.stderr
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


def test_help_explains_the_config_that_is_named():
    done = run("attack_sweep", "--config=configs/cifar_fcn.py:cpu", "--help")
    assert "CIFAR-10, cars against cats" in done.stdout


def test_a_mistyped_entry_ends_with_the_suggestion():
    done = run("attack_sweep", "--config.hp.train.learning_rat=2")
    assert done.returncode == 1
    assert 'Did you mean "learning_rate"' in done.stderr
    assert "Traceback" not in done.stderr
