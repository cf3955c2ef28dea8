"""Work dealt out to devices; several of them are simulated in another process."""

import os
import subprocess
import sys

import jax
import pytest

from flatvol_jax.runtime.spread import spread, usable_devices

THREE = """
import threading
import jax
import jax.numpy as jnp
from flatvol_jax.runtime.spread import spread, usable_devices

devices = jax.local_devices()
assert len(devices) == 3 and usable_devices() == devices
together = threading.Barrier(3, timeout=60)  # passes only if three tasks run at a time
found, caller = {}, threading.get_ident()

def task(i):
    if i < 3:
        together.wait()
    x = jnp.arange(4.0) * i
    (device,) = x.devices()
    assert usable_devices() == [device]
    return i, device, float(x.sum())

def done(result):
    assert threading.get_ident() == caller
    found[result[0]] = result[1:]

spread([lambda i=i: task(i) for i in range(8)], done)
assert {i: value for i, (_, value) in found.items()} == {i: 6.0 * i for i in range(8)}
assert {device for device, _ in found.values()} == set(devices)

def failing(i):
    if i == 1:
        raise ValueError("task 1")
    return i

try:
    spread([lambda i=i: failing(i) for i in range(100)], lambda i: None)
except ValueError as error:
    assert str(error) == "task 1"
else:
    raise AssertionError
"""


def test_with_one_device_tasks_follow_one_another_here():
    order = []
    spread([lambda i=i: order.append(i) or i for i in range(3)], order.append)
    assert order == [0, 0, 1, 1, 2, 2]


def test_a_failure_ends_it():
    def fail():
        raise ValueError("no")

    done = []
    with pytest.raises(ValueError, match="no"):
        spread([lambda: 1, fail, lambda: 2], done.append)
    assert done == [1]


def test_a_default_device_is_the_only_one():
    device = jax.local_devices()[0]
    with jax.default_device(device):
        assert usable_devices() == [device]


def test_three_devices_work_at_once():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=3"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", THREE], env=environment, check=True, timeout=120)
