"""Write the pages of the site into a folder, which `zensical build` turns into the site.

    python docs/site_pages.py          # into build/pages, the docs_dir of mkdocs.yml

The pages are those of docs/, the README as the home page, the files around it, the notebooks with
their stored outputs, and a page of the reference for each room. Pages link to the rest of the
repository by relative paths, right on a code host. On the site a link to something that is a page
here leads there, a picture or a table is copied, any other link is left as its words.
"""

import ast
import base64
import json
import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "pages"
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "results/README.md": "results.md",
    "results/first_protocol/README.md": "first_protocol.md",
    "flatvol_jax/study/VERDICTS.md": "rules.md",
    "tutorials/README.md": "tutorials/index.md",
}
"""What lies outside docs/, and the page that it becomes."""
ROOMS = {
    "data": "Data",
    "models": "Models",
    "training": "Training",
    "kernels": "Kernels",
    "volume": "Volume",
    "flatness": "Flatness",
    "sampling": "Sampling",
    "study": "Study",
    "study.sweep": "Sweep",
    "study.temporal": "Temporal",
    "study.boolean": "Boolean",
    "study.posterior": "Posterior",
    "study.equal_networks": "Equal networks",
    "study.predictors": "Predictors",
    "study.audit": "Audit",
    "study.single": "Single network",
    "paper": "Paper",
}
"""The rooms that have a page in the reference, with its title."""
COPIED = (".png", ".svg", ".csv")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")
CODE = re.compile(r"(```.*?```|`[^`\n]*`)", re.DOTALL)


def write_pages(folder: Path = FOLDER) -> None:
    """Write all pages and the pictures that they show, and nothing else, into `folder`."""
    shutil.rmtree(folder, ignore_errors=True)
    for source, page in all_pages().items():
        path = folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".ipynb"):
            path.write_text(site_links(notebook_page(ROOT / source, path), source, page, folder))
        else:
            path.write_text(site_links((ROOT / source).read_text(), source, page, folder))
    for room, title in ROOMS.items():
        (folder / f"api/{room.replace('.', '_')}.md").write_text(room_page(room, title))


def all_pages() -> dict[str, str]:
    """Return the page of each file that has one: its path in the repository, and on the site."""
    docs = {
        f"docs/{path.relative_to(ROOT / 'docs').as_posix()}": path.relative_to(
            ROOT / "docs"
        ).as_posix()
        for path in sorted((ROOT / "docs").rglob("*.md"))
    }
    notebooks = {
        f"tutorials/{path.name}": f"tutorials/{path.stem}.md"
        for path in sorted((ROOT / "tutorials").glob("*.ipynb"))
    }
    there = {source: page for source, page in PAGES.items() if (ROOT / source).exists()}
    return {**docs, **notebooks, **there}


def room_page(room: str, title: str) -> str:
    """Return the reference of a room: what it is, then each name that its `__init__` imports.

    The file is parsed, not imported.
    """
    path = ROOT / "flatvol_jax" / room.replace(".", "/") / "__init__.py"
    if not path.exists():  # an experiment whose folder was deleted
        return f"# {title}\n\nNot in this tree.\n"
    tree = ast.parse(path.read_text())
    lines = [f"# {title}", "", f"`flatvol_jax.{room}`: {ast.get_docstring(tree)}", ""]
    for node in ast.walk(tree):
        # Neither `from flatvol_jax.ROOM import MODULE` nor what the file itself needs.
        own = isinstance(node, ast.ImportFrom) and node.module.startswith(f"flatvol_jax.{room}.")
        if own:
            lines += [f"::: {node.module}.{alias.name}" for alias in node.names]
    return "\n".join([*lines, ""])


def notebook_page(notebook: Path, page: Path) -> str:
    """Return a notebook as a page, its outputs below its cells; pictures are written beside it."""
    parts = []
    for number, cell in enumerate(json.loads(notebook.read_text())["cells"]):
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                picture = page.with_name(f"{page.stem}_{number}.png")
                picture.write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![what the cell above draws]({picture.name})")
            elif "text/html" in data:
                parts.append("".join(data["text/html"]))
            else:
                text = "".join(output.get("text", data.get("text/plain", "")))
                parts.append(f"```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def site_links(text: str, source: str, page: str, folder: Path) -> str:
    """Return the text of a file of the repository with its links as the site has them.

    `source` is the file's path in the repository, `page` its path on the site. Pictures that the
    text shows are copied into `folder`.
    """
    pages = all_pages()

    def rewritten(match: re.Match) -> str:
        mark, words, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        missing = (mark or path.endswith(COPIED)) and not (ROOT / path).exists()
        if re.match(r"[a-z]+:", target) or missing:
            return match[0]  # an address, or a picture that was written beside the page
        if mark or path.endswith(COPIED):
            copy = path.removeprefix("docs/")
            (folder / copy).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, folder / copy)
            return f"{mark}[{words}]({_relative(copy, page)})"
        path = f"{path}/README.md" if f"{path}/README.md" in pages else path
        path = path.removesuffix(".py") + ".ipynb" if path.startswith("tutorials/") else path
        path = path.replace("README.md.ipynb", "README.md")
        if path in pages:
            return f"[{words}]({_relative(pages[path], page)}{anchor or ''})"
        return words

    pieces = CODE.split(text)
    return "".join(
        piece if number % 2 else LINK.sub(rewritten, piece) for number, piece in enumerate(pieces)
    )


def _relative(path: str, page: str) -> str:
    return posixpath.relpath(path, posixpath.dirname(page) or ".")


if __name__ == "__main__":
    write_pages(*map(Path, sys.argv[1:]))
