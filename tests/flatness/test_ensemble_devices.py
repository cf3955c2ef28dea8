"""An ensemble dealt out to several devices, simulated in another process."""

import os
import subprocess
import sys

SCRIPT = """
import sys
import threading
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
import flatvol_jax as fv
from flatvol_jax.flatness import _sharpness as module
from flatvol_jax.runtime import spread as dealing

devices, caller = jax.local_devices(), threading.get_ident()
assert len(devices) == 3
rng = np.random.default_rng(0)
x, y = rng.normal(size=(24, 5)), rng.choice([-1.0, 1.0], 24)
params = {"w": rng.normal(size=(7, 5, 6)) / 2, "v": rng.normal(size=(7, 6)) / 3}

def mean_loss(x, y, params):
    return jnp.mean(jax.nn.softplus(-y * (jax.nn.relu(x @ params["w"]) @ params["v"])))

usable_devices, ensemble, used = dealing.usable_devices, module._ensemble, []

def seen(*arguments):
    found = ensemble(*arguments)
    used.append((threading.get_ident(), frozenset(found[2].devices())))
    return found

module._ensemble = seen

def measure(*data):
    used.clear()
    loss = Partial(mean_loss, *data)
    return fv.flatness.ensemble_sharpness(loss, params, 1e-3, batch_size=2)

def same(found, wanted):
    for name, value in wanted._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)

with jax.default_device(devices[0]):
    one = measure(x, y)
assert used == 4 * [(caller, {devices[0]})]
for few in (2, 3):
    dealing.usable_devices = lambda: devices[:few]
    same(measure(x, y), one)
    assert len(used) == 4 and {d for _, (d,) in used} == set(devices[:few]), used
dealing.usable_devices = usable_devices

sharded = measure(*fv.over_devices((x, y)))
assert used == 4 * [(caller, set(devices))]
np.testing.assert_allclose(sharded.value, one.value, rtol=1e-10)
"""


def test_one_two_and_three_devices_give_the_same_bits():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=3"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=240)
