import jax
import numpy as np
import pytest
from scipy import stats

import flatvol_jax as fv
from flatvol_jax.volume import splitting_log_volume
from flatvol_jax.volume.splitting import slice_step

KEY = jax.random.key(0)


def relu_problem(n, seed=0):
    """NNGP kernel of random inputs, labels of a random plane."""
    generator = np.random.default_rng(seed)
    x = generator.random((n, 12))
    return fv.nngp_kernel(fv.FCN(), x), np.where((x - 0.5) @ generator.normal(size=12) > 0, 1, -1)


@pytest.mark.parametrize("labels", [[1, 1, 1], [1, -1, 1]])
def test_three_points_against_the_arcsine_formula(labels):
    kernel = np.array([[1, 0.5, 0.2], [0.5, 1, -0.3], [0.2, -0.3, 1]])
    signs = np.outer(labels, labels)[np.triu_indices(3, 1)]
    angles = np.arcsin(signs * kernel[np.triu_indices(3, 1)]).sum()
    exact = np.log(1 / 8 + angles / (4 * np.pi))
    ours = splitting_log_volume(KEY, kernel, labels, particles=1000, steps=4, replicates=64)
    assert abs(ours.log_volume - exact) < 4 * ours.standard_error
    assert ours.standard_error < 0.05


def test_twenty_replicates_are_unbiased_for_v():
    """Ten equicorrelated points, V = 1/11: the mean of V, not of log V."""
    kernel = 0.5 + 0.5 * np.eye(10)
    ours = splitting_log_volume(KEY, kernel, np.ones(10), particles=200, steps=4, replicates=40)
    assert abs(ours.log_volume + np.log(11)) < 4 * ours.standard_error
    assert ours.standard_error < 0.05


@pytest.mark.parametrize("link", ["heaviside", "probit"])
def test_it_agrees_with_the_twisted_estimate_which_it_shares_nothing_with(link):
    kernel, labels = relu_problem(12)
    split = splitting_log_volume(KEY, kernel, labels, link, particles=500, steps=8, replicates=16)
    twisted = fv.estimate_log_volume(KEY, kernel, labels, link)
    assert twisted.standard_error < 0.02
    error = np.hypot(split.standard_error, twisted.standard_error)
    assert abs(split.log_volume - twisted.log_volume) < 4 * error
    assert error < 0.2


def test_a_slice_step_leaves_the_truncated_gaussian_alone():
    """Exact draws of a truncated pair, moved twenty times, are still exact draws."""
    generator = np.random.default_rng(0)
    rows = np.array([[1.0, 0.0], [0.6, 0.8]])
    points = generator.normal(size=(400000, 2))
    points = points[(points @ rows.T).min(1) > -0.2][:20000]
    with jax.enable_x64(True):
        moved = points
        for step in range(20):
            moved = np.asarray(slice_step(jax.random.fold_in(KEY, step), rows, moved, 0.2))
    assert (moved @ rows.T > -0.2).all()
    for axis in (0, 1):
        assert stats.ks_2samp(points[:, axis], moved[:, axis]).pvalue > 1e-3


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="one labelling"):
        splitting_log_volume(KEY, np.eye(2), [[1, 1], [1, -1]])
    with pytest.raises(ValueError, match="particles"):
        splitting_log_volume(KEY, np.eye(2), [1, 1], particles=1)
