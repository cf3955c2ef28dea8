"""Write where the repository is published wherever its address stands.

    python launch/public_address.py owner/name
    python launch/public_address.py owner/name --readme v0.1.0

Until then the address is a placeholder, OWNER/flatvol_jax, at which nothing is. `--readme` also
makes the links and pictures of README.md absolute, of that tag, since a package index shows no
other file. The release workflow does both in its own checkout.
"""

import argparse
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "OWNER/flatvol_jax"
HOLDERS = ("setup.cfg", "CITATION.cff", "mkdocs.yml", "tutorials/*.py", "tutorials/*.ipynb")


def write_address(root: Path, repository: str) -> list[Path]:
    """Replace the placeholder by `repository`, owner/name; return the files that changed."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"the repository is {repository!r}; wanted owner/name, as in google/jax")
    owner, name = repository.split("/")
    changed = []
    for path in sorted(path for pattern in HOLDERS for path in root.glob(pattern)):
        text = path.read_text()
        new = text.replace(PLACEHOLDER, repository)
        new = new.replace("OWNER.github.io/flatvol_jax", f"{owner}.github.io/{name}")
        if new != text:
            path.write_text(new)
            changed.append(path)
    return changed


def absolute_links(text: str, repository: str, tag: str) -> str:
    """Return a page of the repository's root with its relative links made absolute."""

    def absolute(match: re.Match) -> str:
        mark, words, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        if mark:
            return f"![{words}](https://raw.githubusercontent.com/{repository}/{tag}/{target})"
        return f"[{words}](https://github.com/{repository}/blob/{tag}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", absolute, text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("repository", help="owner/name on github.com")
    parser.add_argument("--readme", metavar="TAG", help="make the links of README.md absolute")
    options = parser.parse_args()
    for changed in write_address(ROOT, options.repository):
        print(changed.relative_to(ROOT))
    if options.readme:
        readme = ROOT / "README.md"
        readme.write_text(absolute_links(readme.read_text(), options.repository, options.readme))
        print("README.md")
