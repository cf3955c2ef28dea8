"""Haiku networks with a state and a flag."""

import jax
import numpy as np
import pytest
from twin_networks import X, prior_agrees

import flatvol_jax as fv

hk = pytest.importorskip("haiku", reason="pip install dm-haiku")
KEY = jax.random.key(0)


def test_haiku_with_a_state_and_a_flag():
    def forward(x, is_training):
        x = hk.BatchNorm(True, True, 0.9, name="norm")(hk.Linear(8)(x), is_training)
        return hk.Linear(1, name="readout")(jax.nn.relu(x))

    network = hk.transform_with_state(forward)
    params, state = network.init(KEY, X, is_training=True)
    _, state = network.apply(params, state, None, X, is_training=True)
    model = fv.as_model(network, X, params=params, state=state)
    wanted, _ = network.apply(params, state, None, X, is_training=False)
    np.testing.assert_allclose(model.apply(params, X, model.state), wanted[:, 0], rtol=1e-5)
    trained, moved = model.train_apply(params, state, X)
    wanted, after = network.apply(params, state, None, X, is_training=True)
    np.testing.assert_allclose(trained, wanted[:, 0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), moved, after)
    start = {name: float(np.ravel(s["average"])[0]) for name, s in model.init_state((3,)).items()}
    assert start == {"norm/~/mean_ema": 0.0, "norm/~/var_ema": 1.0}
    prior_agrees(model, X)
    assert model.sigma_w == pytest.approx(0.7737413**0.5)  # truncated without a correction
