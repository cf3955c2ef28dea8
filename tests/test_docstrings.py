"""Docstrings of the package: a function's begins with a verb that says what it does."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "flatvol_jax"
ROOMS = [
    *("runtime", "data", "models", "training", "kernels", "volume", "flatness", "sampling"),
    *("study", "paper", "command"),
]
# In the imperative mood; another verb is another entry.
VERBS = {
    *("Abbreviate", "Add", "Adjust", "Advance", "Apply", "Ask", "Average", "Break", "Bring"),
    *("Call", "Cast", "Check", "Choose", "Climb", "Combine", "Compare", "Compose", "Compute"),
    *("Condition", "Connect", "Continue", "Copy", "Correlate", "Count", "Cut", "Declare", "Decode"),
    *("Describe", "Do", "Draw", "Drop", "End", "Estimate", "Expand", "Factorise", "Find", "Fit"),
    *("Follow", "Forget", "Gather", "Give", "Go", "Hash", "Hold", "Import", "Initialise", "Invert"),
    *("Iterate", "Join", "Judge", "Keep", "Let", "List", "Load", "Make", "Map", "Maximise"),
    *("Measure", "Minimise", "Mirror", "Multiply", "Name", "Pack", "Pair", "Preprocess", "Put"),
    *("Raise", "Rank", "Read", "Rebuild", "Refuse", "Remove", "Resample", "Return", "Run"),
    *("Sample", "Say", "Scale", "Set", "Share", "Show", "Start", "State", "Stop", "Sum", "Sync"),
    *("Take", "Tell", "Test", "Trace", "Train", "Turn", "Unpack", "Visit", "Warn", "Wrap"),
    *("Write", "Yield"),
}


def functions(path):
    """Return the functions of a file that have a docstring."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds))
    return [node for node in nodes if ast.get_docstring(node)]


@pytest.mark.parametrize("room", ROOMS)
def test_a_docstring_begins_with_a_verb_and_a_sentence_of_one_line(room):
    for path in (PACKAGE / room).rglob("*.py"):
        for function in functions(path):
            summary, *rest = ast.get_docstring(function).splitlines()
            where = f"{path.relative_to(PACKAGE)}, {function.name}: {summary!r}"
            assert summary.split()[0] in VERBS, f"{where}: wanted a verb, such as 'Return'"
            assert summary.endswith("."), f"{where}: wanted a sentence that ends in this line"
            assert not rest or not rest[0], f"{where}: wanted an empty line after it"


@pytest.mark.parametrize("room", ROOMS)
def test_no_variable_is_called_of(room):
    for path in (PACKAGE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = getattr(node, "id", getattr(node, "arg", None))
            assert name != "of", f"{path.relative_to(PACKAGE)}, line {node.lineno}"
