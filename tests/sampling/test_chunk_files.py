"""Tables of chunks on disk: any damage is found, what is whole is mapped."""

import warnings

import numpy as np
import pytest

from flatvol_jax.sampling.chunk_files import ChunkFiles
from flatvol_jax.sampling.tables import tabulate


@pytest.fixture
def kept(tmp_path):
    return ChunkFiles(tmp_path, "name")


@pytest.fixture
def table():
    return tabulate(np.random.default_rng(0).integers(0, 5, (100, 2), np.uint64))


def test_a_table_comes_back_mapped(kept, table):
    for found in (kept.write(0, 100, table), kept.read(0, 100)):
        np.testing.assert_array_equal(found.words, table.words)
        np.testing.assert_array_equal(found.counts, table.counts)
        assert not found.words.flags.owndata
        assert (found.words.dtype, found.counts.dtype) == (np.uint64, np.int64)
        with pytest.raises(ValueError, match="read-only"):
            found.words[0] = 1
    np.testing.assert_array_equal(np.load(kept.path(0, 100))[:, :-1], table.words)


def test_an_empty_table_and_one_of_no_words(kept):
    for words in (np.zeros((0, 2), np.uint64), np.zeros((3, 1), np.uint64)):
        kept.write(0, len(words), tabulate(words))
        np.testing.assert_array_equal(kept.read(0, len(words)).words, tabulate(words).words)


def test_there_is_none_where_none_was_written(kept):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert kept.read(0, 100) is None


def test_every_flipped_bit_is_found(kept, table):
    kept.write(0, 100, table)
    path = kept.path(0, 100)
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        flipped = bytes([content[place] ^ (1 << place % 8)])
        path.write_bytes(content[:place] + flipped + content[place + 1 :])
        with pytest.warns(UserWarning, match=f"^{path}: damaged, computed again.$"):
            assert kept.read(0, 100) is None


@pytest.mark.parametrize("length", [0, 3, 4, 5, 130, -8, -4, -1])
def test_every_cut_is_found(kept, table, length):
    kept.write(0, 100, table)
    path = kept.path(0, 100)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(UserWarning, match="damaged, computed again"):
        assert kept.read(0, 100) is None
