"""Where the accelerator has no fast float64, every program of float64 work runs on the host.

A second CPU device stands for the accelerator: it is JAX's default and holds the arguments. Every
compiled program of the rooms reports the devices that its results lie on.
"""

import os
import subprocess
import sys

import jax
import pytest

from flatvol_jax.runtime import precision

SCRIPT = """
import sys
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

host, accelerator = jax.local_devices()
jax.config.update("jax_default_device", accelerator)
seen = {}


class Watched:
    def __init__(self, name, program):
        self.name, self.program = name, program

    def __call__(self, *args, **kwargs):
        found = self.program(*args, **kwargs)
        for leaf in jax.tree.leaves(found):
            if isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer):
                seen.setdefault(self.name, set()).update(leaf.devices())
        return found

    def __getattr__(self, name):
        return getattr(self.program, name)


import flatvol_jax as fv
from flatvol_jax import flatness, volume  # before their programs are watched
from flatvol_jax.kernels import analytic
from flatvol_jax.runtime import precision

for name, module in list(sys.modules.items()):
    if name.startswith(("flatvol_jax.flatness.", "flatvol_jax.volume.")):
        for attribute, value in list(vars(module).items()):
            if hasattr(value, "lower") and hasattr(value, "trace"):
                setattr(module, attribute, Watched(f"{name}.{attribute}", value))
kernel_function = analytic._kernel_function
analytic._kernel_function = lambda layers: Watched("kernel", kernel_function(layers))


def programs(names):
    "Public functions on arguments that are committed to the accelerator."
    seen.clear()

    def put(array):
        return jax.device_put(np.asarray(array, np.float32), accelerator)

    rng = np.random.default_rng(0)
    x, y = put(rng.normal(size=(12, 3))), put(np.where(rng.normal(size=12) > 0, 1, -1))
    params = {"w": put(rng.normal(size=(3, 4))), "v": put(rng.normal(size=4))}
    key = jax.device_put(jax.random.key(0), accelerator)

    def outputs(x, p):
        return jnp.tanh(x @ p["w"]) @ p["v"]

    def example(x, p, i):
        return outputs(x[i][None], p)[0]

    def mean(y, f):
        return jnp.mean(jnp.logaddexp(0.0, -y * f))

    def batch_loss(p, batch):
        return mean(batch[1], outputs(batch[0], p))

    loss = fv.flatness.composed(Partial(mean, y), Partial(outputs, x))
    closure = lambda p: mean(y, outputs(x, p))
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), params)
    kernel = fv.nngp_kernel(fv.FCN((8,)), x)
    f, few = fv.flatness, {"steps": 40, "burn_in": 10, "chains": 2, "thin": 10}
    inside = Partial(lambda x, p: jnp.all(jnp.abs(outputs(x, p)) < 50), x)
    prior = jax.tree.map(np.ones_like, jax.device_get(params))
    asked = {
        "kernel": lambda: kernel,
        "ep": lambda: fv.log_volume(kernel, y).log_volume,
        "estimate": lambda: fv.estimate_log_volume(key, kernel, y, particles=8).log_volume,
        "splitting": lambda: fv.volume.splitting_log_volume(
            key, kernel[:4, :4], y[:4], particles=20, steps=2, replicates=2
        ).log_volume,
        "sharpness": lambda: fv.sharpness(loss, params, 1e-2).value,
        "lbfgsb": lambda: fv.sharpness(closure, params, 1e-2, method="lbfgsb").value,
        "ensemble": lambda: f.ensemble_sharpness(loss, stacked, 1e-2).value,
        "sgd": lambda: fv.sgd_sharpness(key, batch_loss, params, (x, y), 1e-2, 5, 0.1, 2).value,
        "adaptive": lambda: f.adaptive_sharpness(loss, params, 0.1, "2", key).value,
        "average": lambda: f.average_sharpness(key, loss, params, 0.1, samples=2).value,
        "hessian": lambda: fv.hessian_measures(key, loss, params, k=3).eigenvalues,
        "eigenvalues": lambda: fv.hessian_eigenvalues(key, closure, params, k=3).values,
        "density": lambda: f.spectral_density(key, loss, params, 2, 4).nodes,
        "diagonal": lambda: f.gauss_newton_diagonal(loss, params, Partial(example, x))["w"],
        "relative": lambda: f.relative_flatness(key, loss, params, ("w",)).value,
        "fisher": lambda: f.fisher_rao_norm(Partial(outputs, x), params).norm,
        "coefficient": lambda: f.learning_coefficient(
            key, batch_loss, params, (x, y), step_size=1e-3, localization=1.0, **few
        ).value,
        "basin": lambda: f.basin_volume(key, inside, params, prior, directions=4).log_volume,
    }
    return {name: asked[name]() for name in (names or asked)}


names = sys.argv[1:]
plain = programs(names[-1:])
assert set.union(*seen.values()) == {accelerator}, seen
precision.float64_device = lambda: host
moved = programs(names)
assert len(seen) >= (5 if names else 20), list(seen)
for name, devices in seen.items():
    assert devices == {host}, (name, devices)
for name, value in moved.items():
    assert isinstance(value, (float, np.ndarray)), (name, type(value))
    if name in plain:
        np.testing.assert_array_equal(value, plain[name], err_msg=name)
"""


@pytest.mark.parametrize(
    "names",
    [
        ("kernel", "ep", "sharpness", "hessian"),
        pytest.param((), id="all", marks=pytest.mark.slow),
    ],
)
def test_float64_work_runs_on_the_host(names):
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=2"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr[-3000:]


@pytest.mark.parametrize("platform", ["cpu", "gpu"])
def test_a_device_with_float64_keeps_it(monkeypatch, platform):
    monkeypatch.setattr(jax, "default_backend", lambda: platform)
    assert precision.float64_device() is None


def test_a_tpu_has_the_host_for_it(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert precision.float64_device() == jax.local_devices(backend="cpu")[0]


def test_a_tpu_alone_is_refused(monkeypatch):
    def no_cpu(backend):
        raise RuntimeError(f"Unknown backend {backend}")

    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    monkeypatch.setattr(jax, "local_devices", no_cpu)
    with pytest.raises(ValueError, match="JAX_PLATFORMS=tpu,cpu"):
        precision.float64_device()


def test_the_scope_leaves_the_callers_settings_alone(monkeypatch):
    host = jax.local_devices(backend="cpu")[0]
    monkeypatch.setattr(precision, "float64_device", lambda: host)
    before = jax.config.jax_enable_x64, jax.config.jax_default_device

    @precision.float64_scope
    def inside():
        return jax.config.jax_enable_x64, jax.config.jax_default_device

    assert inside() == (True, host)
    assert (jax.config.jax_enable_x64, jax.config.jax_default_device) == before
