"""Blocks of the analytic kernel dealt out to devices: the same blocks, the same bits."""

import os
import subprocess
import sys

import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.kernels import analytic, blocks

SCRIPT = """
import functools
import sys
import jax
import numpy as np
import flatvol_jax as fv
from flatvol_jax.kernels import analytic, blocks

assert jax.local_device_count() == 3
steps = []
analytic.in_blocks = functools.partial(blocks.in_blocks, block_bytes=3000)
x, spec = np.load(sys.argv[1]), fv.FCN((8, 8))
kernel = fv.nngp_kernel(spec, x, progress=lambda *at: steps.append(at))
assert steps == [(done, len(steps)) for done in range(1, len(steps) + 1)] and len(steps) >= 6
np.savez(sys.argv[2], symmetric=kernel, pairs=fv.nngp_kernel(spec, x, x[:11] + 1))
"""


def test_three_devices_make_the_kernel_of_one(tmp_path, monkeypatch):
    x, spec = np.random.default_rng(0).normal(size=(29, 3)), fv.FCN((8, 8))
    np.save(tmp_path / "x.npy", x)
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=3"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    arguments = [str(tmp_path / "x.npy"), str(tmp_path / "found.npz")]
    subprocess.run([sys.executable, "-c", SCRIPT, *arguments], env=environment, check=True)
    found = np.load(tmp_path / "found.npz")

    in_blocks = blocks.in_blocks
    monkeypatch.setattr(
        analytic, "in_blocks", lambda *a, **k: in_blocks(*a, **{**k, "block_bytes": 3000})
    )
    np.testing.assert_array_equal(found["symmetric"], fv.nngp_kernel(spec, x))
    np.testing.assert_array_equal(found["pairs"], fv.nngp_kernel(spec, x, x[:11] + 1))


def test_the_memory_of_a_block_on_each_device_is_asked_for(free, monkeypatch):
    free(2 * blocks.BLOCK_BYTES)
    x = np.random.default_rng(0).normal(size=(3, 2))
    fv.nngp_kernel(fv.FCN((8,)), x)
    monkeypatch.setattr(analytic, "usable_devices", lambda: [None, None])
    with pytest.raises(ValueError, match="x: got n = 3, whose work takes 1.5 GB"):
        fv.nngp_kernel(fv.FCN((8,)), x)
