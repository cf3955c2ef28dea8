"""The tables of chunks: counted as they are drawn, on disk written whole and read by mapping."""

import dataclasses
import io
import math
import zlib
from collections.abc import Callable, Iterator

import numpy as np
from etils import epath

from flatvol_jax.runtime import cache, files, memory
from flatvol_jax.runtime.preemption import safe_point
from flatvol_jax.sampling.tables import Table, tabulate

_CRC = np.dtype("<u4")
_HEADER = 4096  # bytes that a header of two dimensions surely has


@dataclasses.dataclass(frozen=True)
class ChunkFiles:
    """A file a chunk, `NAME-CHUNK-SAMPLES.npy`: words and, as the last column, counts.

    Its last four bytes, which NumPy does not look at, are the CRC-32 of those before. It is checked
    whenever a file is opened anew, 0.15 s a GB.

    Attributes:
        folder: where they lie; made when missing.
        name: hash of what determines the samples of a chunk.
    """

    folder: epath.Path
    name: str

    def path(self, chunk: int, samples: int) -> epath.Path:
        """Return the file of the first so many samples of a chunk."""
        return self.folder / f"{self.name}-{chunk:08d}-{samples}.npy"

    def read(self, chunk: int, samples: int) -> Table | None:
        """Read a table; None where there is none, or one that is damaged, which a warning names."""
        path = self.path(chunk, samples)
        try:
            content = _content(path)
        except FileNotFoundError:
            return None
        except ValueError:  # an empty file cannot be mapped
            content = np.zeros(0, np.uint8)
        stored = content[-_CRC.itemsize :]
        if len(stored) == _CRC.itemsize and zlib.crc32(content[: -len(stored)].data) == stored.view(
            _CRC
        ):
            return _table(content)
        cache.warn_damaged(path)
        return None

    def write(self, chunk: int, samples: int, table: Table) -> Table:
        """Make a table durable; what is returned reads from the file."""
        rows = np.column_stack([table.words, table.counts.astype(np.uint64)])
        buffer = io.BytesIO()
        np.save(buffer, rows.astype("<u8", copy=False))
        buffer.write(np.array(zlib.crc32(buffer.getbuffer()), _CRC).tobytes())
        path = self.path(chunk, samples)
        files.write_bytes(path, buffer.getvalue())
        return _table(_content(path))


def _content(path: epath.Path) -> np.ndarray:
    """Return the bytes of a file: mapped, on an object store read."""
    if files.is_remote(path):
        return np.frombuffer(path.read_bytes(), np.uint8)
    return np.memmap(path, np.uint8, mode="r")


def _table(content: np.ndarray) -> Table:
    """Return the table in the bytes of a whole file, which it refers to."""
    header = io.BytesIO(content[:_HEADER].tobytes())
    np.lib.format.read_magic(header)
    shape, _, dtype = np.lib.format.read_array_header_1_0(header)
    first = header.tell()
    rows = content[first : first + math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
    return Table(rows[:, :-1], rows.view(np.int64)[:, -1])


def chunk_tables(
    samples: int,
    chunk_size: int,
    draw: Callable[[list[int]], Iterator[np.ndarray]],
    kept: ChunkFiles | None,
    progress: Callable[[int], None] | None = None,
) -> list[Table]:
    """Return the table of every chunk of a sample; those on disk are not drawn again.

    Args:
        samples: functions in all; the last chunk may have fewer than `chunk_size`.
        chunk_size: functions that `draw` gives for each chunk.
        draw: numbers of chunks -> the packed functions of each, (chunk_size, W), in their order.
        kept: where tables are kept; None for memory.
        progress: called with the number of samples done.

    Raises:
        Stopped: a stop was asked for, and what is drawn is on disk.
    """
    chunks = {
        chunk: min(chunk_size, samples - chunk * chunk_size)
        for chunk in range(-(-samples // chunk_size))
    }
    found = {chunk: kept.read(chunk, size) if kept else None for chunk, size in chunks.items()}
    tables = {chunk: table for chunk, table in found.items() if table is not None}
    missing = [chunk for chunk in chunks if chunk not in tables]
    done = samples - sum(chunks[chunk] for chunk in missing)
    if progress is not None:
        progress(done)
    for chunk, words in zip(missing, draw(missing) if missing else (), strict=True):
        table = tabulate(words[: chunks[chunk]])
        tables[chunk] = kept.write(chunk, chunks[chunk], table) if kept else table
        done += chunks[chunk]
        if progress is not None:
            progress(done)
        if kept:
            safe_point()
    return [tables[chunk] for chunk in chunks]


_KEPT_ON_DISK = "Give a workdir, which keeps them on disk."


def check_memory(
    samples: int, words: int, name: str = "samples", advice: str = _KEPT_ON_DISK
) -> None:
    """Refuse a sample whose tables do not fit into memory, if no function comes twice in one.

    Args:
        samples: how many functions.
        words: of one function.
        name: of what is too large, for the message.
        advice: what to try.
    """
    memory.check_memory(name, samples, lambda n: n * 8 * (words + 1), advice)
