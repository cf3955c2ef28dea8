import numpy as np
import pytest

from flatvol_jax.sampling import tables
from flatvol_jax.sampling.tables import hashes, look_up, merge, tabulate


def few_functions(rows, words, seed=0):
    """Rows (rows, words) in which many functions come several times."""
    rng = np.random.default_rng(seed)
    different = rng.integers(0, 2**64, (max(rows // 3, 1), words), np.uint64)
    return different[rng.geometric(0.01, rows) % len(different)]


def as_dict(table):
    return {tuple(row): int(count) for row, count in zip(table.words, table.counts, strict=True)}


def counted(words):
    unique, counts = np.unique(words, axis=0, return_counts=True)
    return {tuple(row): int(count) for row, count in zip(unique, counts, strict=True)}


@pytest.fixture(params=["hash", "clashes"])
def hashing(request, monkeypatch):
    """The hash as it is, and one of eight values, under which nearly all functions clash."""
    if request.param == "clashes":
        poor = lambda words: (words[:, 0] % np.uint64(8)) << np.uint64(61)  # noqa: E731
        monkeypatch.setattr(tables, "hashes", poor)


@pytest.mark.parametrize("words", [1, 2, 16])
def test_counts_are_those_of_numpy_unique(words, hashing):
    rows = few_functions(5000, words)
    assert as_dict(tabulate(rows)) == counted(rows)


def test_weights_are_added(hashing):
    rows = few_functions(1000, 2)
    weights = np.arange(len(rows))
    found = as_dict(tabulate(rows, weights))
    for row, total in found.items():
        assert total == weights[(rows == row).all(axis=1)].sum()


@pytest.mark.parametrize("rows_at_once", [1, 100, 10**6])
def test_a_merge_in_parts_has_each_function_once_with_its_count(rows_at_once, hashing):
    chunks = [few_functions(700, 2, seed=seed % 2) for seed in range(4)]
    parts = list(merge([tabulate(chunk) for chunk in chunks], rows_at_once))
    merged = [item for part in parts for item in as_dict(part).items()]
    assert len(merged) == len(dict(merged))
    assert dict(merged) == counted(np.concatenate(chunks))


def test_parts_hold_about_the_rows_asked_for():
    table = tabulate(np.random.default_rng(0).integers(0, 2**64, (20_000, 2), np.uint64))
    sizes = [len(part.counts) for part in merge([table], 1000)]
    assert len(sizes) == 20
    assert max(sizes) < 1200


def test_tables_that_are_empty():
    empty = tabulate(np.zeros((0, 2), np.uint64))
    full = tabulate(few_functions(10, 2))
    assert as_dict(next(merge([empty, full]))) == as_dict(full)
    assert len(next(merge([empty])).counts) == 0


def test_looking_up_finds_counts_and_zeros(hashing):
    rows = few_functions(3000, 2)
    absent = np.random.default_rng(1).integers(0, 2**64, (20, 2), np.uint64)
    asked = np.concatenate([rows[:50], absent])
    wanted = [counted(rows).get(tuple(row), 0) for row in asked]
    assert look_up(tabulate(rows), asked).tolist() == wanted
    assert wanted[-20:] == [0] * 20


def test_hashes_of_like_functions_are_uniform():
    """Functions with one or two labels in the minority fall into 64 bins as chance has it."""
    bit = np.eye(128, dtype=bool)
    pairs = (bit[:, None] | bit[None]).reshape(-1, 128)
    words = np.unique(np.packbits(pairs, axis=1, bitorder="little").view(np.uint64), axis=0)
    for mixed in (hashes(words) >> np.uint64(58), hashes(words) % np.uint64(64)):
        bins = np.bincount(mixed.astype(int), minlength=64)
        chi_square = ((bins - len(words) / 64) ** 2 / (len(words) / 64)).sum()
        assert chi_square < 63 + 5 * np.sqrt(2 * 63)
