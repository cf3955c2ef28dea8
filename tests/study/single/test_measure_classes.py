"""`fv.measure` of a network of C classes: log V ± its error, errors and baselines by argmax."""

import flax.linen as nn
import jax
import numpy as np
import pytest

import flatvol_jax as fv

RNG = np.random.default_rng(0)
X, X_TEST = (RNG.normal(size=(n, 3)).astype(np.float32) for n in (10, 6))
Y, Y_TEST = (np.argmax(x, axis=1) for x in (X, X_TEST))
SPEC = fv.FCN((5,), outputs=3)
PARAMS = SPEC.init(jax.random.key(0), (3,))


def test_a_network_of_three_classes_is_measured():
    parts = {"log_volume": {"links": ("heaviside",)}, "log_volume_null": {}, "baselines": {}}
    found = fv.measure(SPEC, PARAMS, X, Y, X_TEST, Y_TEST, measures=parts)
    labels = np.argmax(SPEC.apply(PARAMS, np.concatenate([X, X_TEST])), axis=1)
    kernel = fv.nngp_kernel(SPEC, np.concatenate([X, X_TEST]))
    by_ep = fv.log_volume(kernel, labels, method="ep_corrected", classes=3)
    name = "measure.log_volume.heaviside"
    assert found[name] == pytest.approx(by_ep.ep, abs=1e-3)
    assert (
        abs(found[f"{name}.estimate"] - by_ep.log_volume) < 0.05 + 4 * found[f"{name}.estimate.se"]
    )
    assert found["is.certified.heaviside"]
    assert found["measure.error.train"] == np.mean(labels[:10] != Y)
    assert found["measure.error.test"] == np.mean(labels[10:] != Y_TEST)
    assert not any(key.startswith("is.fault") for key in found.to_dict())
    assert "nats" in str(found)


def test_labels_and_networks_that_do_not_fit_are_named():
    only = {"measures": ("baselines",)}
    with pytest.raises(ValueError, match=r"y: got the values .*wanted whole numbers 0 to 2"):
        fv.measure(SPEC, PARAMS, X, 2 * (Y % 2) - 1, **only)
    with pytest.raises(ValueError, match="noise: got 0.1 with a network of 3 outputs"):
        fv.measure(SPEC, PARAMS, X, Y, noise=0.1, **only)
    one = fv.FCN((5,))
    with pytest.raises(ValueError, match="or take a network with an output for each"):
        fv.measure(one, one.init(jax.random.key(0), (3,)), X, Y, **only)


def test_a_module_of_another_framework_is_one_of_its_logits():
    net = nn.Sequential((nn.Dense(4), nn.relu, nn.Dense(3)))
    params = net.init(jax.random.key(0), X)
    kernel = fv.nngp_kernel(SPEC, np.concatenate([X, X_TEST]))
    found = fv.measure(net, params, X, Y, X_TEST, kernel=kernel, measures=("baselines",))
    assert found["measure.error.test"] is None
    wrong = np.argmax(net.apply(params, X), axis=1) != Y
    assert found["measure.error.train"] == np.mean(wrong)
    assert "3 outputs" in str(found)
