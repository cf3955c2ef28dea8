"""The files that hold records, and their lines: what is no record is left out and named."""

import contextlib
import io
import json
import re
import warnings
import zlib
from collections.abc import Iterator
from typing import Any

import orjson
from etils import epath

from flatvol_jax.study.engine.shards import Shard

FILE = "records.jsonl"
_NAME = re.compile(r"records(?:-(\d+)-of-(\d+))?\.jsonl(\.gz)?")
_NAMED = 5  # lines that a warning names


def records_name(shard: Shard = Shard()) -> str:
    """Return records.jsonl, or records-I-of-N.jsonl of a shard."""
    return FILE if shard.name is None else f"records-{shard.name}.jsonl"


def record_files(folder: epath.PathLike) -> list[epath.Path]:
    """Return records.jsonl, then the shards in their order; [] without any.

    Of each there may be a compressed file, too, which comes after the other.
    """
    folder = epath.Path(folder)
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        if match := _NAME.fullmatch(path.name):
            number, shards, compressed = match.groups()
            found.append((int(shards or 0), int(number or 0), bool(compressed), path))
    return [path for *_, path in sorted(found, key=lambda entry: entry[:3])]


def read_rows(path: epath.Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file, in order; one warning counts and names the lines that are none.

    A record is a JSON object with `run_id` or `meta.experiment`. Of a .gz that is cut short, what
    can be read is used, with a warning.

    Raises:
        ValueError: a damaged .gz.
    """
    bad = []
    with _opened(path) as lines:
        for number, line in enumerate(lines, start=1):
            row = _parsed(line)
            if isinstance(row, dict) and ("run_id" in row or "meta.experiment" in row):
                yield row
            else:
                bad.append(number)
    if bad:
        first = ", ".join(map(str, bad[:_NAMED]))
        more = f" and {len(bad) - _NAMED} more" if len(bad) > _NAMED else ""
        lines = "line" if len(bad) == 1 else "lines"
        warnings.warn(f"{path}, {lines} {first}{more}: not a record, left out.", stacklevel=2)


def _parsed(line: bytes) -> Any:
    with contextlib.suppress(ValueError):
        return orjson.loads(line)
    try:  # orjson refuses NaN, which other programs write
        return json.loads(line.decode())
    except (ValueError, RecursionError):
        return None


def _opened(path: epath.Path) -> Any:
    return io.BytesIO(_decompressed(path)) if path.suffix == ".gz" else path.open("rb")


def _decompressed(path: epath.Path) -> bytes:
    rest, parts = path.read_bytes(), []
    while rest:
        member = zlib.decompressobj(wbits=31)  # gzip, with its checksum
        try:
            parts.append(member.decompress(rest))
        except zlib.error as error:
            raise ValueError(
                f"{path}: a damaged .gz file ({error}). Copy it again, or delete it and run the "
                "experiment with this --workdir: what is finished is not done again."
            ) from error
        if not member.eof:
            warnings.warn(f"{path}: cut short; what can be read of it is used.", stacklevel=3)
            break
        rest = member.unused_data.lstrip(b"\0")
    return b"".join(parts)
