"""Samples shared out over devices: the same samples, the same kernel, the same files."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_sums

SCRIPT = """
import sys
import jax
import numpy as np
import flatvol_jax as fv
from flatvol_jax.kernels import monte_carlo_estimate, monte_carlo_sums

assert jax.local_device_count() == 2
folder = sys.argv[1]
x = np.load(folder + "/x.npy")
key, fcn = jax.random.key(5), fv.FCN((20, 10))
cnn = fv.CNN((4, 6), image_shape=(2, 3))
np.savez(
    folder + "/found.npz",
    fcn=fv.monte_carlo_kernel(key, fcn, x, 21),
    cnn=fv.monte_carlo_kernel(key, cnn, x, 11),
    groups=monte_carlo_estimate(key, fcn, x, 21, groups=4).group_kernels,
)
monte_carlo_sums._SECONDS = 0.0

def progress(done, total):
    if done >= 12:
        sys.exit()

fv.monte_carlo_kernel(key, fcn, x, 21, folder + "/cache", progress, block=4)
"""

NORMALISED = """
import sys
import jax
import numpy as np
import flatvol_jax as fv

assert jax.local_device_count() == 2
folder = sys.argv[1]
x = np.load(folder + "/x.npy")
spec = fv.ResNet(18, "cifar", width=2, image_shape=(2, 3))
np.save(folder + "/found.npy", fv.monte_carlo_kernel(jax.random.key(5), spec, x, 3, reference=x))
"""


def on_two_devices(script, folder, x):
    np.save(folder / "x.npy", x)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script, str(folder)], env=environment, check=True)


@pytest.mark.slow
def test_two_devices_share_the_reference(tmp_path):
    x = np.random.default_rng(0).random((8, 6)).astype(np.float32)
    on_two_devices(NORMALISED, tmp_path, x)
    spec = fv.ResNet(18, "cifar", width=2, image_shape=(2, 3))
    wanted = fv.monte_carlo_kernel(jax.random.key(5), spec, x, 3, reference=x)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), wanted, rtol=1e-3)


def test_two_devices_give_the_kernel_of_one(tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((30, 6)).astype(np.float32)
    on_two_devices(SCRIPT, tmp_path, x)
    key, fcn, cnn = jax.random.key(5), fv.FCN((20, 10)), fv.CNN((4, 6), image_shape=(2, 3))
    with np.load(tmp_path / "found.npz") as found:
        # float32 rounding of the features, should the devices' programs differ.
        one = fv.monte_carlo_kernel(key, fcn, x, 21)
        np.testing.assert_allclose(found["fcn"], one, rtol=1e-6)
        np.testing.assert_allclose(found["cnn"], fv.monte_carlo_kernel(key, cnn, x, 11), rtol=1e-6)
        groups = monte_carlo_estimate(key, fcn, x, 21, groups=4).group_kernels
        np.testing.assert_allclose(found["groups"], groups, rtol=1e-6)

    counts, sample_features = [], monte_carlo_sums.sample_features

    def counted(spec, x, keys, reference):
        counts.append(len(keys))
        return sample_features(spec, x, keys, reference)

    monkeypatch.setattr(monte_carlo_sums, "sample_features", counted)
    resumed = fv.monte_carlo_kernel(key, fcn, x, 21, tmp_path / "cache", block=4)
    assert counts == [9]
    np.testing.assert_allclose(resumed, one, rtol=1e-6)
