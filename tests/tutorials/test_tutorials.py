"""Every notebook runs from top to bottom in any folder, and is stored with its outputs."""

import importlib.util
import json
import re
import sys
from pathlib import Path

import jupytext
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tutorials"))
from run_notebooks import executed  # noqa: E402

TUTORIALS = sorted((ROOT / "tutorials").glob("[0-9]*.py"))
each = pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)


def kinds(cell):
    """Return what a cell gives: the kinds of its outputs, pictures and text told apart."""
    return [sorted(output.get("data", {output.get("name", "text"): ""})) for output in cell.outputs]


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.tutorial
@each
def test_it_runs_in_an_empty_folder_and_gives_the_kinds_of_output_that_are_stored(
    path, tmp_path, monkeypatch
):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    notebook = executed(path, tmp_path)
    stored = jupytext.read(path.with_suffix(".ipynb"))
    without = path.stem.startswith("2") and not importlib.util.find_spec("torchax")
    for now, then in zip(code_cells(notebook), code_cells(stored), strict=True):
        of_pytorch = without and 'get("PyTorch"' in now.source
        assert of_pytorch or kinds(now) == kinds(then), now.source


@each
def test_the_notebook_has_the_cells_of_the_script_and_their_outputs(path):
    script, notebook = (
        [(cell.cell_type, cell.source) for cell in jupytext.read(name).cells]
        for name in (path, path.with_suffix(".ipynb"))
    )
    assert script == notebook, "make notebooks brings them together"
    cells = json.loads(path.with_suffix(".ipynb").read_text())["cells"]
    assert any(cell.get("outputs") for cell in cells)
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    for data in (output.get("data", {}) for output in outputs):
        assert "<Figure" not in "".join(data.get("text/plain", "")) or "image/png" in data
    text = json.dumps(outputs)
    assert "Traceback" not in text
    assert not re.search(rf"{Path.home()}|{ROOT}", text), "a path of some machine"


@each
def test_it_opens_in_colab_and_installs_there_from_one_address(path):
    text = path.read_text()
    address = re.search(r'REPOSITORY = "https://github.com/(\S+)"', text)[1]
    badge = f"https://colab.research.google.com/github/{address}/blob/main/tutorials/{path.stem}"
    assert f"({badge}.ipynb)" in text


def test_there_are_five_and_the_index_names_them():
    index = (ROOT / "tutorials" / "README.md").read_text()
    assert len(TUTORIALS) == 5
    assert all(f"({path.stem}.ipynb)" in index for path in TUTORIALS)
