"""A workdir belongs to one configuration: config.json says which, before any work starts."""

import contextlib
import hashlib
import json
import platform
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.runtime.locks import folder_lock
from flatvol_jax.study.engine.plan import flatten
from flatvol_jax.study.engine.record_files import record_files
from flatvol_jax.study.engine.source_commit import source_commit
from flatvol_jax.study.engine.store import jsonable

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
    A folder's config.json belongs to its records: in a new folder it is written at once, later when
    the run ends, or stops with other records than it found. A run that is refused leaves it.

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
            stored = json.loads((path / "config.json").read_text())["config"]
            _binding_entries(stored)
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
        _check_same_config(path, _binding_entries(stored), _binding_entries(config))
    with contextlib.ExitStack() as held:
        with _advised_storage_errors(path):
            held.enter_context(folder_lock(path, shard))
            files.remove_stale_parts(path)
            if stored is None:
                _write_config(path, config)
        before, ended = _records_hash(path), False
        try:
            yield path
            ended = True
        finally:
            if _records_hash(path) != before or (ended and stored != config):
                with _advised_storage_errors(path):
                    _write_config(path, config)


@contextlib.contextmanager
def _advised_storage_errors(path: epath.Path) -> Iterator[None]:
    """Turn an error of the file system into one that says what to do."""
    try:
        yield
    except files.StorageError:
        raise
    except OSError as error:
        raise ValueError(
            f"workdir: {path} cannot be written ({error}). Choose another: --workdir=..."
        ) from error


def _write_config(path: epath.Path, config: Mapping[str, Any]) -> None:
    files.write_json(path / "config.json", {"config": config, "environment": environment()})


def _records_hash(path: epath.Path) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in record_files(path)]


def _binding_entries(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a workdir is bound to: hp and the seed, flat."""
    return {**dict(flatten(config["hp"])), "seed": config["sweep"]["seed"]}


def _check_same_config(
    path: epath.Path, stored: Mapping[str, Any], asked: Mapping[str, Any]
) -> None:
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
    """Return the commit of the source tree (None outside one), versions, machine."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "commit": source_commit(),
        "versions": versions,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
