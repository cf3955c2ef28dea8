"""What the site has beside docs/: the README as its home, the files around it, the rooms' pages.

Pages of docs/ link to the rest of the repository by relative paths, right on a code host. On the
site a link to something that is a page here leads there, any other is left as its words.
"""

import ast
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "tutorials/README.md": "tutorials.md",
    "flatvol_jax/study/VERDICTS.md": "rules.md",
}
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
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]+)(#[^)]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that lie outside docs/ and the pictures of the home page."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text()
        files.append(File.generated(config, page, content=_links(text, Path(source).parent)))
    for room, title in ROOMS.items():
        page = f"api/{room.replace('.', '_')}.md"
        files.append(File.generated(config, page, content=room_page(room, title)))
    for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        files.append(File.generated(config, picture, abs_src_path=str(ROOT / picture)))
    return files


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


def on_page_markdown(markdown: str, page, **_) -> str:
    """Rewrite the links of a page of docs/."""
    if page.file.generated_by is not None:
        return markdown
    return _links(markdown, Path("docs") / Path(page.file.src_uri).parent)


def _links(text: str, folder: Path) -> str:
    """Links of a file in `folder` of the repository, as the site has them."""

    def rewritten(match: re.Match) -> str:
        mark, words, target, anchor = match.groups()
        if mark or re.match(r"[a-z]+:", target):
            return match[0]
        path = _normal(folder / target)
        if path in PAGES:
            return f"[{words}](/{PAGES[path]}{anchor or ''})"
        if path.startswith("docs/") and path.endswith(".md"):
            return f"[{words}](/{path.removeprefix('docs/')}{anchor or ''})"
        if path == "tutorials":
            return f"[{words}](/tutorials.md)"
        return words

    return LINK.sub(rewritten, text)


def _normal(path: Path) -> str:
    return (ROOT / path).resolve().relative_to(ROOT).as_posix()
