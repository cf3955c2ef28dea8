"""The main from the outside: a table in Markdown, or one line that says what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def design(*arguments):
    done = subprocess.run(
        [sys.executable, "-m", "experiments.design", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout, done.stderr


def test_it_prints_a_row_a_design_and_reading():
    code, out, err = design("--designs=10x3x3,10x3x4", "--claims=2", "--simulations=3")
    assert code == 0, err
    head, _, *rows = out.strip().splitlines()
    assert head.startswith("| draws | levels | networks | reading | expected |")
    assert [row[:22] for row in rows[::2]] == ["| 10 | 3 | 3 | pooled ", "| 10 | 3 | 4 | pooled "]


def test_a_design_that_is_none_is_one_line():
    code, _, err = design("--designs=10x3")
    assert code == 1
    assert err.strip() == "error: design: got '10x3', wanted DRAWSxLEVELSxNETWORKS. Try: 27x5x8."
