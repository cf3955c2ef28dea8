"""Arrays cut over devices; several of them are simulated in another process."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

from flatvol_jax.runtime.placement import over_devices

THREE = """
import jax
import numpy as np
from flatvol_jax.runtime.placement import over_devices

devices = jax.local_devices()
assert len(devices) == 3
tree = {"x": np.arange(12.0).reshape(6, 2), "y": jax.numpy.arange(9)}
placed = over_devices(tree)
for name, rows in (("x", 2), ("y", 3)):
    shards = {shard.device: shard.data for shard in placed[name].addressable_shards}
    assert list(shards) == devices
    for i, device in enumerate(devices):
        np.testing.assert_array_equal(shards[device], tree[name][i * rows : (i + 1) * rows])
columns = over_devices(np.ones((2, 6)), axis=-1)
assert {shard.data.shape for shard in columns.addressable_shards} == {(2, 2)}
try:
    over_devices(np.ones((8, 2)))
except ValueError as error:
    assert "got 8 rows for 3 devices" in str(error)
    assert "Leave 2 rows out, or add 1" in str(error)
else:
    raise AssertionError
with jax.default_device(devices[1]):
    assert over_devices(np.ones((8, 2))).devices() == {devices[1]}
"""


@pytest.mark.parametrize("x64", [False, True])
def test_dtypes_stay_whatever_the_callers_setting(x64):
    types = np.float64, np.float32, np.int64, np.int8
    with jax.enable_x64(x64):
        placed = over_devices([np.ones(4, dtype) for dtype in types])
    assert [leaf.dtype for leaf in placed] == list(types)


@pytest.mark.parametrize(("shape", "axis"), [((), 0), ((3,), 1), ((3,), -2)])
def test_an_array_without_the_axis_is_refused(shape, axis):
    with pytest.raises(ValueError, match=f"wanted an axis {axis}"):
        over_devices(np.ones(shape), axis)


def test_each_device_holds_its_rows_only():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=3"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", THREE], env=environment, check=True, timeout=120)
