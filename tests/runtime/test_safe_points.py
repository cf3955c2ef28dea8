"""Sampling that is asked to stop: it stops with everything on disk, and goes on to the same."""

import threading

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import preemption

KEY, SPEC = jax.random.key(5), fv.FCN((20, 10))


@pytest.fixture
def ask(monkeypatch):
    asked = threading.Event()
    monkeypatch.setattr(preemption, "_asked", asked)
    return asked


def test_direct_sampling_draws_no_chunk_twice(ask, tmp_path):
    x = fv.data.load("boolean7").x
    spec = fv.FCN((4,), 1.0, 0.1)

    def sample(done, folder):
        return fv.sample_functions(
            KEY, spec, x, 256, chunk_size=64, workdir=folder, progress=done.append
        )

    whole = sample([], None)
    ask.set()
    for kept in (64, 128):
        with pytest.raises(preemption.Stopped):
            sample([], tmp_path)
        assert len(list(tmp_path.glob("*.npy"))) == kept // 64
    ask.clear()
    done = []
    resumed = sample(done, tmp_path)
    assert done[0] == 128
    np.testing.assert_array_equal(resumed.functions, whole.functions)
    np.testing.assert_array_equal(resumed.counts, whole.counts)


def test_a_monte_carlo_kernel_goes_on_from_the_last_block(ask, tmp_path):
    x = np.random.default_rng(0).random((30, 6))
    whole = fv.monte_carlo_kernel(KEY, SPEC, x, 12, block=4)
    ask.set()
    with pytest.raises(preemption.Stopped):
        fv.monte_carlo_kernel(KEY, SPEC, x, 12, tmp_path, block=4)
    ask.clear()
    done = []
    resumed = fv.monte_carlo_kernel(
        KEY, SPEC, x, 12, tmp_path, lambda samples, _: done.append(samples), block=4
    )
    assert done == [4, 8, 12]
    np.testing.assert_array_equal(resumed, whole)
