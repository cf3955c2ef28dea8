"""What a release checks and writes: one version everywhere, the address of the repository."""

import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "launch"))
from public_address import absolute_links, write_address  # noqa: E402
from release_version import release_notes  # noqa: E402

FILES = ("setup.cfg", "CITATION.cff", "CHANGELOG.md", "mkdocs.yml", "flatvol_jax/_version.py")


@pytest.fixture
def copy(tmp_path):
    """The files that name a version or an address, in a folder of their own."""
    for name in (*FILES, "tutorials/1_boolean_volume.py", "tutorials/1_boolean_volume.ipynb"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_package_citation_and_changelog_have_one_version():
    assert "### Added" in release_notes(ROOT)


@pytest.mark.parametrize("name", ["flatvol_jax/_version.py", "CITATION.cff", "CHANGELOG.md"])
def test_a_version_that_differs_in_one_file_is_refused(copy, name):
    edit(copy / name, "0.1.0", "0.7.0")
    with pytest.raises(ValueError, match="0.7.0|no line like"):
        release_notes(copy)


def test_another_tag_and_another_date_are_refused(copy):
    with pytest.raises(ValueError, match="wanted v0.1.0"):
        release_notes(copy, "v0.2.0")
    edit(copy / "CITATION.cff", "date-released: 2", "date-released: 1")
    with pytest.raises(ValueError, match="date"):
        release_notes(copy, "v0.1.0")


def test_the_address_is_written_wherever_it_stands(copy):
    write_address(copy, "someone/their-fork")
    for path in copy.rglob("*.*"):
        assert "OWNER/flatvol_jax" not in path.read_text(), path
        assert "OWNER.github.io" not in path.read_text(), path
    assert "https://github.com/someone/their-fork/issues" in (copy / "setup.cfg").read_text()
    assert "https://someone.github.io/their-fork" in (copy / "setup.cfg").read_text()
    badge = "colab.research.google.com/github/someone/their-fork/blob/main/tutorials/1_"
    assert badge in (copy / "tutorials/1_boolean_volume.ipynb").read_text()
    with pytest.raises(ValueError, match="owner/name"):
        write_address(copy, "https://github.com/someone/their-fork")


def test_a_readme_by_itself_has_no_relative_link():
    text = absolute_links((ROOT / "README.md").read_text(), "someone/fork", "v1")
    targets = re.findall(r"\]\(([^)]+)\)", text)
    assert targets
    assert all(target.startswith(("https://", "http://", "#")) for target in targets)
    assert (
        absolute_links("![a](b.png)", "o/n", "v1")
        == "![a](https://raw.githubusercontent.com/o/n/v1/b.png)"
    )


@pytest.mark.parametrize("name", ["ci", "release", "docs"])
def test_a_workflow_calls_what_is_there(name):
    text = (ROOT / f".github/workflows/{name}.yml").read_text()
    text = text.replace("${{ matrix.set }}", "oldest")
    assert {"name", "jobs", "permissions"} <= yaml.safe_load(text).keys()
    for script in re.findall(r"python (launch/\S+\.py)", text):
        assert (ROOT / script).exists()
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = set(re.findall(r"make ([\w-]+)", text))
    assert called or "launch/" in text
    assert called <= targets


def test_every_python_of_the_matrix_is_in_the_classifiers():
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    rows = workflow["jobs"]["versions"]["strategy"]["matrix"]["include"]
    assert {row["set"] for row in rows} == {"oldest", "newest"}
    setup = (ROOT / "setup.cfg").read_text()
    versions = set(re.findall(r"Python :: (3\.\d+)", setup))
    assert versions == {row["python"] for row in rows}
