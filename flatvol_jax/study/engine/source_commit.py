"""Which commit of the source tree computes."""

import functools
import subprocess
from pathlib import Path


@functools.cache
def source_commit() -> str | None:
    """Return the commit, with "-dirty" where files differ from it; None outside a source tree."""
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        return None
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
