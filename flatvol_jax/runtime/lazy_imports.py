"""The names of a package, imported at their first use: what is not used costs no time."""

import ast
import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` for a package that imports at first use.

    Its `__init__.py` says what it imports where type checkers and editors look:

        if TYPE_CHECKING:
            from package.module import name
        else:
            __getattr__, __dir__ = lazy_names(__name__)

    The file is read for these lines. A name that is not in them is a module of the package.
    """
    module = sys.modules[package]
    homes = dict(_imported_names(module))

    def imported(name: str) -> Any:
        if name in homes:
            value = getattr(importlib.import_module(homes[name]), name)
            setattr(module, name, value)  # the next use does not come here
            return value
        path = f"{package}.{name}"
        try:
            if not name.startswith("_"):
                return importlib.import_module(path)
        except ModuleNotFoundError as error:
            if error.name != path:  # the module is there, what it imports is not
                raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def public_names() -> list[str]:
        return sorted(getattr(module, "__all__", vars(module)))

    return imported, public_names


def import_names(packages: Iterable[Any]) -> None:
    """Import every public name of these packages now.

    A long run does so before it begins: an edit of the files or a library that is missing would
    otherwise meet it at its end.
    """
    for package in packages:
        for name in getattr(package, "__all__", ()):
            getattr(package, name)


def _imported_names(module: Any) -> Iterator[tuple[str, str]]:
    """Yield each name that the file imports under `if TYPE_CHECKING:`, with its module."""
    source = module.__spec__.loader.get_source(module.__name__)
    for block in ast.parse(source).body:
        if isinstance(block, ast.If) and getattr(block.test, "id", "") == "TYPE_CHECKING":
            for node in block.body:
                if isinstance(node, ast.ImportFrom) and node.module != module.__name__:
                    yield from ((alias.name, str(node.module)) for alias in node.names)
