"""A package whose names are imported at their first use."""

import importlib
import sys

import pytest

from flatvol_jax.runtime.lazy_imports import import_names

INIT = """
from typing import TYPE_CHECKING
from flatvol_jax.runtime.lazy_imports import lazy_names
if TYPE_CHECKING:
    from lazily import sub
    from lazily._deep.numbers import ONE, TWO
else:
    __getattr__, __dir__ = lazy_names(__name__)
__all__ = ["TWO", "ONE", "sub"]
"""
FILES = {
    "__init__.py": INIT,
    "sub.py": "",
    "other.py": "",
    "broken.py": "import no_such_library",
    "_deep/__init__.py": "",
    "_deep/numbers.py": "ONE, TWO = 1, [2]",
}


@pytest.fixture
def lazily(tmp_path, monkeypatch):
    for name, text in FILES.items():
        path = tmp_path / "lazily" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("lazily")
    for name in [name for name in sys.modules if name.partition(".")[0] == "lazily"]:
        del sys.modules[name]


def imported():
    return {name for name in sys.modules if name.startswith("lazily.")}


def test_a_name_is_imported_when_it_is_used_and_then_kept(lazily):
    assert not imported()
    two = lazily.TWO
    assert imported() == {"lazily._deep", "lazily._deep.numbers"}
    assert two == [2]
    assert vars(lazily)["TWO"] is two
    assert "ONE" not in vars(lazily)


def test_any_other_name_is_a_module_of_the_package(lazily):
    assert lazily.sub is sys.modules["lazily.sub"]
    assert lazily.other is sys.modules["lazily.other"]
    assert imported() == {"lazily.sub", "lazily.other"}


def test_all_names_can_be_imported_before_work_begins(lazily):
    import_names([lazily])
    assert {"ONE", "TWO"} <= vars(lazily).keys()
    assert imported() == {"lazily._deep", "lazily._deep.numbers", "lazily.sub"}


def test_dir_is_what_the_package_declares_and_imports_nothing(lazily):
    assert dir(lazily) == ["ONE", "TWO", "sub"]
    assert not imported()


@pytest.mark.parametrize("name", ["thre", "_private", "__wrapped__"])
def test_a_name_that_is_not_there_is_an_attribute_error(lazily, name):
    with pytest.raises(AttributeError, match=f"module 'lazily' has no attribute '{name}'"):
        getattr(lazily, name)


def test_a_library_that_a_module_lacks_is_named(lazily):
    with pytest.raises(ModuleNotFoundError, match="no_such_library"):
        lazily.broken  # noqa: B018
