"""What all specs share: those without BatchNorm train as they infer."""

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import Spec


def _stax():
    stax = fv.kernels.neural_tangents().stax
    network = stax.serial(stax.Flatten(), stax.Dense(5), stax.Relu())
    return fv.StaxModel(network, name="dense", sigma_w=1.0, sigma_b=0.5)


@pytest.mark.parametrize("make", [lambda: fv.FCN((5,)), lambda: fv.CNN((4,)), _stax])
def test_without_batch_norm_training_mode_is_inference_mode(make):
    spec = make()
    assert isinstance(spec, Spec)
    x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
    params = spec.init(jax.random.key(0), x.shape[1:])
    state = spec.init_state(x.shape[1:])
    assert state == {}
    wanted = spec.apply(params, x)
    for mask in (None, np.array([True, False, True, False])):
        outputs, after = spec.train_apply(params, state, x, mask)
        assert after == {}
        np.testing.assert_array_equal(outputs, wanted)
    np.testing.assert_array_equal(spec.apply(params, x, state), wanted)
    np.testing.assert_array_equal(spec.features(params, x, state), spec.features(params, x))
    assert spec.normalised_layers() == ()
