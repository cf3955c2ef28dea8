"""The tables of chunks on disk: written whole when a chunk is done, mapped when they are read."""

import contextlib
import dataclasses
import io

import numpy as np
from etils import epath

from flatvol_jax.runtime import files
from flatvol_jax.sampling.tables import Table


@dataclasses.dataclass(frozen=True)
class ChunkFiles:
    """A file a chunk, `NAME-CHUNK-SAMPLES.npy`: words and, as the last column, counts.

    Attributes:
        folder: where they lie; made when missing.
        name: hash of what determines the samples of a chunk.
    """

    folder: epath.Path
    name: str

    def path(self, chunk: int, samples: int) -> epath.Path:
        """The file of the first so many samples of a chunk."""
        return self.folder / f"{self.name}-{chunk:08d}-{samples}.npy"

    def read(self, chunk: int, samples: int) -> Table | None:
        """The table; None where there is none, or one that is not whole."""
        path = self.path(chunk, samples)
        with contextlib.suppress(FileNotFoundError, ValueError, EOFError):
            rows = np.load(path, mmap_mode="r")
            table = Table(rows[:, :-1], rows.view(np.int64)[:, -1])
            if table.counts.sum() == samples:
                return table
        return None

    def write(self, chunk: int, samples: int, table: Table) -> Table:
        """Make a table durable; what is returned reads from the file."""
        rows = np.column_stack([table.words, table.counts.astype(np.uint64)])
        buffer = io.BytesIO()
        np.save(buffer, rows)
        files.write_bytes(self.path(chunk, samples), buffer.getvalue())
        return self.read(chunk, samples)
