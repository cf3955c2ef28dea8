"""Samples shared out over devices: the same samples, the same kernel, the same files."""

import os
import subprocess
import sys

import jax
import numpy as np

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


def test_two_devices_give_the_kernel_of_one(tmp_path, monkeypatch):
    x = np.random.default_rng(0).random((30, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, check=True)
    key, fcn, cnn = jax.random.key(5), fv.FCN((20, 10)), fv.CNN((4, 6), image_shape=(2, 3))
    with np.load(tmp_path / "found.npz") as found:
        # float32 rounding of the features, should the devices' programs differ.
        one = fv.monte_carlo_kernel(key, fcn, x, 21)
        np.testing.assert_allclose(found["fcn"], one, rtol=1e-6)
        np.testing.assert_allclose(found["cnn"], fv.monte_carlo_kernel(key, cnn, x, 11), rtol=1e-6)
        groups = monte_carlo_estimate(key, fcn, x, 21, groups=4).group_kernels
        np.testing.assert_allclose(found["groups"], groups, rtol=1e-6)

    counts, sample_features = [], monte_carlo_sums.sample_features

    def counted(spec, x, keys):
        counts.append(len(keys))
        return sample_features(spec, x, keys)

    monkeypatch.setattr(monte_carlo_sums, "sample_features", counted)
    resumed = fv.monte_carlo_kernel(key, fcn, x, 21, tmp_path / "cache", block=4)
    assert counts == [9]
    np.testing.assert_allclose(resumed, one, rtol=1e-6)
