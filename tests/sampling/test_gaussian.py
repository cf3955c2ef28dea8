import jax
import numpy as np
import pytest
import scipy.stats

import flatvol_jax as fv
from flatvol_jax.sampling import count_of, draw_gaussian_functions, most_frequent

KEY = jax.random.key(0)


def test_two_outputs_have_sheppards_formula():
    """P(z_1 > 0, z_2 > 0) = 1/4 + asin(ρ)/2π (Sheppard 1899)."""
    kernel = np.array([[2.0, 0.9], [0.9, 0.5]])
    sample = draw_gaussian_functions(KEY, kernel, 300_000)
    found = count_of(sample, np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]))
    both = 0.25 + np.arcsin(0.9) / (2 * np.pi)
    exact = np.log([both, 0.5 - both, 0.5 - both, both])
    assert (np.abs(found.log_volume - exact) < 4 * found.standard_error).all()


def test_volumes_are_those_of_the_kernel():
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    kernel = fv.nngp_kernel(fv.FCN(), x)
    sample = most_frequent(draw_gaussian_functions(KEY, kernel, 200_000), 20)
    exact = fv.estimate_log_volume(jax.random.key(1), kernel, sample.functions)
    z = sample.log_volume - exact.log_volume
    z /= np.hypot(sample.standard_error, exact.standard_error)
    assert (z**2).sum() < scipy.stats.chi2.ppf(0.9999, 20)


def test_a_singular_kernel_ties_equal_outputs():
    kernel = np.ones((3, 3))
    sample = most_frequent(draw_gaussian_functions(KEY, kernel, 1000))
    assert sorted(sample.functions.sum(axis=1)) == [-3, 3]


def test_samples_and_progress_add_up():
    done = []
    sample = draw_gaussian_functions(KEY, np.eye(3), 100_000, progress=done.append)
    assert sample.samples == 100_000
    assert done == [0, 65536, 100_000]


def test_the_callers_precision_is_left_alone_between_chunks():
    seen = []
    with jax.enable_x64(True):
        draw_gaussian_functions(
            KEY,
            np.eye(3),
            3000,
            chunk_size=1000,
            progress=lambda _: seen.append(jax.config.jax_enable_x64),
        )
    assert seen == [True] * 4


def test_chunks_on_disk_are_not_drawn_again(tmp_path):
    kernel = np.eye(5) + 1
    whole = most_frequent(draw_gaussian_functions(KEY, kernel, 5000, chunk_size=1000))
    options = {"chunk_size": 1000, "workdir": tmp_path}
    draw_gaussian_functions(KEY, kernel, 3000, **options)
    done = []
    sample = draw_gaussian_functions(KEY, kernel, 5000, progress=done.append, **options)
    assert done == [3000, 4000, 5000]
    found = most_frequent(sample)
    np.testing.assert_array_equal(found.functions, whole.functions)
    np.testing.assert_array_equal(found.counts, whole.counts)
    other = draw_gaussian_functions(KEY, 2 * kernel, 1000, **options)
    assert len(list(tmp_path.iterdir())) == 6
    assert other.samples == 1000


@pytest.mark.parametrize(
    ("kernel", "samples", "message"),
    [
        (np.ones((2, 3)), 10, "kernel: got shape"),
        (np.full((2, 2), np.nan), 10, "NaN"),
        (np.eye(2), 0, "samples: got 0"),
        (np.eye(2), 10**13, "samples: got n = 10000000000000.*workdir"),
    ],
)
def test_bad_input_is_refused(kernel, samples, message):
    with pytest.raises(ValueError, match=message):
        draw_gaussian_functions(KEY, kernel, samples)
