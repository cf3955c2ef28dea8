"""Every tutorial runs from top to bottom, and its notebook is the same text."""

import os
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[2]
TUTORIALS = sorted((ROOT / "tutorials").glob("*.py"))
OF_THE_REPOSITORY = [path for path in TUTORIALS if "from configs import" in path.read_text()]


def as_a_user_runs_it(*arguments, folder, **more):
    """Run Python in a folder, with what is installed and nothing of this process's own paths."""
    environment = {n: value for n, value in os.environ.items() if n != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**environment, "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=900,
        **more,
    )


@pytest.mark.tutorial
@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_it_runs_and_its_own_assertions_hold(path):
    done = as_a_user_runs_it(path.name, folder=path.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout


@pytest.mark.tutorial
@pytest.mark.parametrize("path", OF_THE_REPOSITORY, ids=lambda path: path.stem)
@pytest.mark.parametrize("opened", ["notebook", "script from the repository"])
def test_what_it_imports_is_found(path, opened):
    """A notebook's kernel works in the notebook's folder and has no `__file__`."""
    cells = [
        c.source for c in jupytext.read(path.with_suffix(".ipynb")).cells if "code" in c.cell_type
    ]
    last = next(number for number, source in enumerate(cells) if "import flatvol_jax" in source)
    source = "\n".join(cells[: last + 1])
    if opened == "notebook":
        done = as_a_user_runs_it("-", folder=path.parent, input=source)
    else:
        source = (
            f"__file__ = {str(path.relative_to(ROOT))!r}\nimport sys\nsys.path.pop(0)\n{source}"
        )
        done = as_a_user_runs_it("-", folder=ROOT, input=source)
    assert done.returncode == 0, done.stderr[-2000:]


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
