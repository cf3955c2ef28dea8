"""A workdir belongs to one configuration: config.json says which, before any work starts."""

import contextlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.runtime.locks import folder_lock
from flatvol_jax.study.plan import flatten
from flatvol_jax.study.units import jsonable

_PACKAGES = (
    "flatvol-jax",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "numpy",
    "scipy",
    "neural-tangents",
)


@contextlib.contextmanager
def open_workdir(
    workdir: epath.PathLike, config: Mapping[str, Any], shard: str | None = None
) -> Iterator[epath.Path]:
    """Make the folder, or check that its config.json names the same `hp`; hold it while open.

    What may differ is what adds runs or measures: `sweep` sizes, `measures`. What is already
    there is then reused. Files that killed processes left half-written for a day are removed.

    Args:
        workdir: the folder.
        config: of the study; written to config.json with the environment.
        shard: name of this process's share of the work, if it is divided.

    Raises:
        ValueError: the folder cannot be written, holds a study of other `hp`, or is in use by
            another process.
        files.StorageError: config.json cannot be written: a full disk, a forbidden place.
    """
    path = epath.Path(workdir)
    config = jsonable(config)
    stored = None
    try:
        path.mkdir(parents=True, exist_ok=True)
        if (path / "config.json").exists():
            stored = _determining(json.loads((path / "config.json").read_text())["config"])
    except (OSError, ImportError) as error:
        raise ValueError(
            f"workdir: {path} cannot be used as a folder ({error}). Choose another: --workdir=..."
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"workdir: {path / 'config.json'} is not a config of this project ({error}). Choose "
            "another --workdir=..., or delete that file to keep the units beside it."
        ) from error
    if stored is not None:
        _same(path, stored, _determining(config))
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(folder_lock(path, shard))
            files.remove_stale_parts(path)
            files.write_json(path / "config.json", {"config": config, "environment": environment()})
        except files.StorageError:
            raise
        except OSError as error:
            raise ValueError(
                f"workdir: {path} cannot be written ({error}). Choose another: --workdir=..."
            ) from error
        yield path


def _determining(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a workdir is bound to: hp and the seed, flat."""
    return {**dict(flatten(config["hp"])), "seed": config["sweep"]["seed"]}


def _same(path: epath.Path, stored: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    names = sorted(stored.keys() | asked.keys())
    missing = object()
    changed = [n for n in names if stored.get(n, missing) != asked.get(n, missing)]
    if changed:
        lines = ", ".join(
            f"{n}: there {stored.get(n, 'absent')}, asked {asked.get(n, 'absent')}" for n in changed
        )
        raise ValueError(
            f"workdir: {path} holds a study of another config ({lines}). Give this one a folder "
            "of its own: --workdir=..."
        )


def environment() -> dict[str, Any]:
    """Commit of the source tree (None outside one), versions, machine."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": _commit(),
        "versions": versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def _commit() -> str | None:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
