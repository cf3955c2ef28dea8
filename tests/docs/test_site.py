"""The site: every public call has its place, links lead somewhere, the papers agree."""

import ast
import importlib
import json
import re
import sys
from pathlib import Path

import pytest

import flatvol_jax as fv

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import site_pages  # noqa: E402

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tutorials" / "README.md"]
PAGES += [ROOT / "results" / "README.md", ROOT / "results" / "first_protocol" / "README.md"]


def documented(text):
    """The names after ::: in a page, each of something that exists."""
    names = re.findall(r"^::: ([\w.]+)$", text, re.MULTILINE)
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name
    return {name.rpartition(".")[2] for name in names}


def test_every_public_call_has_its_place_in_the_reference():
    rooms = set(site_pages.ROOMS)
    names = documented((ROOT / "docs" / "api" / "index.md").read_text())
    assert set(fv.__all__) - rooms - {"__version__"} <= names


@pytest.mark.parametrize("room", site_pages.ROOMS)
def test_every_name_of_a_room_has_its_place(room):
    module = importlib.import_module(f"flatvol_jax.{room}")
    assert documented(site_pages.room_page(room, "Room")) >= set(module.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


def test_links_lead_to_pages_where_there_are_pages_and_are_words_elsewhere(tmp_path):
    text = "[a](docs/flatness.md#x) [b](WORKSPACE.md) [c](CHANGELOG.md) [d](http://e) `[f](g.md)`"
    found = site_pages.site_links(text, "README.md", "index.md", tmp_path)
    assert found == "[a](flatness.md#x) b [c](changelog.md) [d](http://e) `[f](g.md)`"
    text = "[a](../flatness.md) [b](../../tutorials) [c](../../tutorials/1_boolean_volume.py)"
    found = site_pages.site_links(text, "docs/concepts/a.md", "concepts/a.md", tmp_path)
    tutorials = "[b](../tutorials/index.md) [c](../tutorials/1_boolean_volume.md)"
    assert found == f"[a](../flatness.md) {tutorials}"


def test_pictures_of_the_home_page_come_along(tmp_path):
    picture = "results/mnist_fcn_cpu/attack_sweep.png"
    found = site_pages.site_links(f"![a]({picture})", "README.md", "index.md", tmp_path)
    assert found == f"![a]({picture})"
    assert (tmp_path / picture).read_bytes() == (ROOT / picture).read_bytes()


def test_a_notebook_becomes_a_page_with_its_outputs(tmp_path):
    cells = [
        {"cell_type": "markdown", "source": ["# A\n", "words"]},
        {
            "cell_type": "code",
            "source": ["print(1)"],
            "outputs": [
                {"output_type": "stream", "name": "stdout", "text": ["1\n"]},
                {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<F>"}},
            ],
        },
    ]
    notebook = tmp_path / "a.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    text = site_pages.notebook_page(notebook, tmp_path / "a.md")
    assert text.startswith("# A\nwords\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n![")
    assert "(a_1.png)" in text
    assert (tmp_path / "a_1.png").read_bytes() == bytes(3)


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    rooms = [f"api/{room.replace('.', '_')}.md" for room in site_pages.ROOMS]
    for page in [*site_pages.all_pages().values(), *rooms]:
        assert f": {page}\n" in text


def test_no_equation_of_a_docstring_is_read_as_markup():
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in (ROOT / "flatvol_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = (isinstance(node, nodes) and ast.get_docstring(node)) or ""
            prose = re.sub(r"`[^`]*`", "", text)
            markup = re.search(r"<[A-Za-z][^<>]*>|\w\*[^*\n]*\*", prose)
            assert not markup, f"{path.name}: {markup[0]}; a bracket is ⟨ ⟩, a star a subscript"
