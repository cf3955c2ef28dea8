"""Functions of networks with C outputs: packed, counted, and held against log V of C classes."""

import itertools

import jax
import numpy as np
import pytest
from scipy.stats import chi2

import flatvol_jax as fv
from flatvol_jax.sampling import count_of, draw_functions, draw_gaussian_functions, most_frequent
from flatvol_jax.sampling.packing import (
    join_halves,
    pack_functions,
    pack_largest,
    unpack_functions,
    word_count,
)

KEY = jax.random.key(0)
CLASSES = 3
X = np.array([[1.0, 0.2, 0.0], [0.3, -1.0, 0.5], [0.9, 0.5, -0.4]], np.float32)
WIDE = fv.FCN((256,), sigma_b=0.3, outputs=CLASSES)
ALL = np.array(list(itertools.product(range(CLASSES), repeat=len(X))), np.int8)


@pytest.mark.parametrize("outputs", [1, 2, 3, 8, 10])
def test_packing_comes_back(outputs):
    rng = np.random.default_rng(outputs)
    functions = rng.integers(0, max(outputs, 2), (20, 70))
    functions = 2 * functions - 1 if outputs == 1 else functions
    words = pack_functions(functions, outputs)
    assert words.shape == (20, word_count(70, outputs))
    np.testing.assert_array_equal(unpack_functions(words, 70, outputs), functions)


def test_the_largest_output_is_packed():
    outputs = np.random.default_rng(0).normal(size=(12, 40, 5)).astype(np.float32)
    words = join_halves(pack_largest(outputs))
    np.testing.assert_array_equal(unpack_functions(words, 40, 5), outputs.argmax(axis=-1))


@pytest.fixture(scope="module")
def volumes():
    """V of all functions, of which they are a distribution; the names of classes do not matter."""
    kernel = fv.nngp_kernel(WIDE, X)
    first = np.array([[list(f).index(label) for label in f] for f in ALL])
    patterns, place = np.unique(first, axis=0, return_inverse=True)
    found = fv.log_volume(
        kernel, patterns, method="certified", key=KEY, classes=CLASSES, particles=64
    )
    assert found.standard_error.max() < 0.03
    volumes = np.exp(found.log_volume)[place.ravel()]
    np.testing.assert_allclose(volumes.sum(), 1.0, atol=5e-3)
    return kernel, volumes


def assert_drawn_from(counts, volumes):
    expected = counts.sum() * volumes / volumes.sum()
    statistic = np.sum((counts - expected) ** 2 / expected)
    assert chi2.sf(statistic, len(volumes) - 1) > 1e-3


def test_a_wide_network_has_the_volumes_of_the_infinite_one(volumes):
    draws = draw_functions(KEY, WIDE, X, 2**14, chunk_size=2**12)
    found = count_of(draws, ALL)
    assert found.matching == 2**14
    assert_drawn_from(found.counts, volumes[1])
    top = most_frequent(draws, top=4)
    assert top.functions.dtype == np.int8
    order = np.argsort(-found.counts, kind="stable")[:4]
    np.testing.assert_array_equal(top.counts, found.counts[order])
    conditioned = most_frequent(draws, condition=np.array([2, -1, -1]))
    assert conditioned.matching == found.counts[ALL[:, 0] == 2].sum()
    assert (conditioned.functions[:, 0] == 2).all()


def test_the_share_that_fits_s_is_the_marginal_likelihood(volumes):
    """log P(S) of C classes: V of the labels of S alone, whatever the others are."""
    draws = draw_functions(KEY, WIDE, X, 2**14, chunk_size=2**12)
    fitting = most_frequent(draws, top=1, condition=np.array([2, 0, -1])).matching
    evidence = fv.log_volume(volumes[0][:2, :2], np.array([2, 0]), classes=CLASSES)
    share = volumes[1][(ALL[:, 0] == 2) & (ALL[:, 1] == 0)].sum()
    assert evidence.log_volume == pytest.approx(np.log(share), abs=0.03)
    assert abs(fitting - 2**14 * share) < 4.5 * np.sqrt(2**14 * share * (1 - share))
    bound = fv.marginal_likelihood_bound(evidence.log_volume, train_size=2, delta=0.05)
    wanted = 1 - np.exp(-(-np.log(share) + np.log(2) - np.log(0.05)))
    assert bound == pytest.approx(wanted, abs=1e-3)


def test_the_gaussian_process_itself_is_counted_so(volumes):
    kernel, wanted = volumes
    draws = draw_gaussian_functions(KEY, kernel, 2**14, chunk_size=2**14, outputs=CLASSES)
    assert_drawn_from(count_of(draws, ALL).counts, wanted)


def test_readouts_share_hidden_layers_and_other_networks_are_drawn_by_init(volumes):
    draws = draw_functions(KEY, WIDE, X, 2**12, readouts=4, chunk_size=2**9)
    share = count_of(draws, ALL)
    deviation = (share.volume - volumes[1]) / (share.volume * share.standard_error)
    assert np.nanmax(np.abs(deviation)) < 4.5
    plain = fv.Model(WIDE.init, WIDE.apply, WIDE.features, 2**0.5, 0.3, outputs=CLASSES)
    counts = count_of(draw_functions(KEY, plain, X, 2**12, chunk_size=2**12), ALL).counts
    assert_drawn_from(counts, volumes[1])


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="symmetric: got True for a network of 3 outputs"):
        fv.sample_functions(KEY, WIDE, X, 10, symmetric=True)
    with pytest.raises(ValueError, match="got 129 outputs, wanted at most 128"):
        fv.sample_functions(KEY, fv.FCN((4,), outputs=129), X, 10)
    draws = draw_functions(KEY, WIDE, X, 2**12, chunk_size=2**12)
    with pytest.raises(ValueError, match=r"functions: .* of classes 0\.\.2"):
        count_of(draws, ALL - 1)
    with pytest.raises(ValueError, match=r"condition: .* or -1 where any will do"):
        most_frequent(draws, condition=np.array([3, -1, -1]))
