"""Beside a TPU float64 work runs on the host's CPU; a second CPU device stands in for the TPU."""

import os
import subprocess
import sys

import jax

from flatvol_jax.runtime.precision import float64_device

SCRIPT = """
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import flatvol_jax as fv
from flatvol_jax.runtime import precision

host, accelerator = jax.local_devices()
seen = set()


@precision.float64_scope
def where(argument, text, loss):
    made = jnp.ones(4)
    assert made.dtype == jnp.float64 and text == "as it is"
    seen.update(made.devices(), argument["x"].devices(), (argument["x"] * made).devices())
    seen.update(loss(made).devices())


rng = np.random.default_rng(0)
x = rng.normal(size=(20, 4)).astype(np.float32)
y = np.where(rng.normal(size=20) > 0, 1, -1)
spec = fv.FCN((6,))


def mean_loss(x, y, params):
    return jax.nn.softplus(-y * spec.apply(params, x)).mean()


def numbers(x, y, params):
    kernel = fv.nngp_kernel(spec, x)
    loss = Partial(mean_loss, x, y)
    return [
        kernel,
        fv.log_volume(kernel, y).log_volume,
        fv.log_volume(kernel, y, method="certified", key=jax.random.key(1)).log_volume,
        fv.sharpness(loss, params, 1e-3).value,
        fv.hessian_measures(jax.random.key(0), loss, params, k=3).eigenvalues,
    ]


params = spec.init(jax.random.key(0), (4,))
wanted = numbers(x, y, params)
precision.float64_device = lambda: host
with jax.default_device(accelerator):
    there = jax.device_put((x, y, params), accelerator)
    where({"x": there[0], "none": None}, "as it is", Partial(lambda a, b: a[0, 0] * b, there[0]))
    assert seen == {host}, seen
    found = numbers(*there)
    assert jnp.ones(3).devices() == {accelerator}  # the scope left the caller's choice alone
for a, b in zip(wanted, found, strict=True):
    np.testing.assert_array_equal(a, b)
"""


def test_arrays_and_programs_are_on_the_host():
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", SCRIPT], env=environment, check=True, timeout=300)


def test_only_a_tpu_has_its_float64_elsewhere(monkeypatch):
    assert float64_device() is None
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert float64_device().platform == "cpu"
