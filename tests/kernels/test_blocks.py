"""Blocks: the same kernel, each entry once, within the memory asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import blocks
from flatvol_jax.kernels.analytic import _kernel_function
from flatvol_jax.kernels.blocks import in_blocks


def budget_for(kernel_function, x, side):
    return side**2 * blocks._bytes_per_pair(kernel_function, x.shape[1:])


@pytest.mark.parametrize("pooling", ["global", None])
@pytest.mark.parametrize("side", [1, 3, 7])
def test_blocks_agree_with_the_whole(pooling, side):
    function = _kernel_function(fv.CNN((1, 1), pooling=pooling).kernel_layers())
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(11, 4, 4, 1)))
        budget = budget_for(function, x, side)
        whole, kernel = in_blocks(function, x), in_blocks(function, x, block_bytes=budget)
        corner = in_blocks(function, x[:4], x[4:], block_bytes=budget)
    np.testing.assert_array_equal(kernel, kernel.T)
    np.testing.assert_allclose(kernel, whole, rtol=1e-13)
    np.testing.assert_allclose(corner, whole[:4, 4:], rtol=1e-13)


def test_a_symmetric_kernel_costs_the_blocks_on_and_above_the_diagonal():
    function = jax.jit(lambda x, x2: x @ x2.T)
    shapes, reports = [], []

    class Counting:
        lower = function.lower

        def __call__(self, x, x2):
            shapes.append((len(x), len(x2)))
            return function(x, x2)

    counting = Counting()
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(11, 3)))
        budget = budget_for(counting, x, 4)
        kernel = in_blocks(counting, x, None, lambda *report: reports.append(report), budget)
    np.testing.assert_allclose(kernel, np.asarray(x) @ np.asarray(x).T, rtol=1e-13)
    assert shapes == [(4, 4), (4, 4), (4, 3), (4, 4), (4, 3), (3, 3)]
    assert reports == [(done, 6) for done in range(1, 7)]


def test_the_memory_of_a_pair_is_that_of_its_pairs_of_pixels_only_with_pooling():
    bytes_per_pair = {}
    with jax.enable_x64(True):
        for pooling in ("global", None):
            function = _kernel_function(fv.CNN((1, 1), pooling=pooling).kernel_layers())
            bytes_per_pair[pooling] = blocks._bytes_per_pair(function, (12, 12, 1))
    pixels = 12 * 12
    # A few arrays of that size live at once.
    assert 2 < bytes_per_pair["global"] / (8 * pixels**2) < 12
    assert 2 < bytes_per_pair[None] / (8 * pixels) < 12


def test_one_pair_is_computed_in_whatever_it_takes():
    function = jax.jit(lambda x, x2: x @ x2.T)
    with jax.enable_x64(True):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2)))
        kernel = in_blocks(function, x, block_bytes=1)
    np.testing.assert_allclose(kernel, np.asarray(x) @ np.asarray(x).T, rtol=1e-13)
