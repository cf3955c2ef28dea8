"""Check that a tag, the package, the citation and the changelog name one version; print its notes.

    python launch/release_version.py v0.1.0

The release workflow runs it before it builds anything. The version is written in
flatvol_jax/_version.py; CITATION.cff and CHANGELOG.md repeat it with its date.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def release_notes(root: Path, tag: str | None = None) -> str:
    """Return what the changelog says of the package's version; refuse versions that disagree."""
    version = _found(r'__version__ = "(.+)"', root / "flatvol_jax" / "_version.py")
    if tag is not None and tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, the package has {version}; wanted v{version}")
    cited = _found(r"^version: (.+)$", root / "CITATION.cff")
    if cited != version:
        raise ValueError(f"CITATION.cff has version {cited}, the package {version}")
    heading = rf"^## {re.escape(version)} - (\d{{4}}-\d\d-\d\d)$"
    date = _found(heading, root / "CHANGELOG.md")
    released = _found(r"^date-released: (.+)$", root / "CITATION.cff")
    if released != date:
        raise ValueError(f"CITATION.cff has the date {released}, CHANGELOG.md {date}")
    notes = re.split(heading, (root / "CHANGELOG.md").read_text(), flags=re.MULTILINE)[2]
    return re.split(r"^## ", notes, flags=re.MULTILINE)[0].strip()


def _found(pattern: str, path: Path) -> str:
    match = re.search(pattern, path.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{path.name} has no line like {pattern}")
    return match[1]


if __name__ == "__main__":
    print(release_notes(ROOT, *sys.argv[1:2]))
