"""Sums that outlive a run: a killed one ends with the same bits, a longer one starts from them."""

import warnings

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_sums

KEY, SPEC, BLOCK = jax.random.key(5), fv.FCN((20, 10)), 4


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((30, 6))


@pytest.fixture(autouse=True)
def drawn(monkeypatch):
    """Samples that were drawn, a number a call; sums are written after each block."""
    counts, sample_features = [], monte_carlo_sums.sample_features

    def counted(spec, x, keys, reference):
        counts.append(len(keys))
        return sample_features(spec, x, keys, reference)

    monkeypatch.setattr(monte_carlo_sums, "sample_features", counted)
    monkeypatch.setattr(monte_carlo_sums, "_SECONDS", 0.0)
    return counts


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(samples):
    def progress(done, total):
        if done >= samples:
            raise Killed

    return progress


def test_a_killed_run_ends_with_the_same_bits(inputs, drawn, tmp_path):
    whole = fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, block=BLOCK)
    for samples in (8, 9, 30):
        with pytest.raises(Killed):
            fv.monte_carlo_kernel(
                KEY, SPEC, inputs, 42, tmp_path, killed_after(samples), block=BLOCK
            )
    resumed = fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, tmp_path, block=BLOCK)
    np.testing.assert_array_equal(resumed, whole)
    assert drawn == [42, 42, 42 - 8, 42 - 12, 42 - 32]
    assert len(list(tmp_path.iterdir())) == 1  # parts go when they are continued
    np.testing.assert_array_equal(
        fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, tmp_path, block=BLOCK), whole
    )
    assert len(drawn) == 5


def test_a_killed_run_of_groups_ends_with_the_same_bits(inputs, drawn, tmp_path):
    whole = monte_carlo_estimate(KEY, SPEC, inputs, 42, groups=3, block=BLOCK)
    del drawn[:]
    with pytest.raises(Killed):
        monte_carlo_estimate(KEY, SPEC, inputs, 42, 3, tmp_path, killed_after(22), block=BLOCK)
    resumed = monte_carlo_estimate(KEY, SPEC, inputs, 42, 3, tmp_path, block=BLOCK)
    assert drawn == [14, 14, 6, 14]
    for found, wanted in zip(resumed, whole, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(("first", "exact"), [(20, True), (21, False)])
def test_more_samples_start_from_those_there(inputs, drawn, tmp_path, first, exact):
    few = fv.monte_carlo_kernel(KEY, SPEC, inputs, first, tmp_path, block=BLOCK)
    more = fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, tmp_path, block=BLOCK)
    assert drawn == [first, 42 - first]
    whole = fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, block=BLOCK)
    if exact:
        np.testing.assert_array_equal(more, whole)
    np.testing.assert_allclose(more, whole, rtol=1e-14)
    again = fv.monte_carlo_kernel(KEY, SPEC, inputs, first, tmp_path, block=BLOCK)
    np.testing.assert_array_equal(again, few)  # fewer samples are still there
    assert len(drawn) == 3


def test_fewer_samples_than_are_there_are_drawn_anew(inputs, drawn, tmp_path):
    fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, tmp_path, block=BLOCK)
    few = fv.monte_carlo_kernel(KEY, SPEC, inputs, 20, tmp_path, block=BLOCK)
    assert drawn == [42, 20]
    np.testing.assert_array_equal(
        few, fv.monte_carlo_kernel(KEY, SPEC, inputs, 20, tmp_path / "other", block=BLOCK)
    )


def test_what_determines_the_sums_names_their_files(inputs, drawn, tmp_path):
    calls = [
        (KEY, SPEC, inputs, 8, BLOCK),
        (jax.random.key(6), SPEC, inputs, 8, BLOCK),
        (jax.random.key(5, impl="rbg"), SPEC, inputs, 8, BLOCK),
        (jax.random.key(5, impl="unsafe_rbg"), SPEC, inputs, 8, BLOCK),  # the same data
        (KEY, fv.FCN((20, 10), sigma_b=0.5), inputs, 8, BLOCK),
        (KEY, SPEC, inputs[::-1], 8, BLOCK),
        (KEY, SPEC, inputs, 8, BLOCK + 1),
    ]
    kernels = [fv.monte_carlo_kernel(*call, cache=tmp_path, block=block) for *call, block in calls]
    halves = monte_carlo_estimate(KEY, SPEC, inputs, 8, groups=2, cache=tmp_path, block=BLOCK)
    assert drawn == [8] * len(calls) + [4, 4]
    for (*call, block), kernel in zip(calls, kernels, strict=True):
        found = fv.monte_carlo_kernel(*call, cache=tmp_path, block=block)
        np.testing.assert_array_equal(found, kernel)
    found = monte_carlo_estimate(KEY, SPEC, inputs, 8, groups=2, cache=tmp_path, block=BLOCK)
    np.testing.assert_array_equal(found.group_kernels, halves.group_kernels)
    assert len(drawn) == len(calls) + 2


def flipped(content):
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    "damage",
    [flipped, lambda content: content[: len(content) // 2], lambda content: b""],
    ids=["a flipped bit", "half", "empty"],
)
def test_a_damaged_file_is_passed_over_and_replaced(inputs, drawn, tmp_path, damage):
    fv.monte_carlo_kernel(KEY, SPEC, inputs, 20, tmp_path, block=BLOCK)
    whole = fv.monte_carlo_kernel(KEY, SPEC, inputs, 40, tmp_path, block=BLOCK)
    (stored,) = tmp_path.glob("*-40-of-40.npz")
    stored.write_bytes(damage(stored.read_bytes()))
    with pytest.warns(UserWarning, match=r"-40-of-40\.npz: damaged, computed again"):
        found = fv.monte_carlo_kernel(KEY, SPEC, inputs, 40, tmp_path, block=BLOCK)
    again = fv.monte_carlo_kernel(KEY, SPEC, inputs, 40, tmp_path, block=BLOCK)
    np.testing.assert_array_equal([found, again], [whole, whole])
    assert drawn == [20, 20, 20]  # from the intact file of 20, once


def test_a_file_of_something_else_is_passed_over(inputs, drawn, tmp_path):
    whole = fv.monte_carlo_kernel(KEY, SPEC, inputs, 8, tmp_path, block=BLOCK)
    (stored,) = tmp_path.iterdir()
    for arrays in ({"kernel": np.ones((30, 30))}, {"sums": np.ones((3, 3))}):
        np.savez(stored, **arrays)
        with pytest.warns(UserWarning, match="damaged, computed again"):
            found = fv.monte_carlo_kernel(KEY, SPEC, inputs, 8, tmp_path, block=BLOCK)
        np.testing.assert_array_equal(found, whole)
    assert len(drawn) == 3


def test_a_folder_that_cannot_be_written_only_costs_time(inputs, drawn, tmp_path):
    folder = tmp_path / "a file"
    folder.write_text("")
    wanted = fv.monte_carlo_kernel(KEY, SPEC, inputs, 8, block=BLOCK)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")  # what a program shows
        for _ in range(2):
            found = fv.monte_carlo_kernel(KEY, SPEC, inputs, 8, folder, block=BLOCK)
            np.testing.assert_array_equal(found, wanted)
    said = f"{folder}: cannot be written (File exists); what is computed is not kept there."
    assert [str(warning.message) for warning in caught] == [said]
    assert drawn == [8, 8, 8]


def test_a_cache_changes_no_bit_however_often_it_is_written(inputs, monkeypatch, tmp_path):
    often = fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, tmp_path / "often", block=BLOCK)
    monkeypatch.setattr(monte_carlo_sums, "_SECONDS", 60.0)
    once = fv.monte_carlo_kernel(KEY, SPEC, inputs, 42, tmp_path / "once", block=BLOCK)
    np.testing.assert_array_equal(often, once)


def test_features_that_are_not_finite_are_not_kept(inputs, tmp_path):
    with pytest.raises(ValueError, match="NaN or infinite features"):
        fv.monte_carlo_kernel(KEY, fv.FCN((20, 20), sigma_w=1e30), inputs, 8, tmp_path)
    assert not list(tmp_path.iterdir())
