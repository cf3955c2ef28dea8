"""A linen and an nnx network with the same weights are one network: outputs, kernel, measures."""

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax import nnx

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3)).astype(np.float32)
Y = np.where(RNG.normal(size=12) > 0, 1.0, -1.0)
normal = nn.initializers.normal


class Linen(nn.Module):
    @nn.compact
    def __call__(self, x, train=False):
        x = nn.Dense(6, kernel_init=normal(0.6), bias_init=normal(0.3), name="hidden")(x)
        x = nn.relu(nn.BatchNorm(not train, momentum=0.9, name="norm")(x))
        self.sow("intermediates", "features", x)
        return nn.Dense(1, name="readout")(x)


class Nnx(nnx.Module):
    def __init__(self, rngs):
        own = {"kernel_init": normal(0.6), "bias_init": normal(0.3)}
        self.hidden = nnx.Linear(3, 6, rngs=rngs, **own)
        self.norm = nnx.BatchNorm(6, momentum=0.9, rngs=rngs)
        self.readout = nnx.Linear(6, 1, rngs=rngs)

    def __call__(self, x):
        x = nnx.relu(self.norm(self.hidden(x)))
        self.sow(nnx.Intermediate, "features", x)
        return self.readout(x)


SPECS = [
    fv.FlaxModel(module, "features", sigma_w=1.0, sigma_b=0.0)
    for module in (Linen(), nnx.bridge.to_linen(Nnx))
]
PARAMS = jax.tree.map(np.asarray, SPECS[0].init(KEY, (3,)))
STATE = jax.tree.map(
    lambda leaf: np.asarray(leaf) + RNG.uniform(0.1, 0.5, leaf.shape).astype(np.float32),
    SPECS[0].init_state((3,)),
)


def test_parameters_outputs_and_features_are_the_same():
    shapes = [jax.tree.map(np.shape, (s.init(KEY, (3,)), s.init_state((3,)))) for s in SPECS]
    assert shapes[0] == shapes[1]
    for call in ("apply", "features"):
        found = [getattr(spec, call)(PARAMS, X, STATE) for spec in SPECS]
        np.testing.assert_allclose(*found, rtol=1e-6)
    trained = [spec.train_apply(PARAMS, STATE, X) for spec in SPECS]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), *trained)


@pytest.mark.parametrize("reference", [None, X])
def test_kernels_are_the_same_within_their_errors(reference):
    one, other = (
        monte_carlo_estimate(key, spec, X, samples=1200, groups=12, reference=reference)
        for key, spec in zip(jax.random.split(KEY), SPECS, strict=True)
    )
    error = np.hypot(one.standard_error, other.standard_error)
    assert np.sqrt(np.mean(((one.kernel - other.kernel) / error) ** 2)) < 2.5
    assert np.linalg.norm(error) < 0.1 * np.linalg.norm(one.kernel)


def test_sharpness_and_spectrum_are_the_same():
    state = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), STATE)
    x = X.astype(np.float64)
    losses = [
        lambda p, spec=spec: jax.nn.softplus(-Y * spec.apply(p, x, state)).mean() for spec in SPECS
    ]
    spectra = [fv.hessian_eigenvalues(KEY, loss, PARAMS, 4).values for loss in losses]
    np.testing.assert_allclose(*spectra, rtol=1e-9)
    sharp = [fv.sharpness(loss, PARAMS, 1e-3, method="sign").value for loss in losses]
    assert sharp[0] == pytest.approx(sharp[1], rel=1e-9)
