"""The site: every public call has its place, links lead somewhere, the papers agree."""

import ast
import configparser
import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

import flatvol_jax as fv

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))
import site_pages  # noqa: E402

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "tutorials" / "README.md"]
PAGES += [ROOT / "results" / "README.md"]


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


def test_the_site_has_pages_where_there_are_pages_and_words_elsewhere():
    text = "[a](docs/flatness.md#x) [b](WORKSPACE.md) [c](CHANGELOG.md) ![d](e.png) [f](http://g)"
    found = site_pages._links(text, Path("."))
    assert found == "[a](/flatness.md#x) b [c](/changelog.md) ![d](e.png) [f](http://g)"


def test_every_page_of_docs_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        assert f": {page.relative_to(ROOT / 'docs').as_posix()}\n" in text


def test_no_equation_of_a_docstring_is_read_as_markup():
    nodes = (ast.Module, ast.ClassDef, ast.FunctionDef)
    for path in (ROOT / "flatvol_jax").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            text = (isinstance(node, nodes) and ast.get_docstring(node)) or ""
            prose = re.sub(r"`[^`]*`", "", text)
            markup = re.search(r"<[A-Za-z][^<>]*>|\w\*[^*\n]*\*", prose)
            assert not markup, f"{path.name}: {markup[0]}; a bracket is ⟨ ⟩, a star a subscript"


def test_citation_changelog_and_package_have_one_version():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()
