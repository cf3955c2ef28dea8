"""The array shapes that annotations state, checked at run time in calls of every kind."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("beartype")

HELPERS = Path(__file__).parent / "helpers"
# Its own process: the checker is built into modules while they are imported.
PROGRAM = """
from jaxtyping import TypeCheckError, install_import_hook

rooms = ["flatvol_jax.volume", "flatvol_jax.flatness", "flatvol_jax.kernels"]
with install_import_hook(rooms, "run_time_types.check"):
    import flatvol_jax as fv
    from flatvol_jax.flatness import normalized_sharpness, rescale
    from flatvol_jax.kernels import conditioning
    from flatvol_jax.volume.posterior import gaussian_posterior

import jax
import jax.numpy as jnp
import numpy as np

x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
y = np.array([1, -1, 1, 1, -1])
kernel = fv.nngp_kernel(fv.FCN((8,)), x)
conditioning(kernel)
found = fv.log_volume(kernel, np.stack([y, -y]), method="ep_corrected")
fv.prior_bound(found.log_volume, 5, 0.05, 2)
fv.log_volume(kernel, np.array([0, 1, 2, 0, 1]), classes=3)
fv.log_evidence(kernel, x.T, 0.1)

params = {"w": np.ones((3, 2)), "v": np.ones((2, 1))}


def loss(p):
    return jnp.mean((jnp.tanh(x @ p["w"]) @ p["v"] - y[:, None]) ** 2)


fv.hessian_measures(jax.random.key(0), loss, params, k=2)
normalized_sharpness({"w": params["w"], "v": params["v"]}, params, [("w",), ("v",)])
rescale(params, [("w",)], [("v",)], np.array([1.0, 2.0]))

try:
    gaussian_posterior(kernel, np.ones(4), np.ones(5))
except TypeCheckError as error:
    assert "precision" in str(error)
else:
    raise SystemExit("a precision of another length passed")
"""


def test_public_calls_keep_to_the_shapes_of_their_annotations():
    path = [str(HELPERS), str(HELPERS.parents[1])]
    program = f"import sys\nsys.path[:0] = {path!r}\n{PROGRAM}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
