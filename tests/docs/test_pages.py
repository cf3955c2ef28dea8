"""The examples of the pages run, and what stands below them is what they print."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import run_pages  # noqa: E402


@pytest.mark.tutorial
@pytest.mark.parametrize("page", run_pages.RUN)
def test_the_cells_of_a_page_print_what_stands_below_them(page, tmp_path, monkeypatch):
    if page == "pytorch.md" and not importlib.util.find_spec("torchax"):
        pytest.skip("PyTorch is not installed")
    monkeypatch.chdir(tmp_path)
    cells, names = run_pages.run_page(ROOT / "docs" / page)
    assert cells
    for cell in cells:
        assert run_pages.same_output(cell.stored, cell.printed), f"{cell.code}\n{cell.printed}"
    if page == "own_data.md":
        assert not names["found"].failed


def test_a_page_without_outputs_has_no_cells_that_should_run():
    """Blocks of Python on other pages are excerpts: a page that shows outputs is run."""
    for path in (ROOT / "docs").rglob("*.md"):
        shows = any(match["text"] for match in run_pages.CELL.finditer(path.read_text()))
        assert not shows or path.relative_to(ROOT / "docs").as_posix() in run_pages.RUN, path


@pytest.mark.parametrize(
    ("stored", "printed", "same"),
    [
        ("log V = -228.189 ± 0.012", "log V = -228.190 ± 0.013", True),
        ("log V = -228.189 ± 0.012", "log V = -208.189 ± 0.012", False),
        ("1,000 networks", "1,010 networks", True),
        ("1,000 networks", "1,100 networks", False),
        ("1e-09", "-2e-09", True),
        ("1e-09", "1e-05", False),
        ("-0.4", "0.4", False),
        ("certified", "estimate", False),
        ("one 1", "one", False),
        ("a   1\n", "a 1", True),
    ],
)
def test_outputs_are_the_same_words_and_nearly_the_same_numbers(stored, printed, same):
    assert run_pages.same_output(stored, printed) is same


def test_outputs_and_pictures_are_written_below_their_cells(tmp_path, monkeypatch):
    (tmp_path / "concepts").mkdir()
    page = tmp_path / "concepts" / "a.md"
    page.write_text(
        "# A\n\n```python\nx = 2\nx + 1\n```\n\n```text\nold\n```\n\nWords.\n\n"
        "```python\nimport matplotlib.pyplot as plt\nplt.figure().subplots().set(title='T')\n```\n"
    )
    monkeypatch.setattr(run_pages, "DOCS", tmp_path)
    for _ in range(2):  # a second time changes nothing
        run_pages.store_outputs(page)
        text = page.read_text()
        assert text.count("```text\n3\n```") == 1
        assert "old" not in text
        assert text.count("![T](../pictures/a_1.png)") == 1
        assert (tmp_path / "pictures" / "a_1.png").exists()
    cells, names = run_pages.run_page(page)
    assert cells[0].stored == cells[0].printed == "3\n"
    assert np.isclose(names["x"], 2)
