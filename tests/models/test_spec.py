"""What all specs share: those without BatchNorm train as they infer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.models import Spec, apply_in_batches, checked_spec
from flatvol_jax.models.spec import Stateless


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


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50])
def test_a_batch_after_another_gives_the_same_outputs_and_gradients(batch_size):
    spec = fv.FCN((5,), sigma_w=1.4, sigma_b=0.5)
    x = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    params = spec.init(jax.random.key(0), (3,))

    def total(params, size):
        outputs = apply_in_batches(spec, params, x, {}, size)
        return jnp.sum(outputs**2), outputs

    (_, wanted), slope = jax.value_and_grad(total, has_aux=True)(params, None)
    (_, found), same = jax.value_and_grad(total, has_aux=True)(params, batch_size)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), same, slope)


class _Methods(Stateless):
    """The methods of a network, which nothing here calls."""

    init = features = kernel_layers = rectified_layers = fv.FCN.features
    apply, prior_std, describe = fv.FCN.apply, fv.FCN.prior_std, fv.FCN.describe
    sigma_w, sigma_b = 1.0, 0.0


@dataclasses.dataclass
class _Mutable(_Methods):
    width: int = 4


@dataclasses.dataclass(frozen=True)
class _Frozen(_Methods):
    width: int = 4


def test_a_frozen_network_is_a_spec_and_one_that_can_change_is_none():
    assert checked_spec(_Frozen()) == _Frozen()
    assert not isinstance(_Mutable(), Spec)
    with pytest.raises(ValueError, match="must be hashable: make its class a frozen dataclass"):
        checked_spec(_Mutable())
