"""What the first call costs in a new process, with and without programs that are kept on disk.

    python -m benchmarks.first_calls [log_volume sharpness hessian_measures]

User CPU seconds of whole processes, which import the library and make one call: the first process
finds no compiled program, the second those of the first (`fv.keep_compiled_programs`). Target: the
second within 3 s. "numpy" is a process that imports JAX and adds two numbers.
"""

import os
import subprocess
import sys
import tempfile

from benchmarks.startup import cpu_seconds

_BEGIN = """
import jax, jax.numpy as jnp, numpy as np
import flatvol_jax as fv
fv.keep_compiled_programs()
rng = np.random.default_rng(0)
x, y = rng.normal(size=(200, 20)), rng.choice([-1.0, 1.0], 200)
params = {"w1": rng.normal(size=(20, 60)) / 4, "w2": rng.normal(size=60) / 8}
def loss(params):
    out = jax.nn.relu(x @ params["w1"]) @ params["w2"]
    return jnp.mean(jnp.logaddexp(0.0, -y * out))
"""
CALLS = {
    "numpy": "import jax.numpy as jnp; float(jnp.add(1.0, 1.0))",
    "log_volume": _BEGIN + "fv.log_volume(np.eye(200) + x @ x.T / 20, y.astype(int))",
    "certified": _BEGIN
    + "fv.log_volume(np.eye(200) + x @ x.T / 20, y.astype(int), method='certified', "
    "key=jax.random.key(0))",
    "sharpness": _BEGIN + "fv.sharpness(loss, params, 1e-3)",
    "hessian_measures": _BEGIN + "fv.hessian_measures(jax.random.key(0), loss, params)",
}


def main(names: list[str]) -> None:
    """Print a line a call."""
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
            os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.05"
            first, second = (cpu_seconds(["-c", CALLS[name]]) for _ in range(2))
        print(f"{name:18} first process {first:.1f} s, second {second:.1f} s", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:] or list(CALLS))
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
