"""Flatness over several simulated devices, in another process: the numbers of one device."""

import os
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import flatvol_jax as fv

assert jax.local_device_count() == 4
rng = np.random.default_rng(0)
x, y = rng.normal(size=(64, 6)), np.where(rng.normal(size=64) > 0, 1.0, -1.0)
spec = fv.FCN((5,))
members = [spec.init(jax.random.key(i), (6,)) for i in range(6)]


def mean_loss(x, y, params):
    return jax.nn.softplus(-y * spec.apply(params, x)).mean()


def close(a, b, rtol=1e-10):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=1e-13)


# One network, its data over all devices.
on_all = fv.over_devices((x, y))
assert on_all[0].dtype == np.float64
assert {shard.data.shape for shard in on_all[0].addressable_shards} == {(16, 6)}
whole, parts = Partial(mean_loss, x, y), Partial(mean_loss, *on_all)
with jax.enable_x64(True):
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), members[0])
    text = jax.jit(jax.grad(lambda loss, p: loss(p), 1)).lower(parts, params).compile().as_text()
assert "all-reduce" in text  # the gradient is summed over devices ...
assert "f64[16,6]" in text and "f64[64,6]" not in text  # ... each of which has its own examples

for method in ("best", "sign"):
    one = fv.sharpness(whole, members[0], 1e-3, method)
    many = fv.sharpness(parts, members[0], 1e-3, method)
    close(one.value, many.value, 1e-6 if method == "best" else 1e-10)  # L-BFGS-B's own path
    close(one.loss, many.loss)
key = jax.random.key(1)
one, many = (fv.hessian_eigenvalues(key, loss, members[0], 5) for loss in (whole, parts))
close(one.values, many.values)
one, many = (fv.hessian_measures(key, loss, members[0], k=5) for loss in (whole, parts))
close(one.spectral_norm, many.spectral_norm)
close(one.trace, many.trace)

# Many networks, shared out; six of them on four devices.
stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
shared = fv.flatness.ensemble_sharpness(whole, stacked, 1e-3)
with jax.default_device(jax.local_devices()[2]):
    alone = fv.flatness.ensemble_sharpness(whole, stacked, 1e-3)
assert shared.value.shape == (6,)
close(shared.value, alone.value)
close(shared.history, alone.history)

try:
    fv.over_devices(x[:63])
except ValueError as error:
    assert "got 63 rows for 4 devices" in str(error)
else:
    raise AssertionError
"""


def run(script):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True, timeout=300)


def test_numbers_are_those_of_one_device():
    run(SCRIPT)


def test_the_example_of_the_docs_runs():
    (snippet,) = re.findall(r"```python\n(.*?)```", (DOCS / "devices.md").read_text(), re.DOTALL)
    run(snippet)
