"""Run the Python cells of the pages and store what they print and draw below them.

    python docs/run_pages.py                       # every page of RUN
    python docs/run_pages.py docs/own_data.md      # these

A cell is a block of Python; the block of text after it is its output, and so is a picture in
`pictures/`. The cells of a page share their names and run in an empty folder; the last expression
of a cell is shown, as in a notebook. A test runs them again and holds the outputs against those
stored.
"""

import ast
import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).parent
RUN = (
    "getting_started.md",
    "concepts/volume.md",
    "concepts/flatness.md",
    "concepts/error_bars.md",
    "concepts/rules.md",
    "own_network.md",
    "own_data.md",
    "ten_classes.md",
    "pytorch.md",
    "devices.md",
)
"""The pages whose cells run."""
CELL = re.compile(
    r"```python\n(?P<code>.*?)```\n"
    r"(?:\n```text\n(?P<text>.*?)```\n)?"
    r"(?:\n!\[(?P<words>[^\]]*)\]\((?P<picture>[./]*pictures/[^)]+)\)\n)?",
    re.DOTALL,
)
NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
CLOSE = 0.02
"""A number of an output may move so far, relatively, from one machine or version to another."""
TINY = 1e-6
"""Numbers of this size are rounding: they count as equal."""


class Ran(NamedTuple):
    """A cell that was run: what stands below it in the page, and what it gave."""

    code: str
    stored: str
    printed: str
    figure: object | None


def run_page(page: Path) -> tuple[list[Ran], dict]:
    """Run the cells of a page in the current folder; return them and the names that they left."""
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    names: dict = {"__name__": "__main__"}
    cells = []
    for match in CELL.finditer(page.read_text()):
        plt.close("all")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            _run(match["code"], f"{page.name}, cell {len(cells) + 1}", names)
        figure = plt.gcf() if plt.get_fignums() else None
        cells.append(Ran(match["code"], match["text"] or "", printed.getvalue(), figure))
    return cells, names


def _run(code: str, where: str, names: dict) -> None:
    """Execute a cell and print the value of its last expression, if it has one."""
    body = ast.parse(code, where).body
    last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
    exec(compile(ast.Module(body, []), where, "exec"), names)
    if last is not None:
        value = eval(compile(ast.Expression(last.value), where, "eval"), names)
        if value is not None:
            print(value)


def same_output(stored: str, printed: str) -> bool:
    """Return whether two outputs have the same words and, to within CLOSE, the same numbers.

    Numbers that differ by one unit of the last printed digit, or by TINY, count as the same.
    """
    if NUMBER.sub("#", stored).split() != NUMBER.sub("#", printed).split():
        return False
    for one, other in zip(NUMBER.findall(stored), NUMBER.findall(printed), strict=True):
        a, b = (float(number.replace(",", "").replace("−", "-")) for number in (one, other))
        _, _, digits = one.partition("e")[0].partition(".")
        unit = 10.0 ** -len(digits) * (10.0 ** int(one.partition("e")[2] or 0))
        if abs(a - b) > CLOSE * max(abs(a), abs(b)) + 1.01 * unit + TINY:
            return False
    return True


def store_outputs(page: Path) -> None:
    """Run a page and write its outputs into it, its pictures into docs/pictures."""
    page, folder = page.resolve(), os.getcwd()
    with tempfile.TemporaryDirectory() as empty:
        os.chdir(empty)
        try:
            cells, _ = run_page(page)
        finally:
            os.chdir(folder)
    ran = iter(cells)
    drawn = 0

    def with_output(match: re.Match) -> str:
        nonlocal drawn
        cell = next(ran)
        text = f"```python\n{cell.code}```\n"
        if cell.printed.strip():
            lines = "\n".join(line.rstrip() for line in cell.printed.rstrip().splitlines())
            text += f"\n```text\n{lines}\n```\n"
        if cell.figure is not None:
            drawn += 1
            name = f"{page.stem}_{drawn}.png"
            (DOCS / "pictures").mkdir(exist_ok=True)
            cell.figure.savefig(DOCS / "pictures" / name, dpi=110)
            up = "../" * len(page.relative_to(DOCS.resolve()).parents[1:])
            words = match["words"] or cell.figure.axes[0].get_title()
            text += f"\n![{words}]({up}pictures/{name})\n"
        return text

    page.write_text(CELL.sub(with_output, page.read_text()))


if __name__ == "__main__":
    for one in [Path(name) for name in sys.argv[1:]] or [DOCS / name for name in RUN]:
        print(one)
        store_outputs(one)
