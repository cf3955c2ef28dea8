"""Every tutorial runs from top to bottom, and its notebook is the same text."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs_and_its_own_assertions_hold(path, tmp_path):
    done = subprocess.run(
        [sys.executable, path],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_the_notebook_has_the_cells_of_the_script(path):
    script, notebook = (
        [(cell.cell_type, cell.source) for cell in jupytext.read(name).cells]
        for name in (path, path.with_suffix(".ipynb"))
    )
    assert script == notebook, "jupytext --to notebook tutorials/*.py brings them together"
    text = path.with_suffix(".ipynb").read_text()
    assert '"outputs": []' in text
    assert "image/png" not in text


def test_there_are_five_and_the_index_names_them():
    index = (ROOT / "tutorials" / "README.md").read_text()
    assert len(TUTORIALS) == 5
    assert all(f"({path.name})" in index for path in TUTORIALS)
