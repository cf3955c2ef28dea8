"""EP at n = 1500 on real MNIST against one float64 GEMM of that size, measured in one run.

    python -m benchmarks.ep [n]

Cold: from nothing to 1e-6 nats of the fixed point; at most 15 GEMMs. Warm: after ten changed
labels; at most 10 GEMMs for Heaviside, 4 for probit. Compilation is not counted, checking the
kernel (once a call, about two GEMMs) is not EP and is not counted either.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np

import flatvol_jax as fv
from benchmarks.timing import seconds
from flatvol_jax.volume.ep import expectation_propagation, prior_cavities
from flatvol_jax.volume.links import LINK_VARIANCE


def main(n: int) -> None:
    """Print one line for each link and start."""
    dataset = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
    rows = np.random.default_rng(0).permutation(len(dataset.x))[:n]
    kernel = fv.nngp_kernel(fv.FCN(), dataset.x[rows])
    labels = dataset.y[rows].astype(np.float64)
    changed = labels.copy()
    changed[np.random.default_rng(1).choice(n, 10, replace=False)] *= -1
    with jax.enable_x64(True):
        kernel = jnp.asarray(kernel)
        gemm = seconds(jax.jit(jnp.matmul), kernel, kernel)
        print(f"n = {n}, one float64 GEMM {gemm:.3f} s")
        for link, variance in LINK_VARIANCE.items():

            def run(y, start, variance=variance):
                return expectation_propagation(kernel, y, variance, start, 1e-6, 200)

            cold = run(labels, prior_cavities(kernel))
            for name, y, start in [
                ("cold", labels, prior_cavities(kernel)),
                ("warm", changed, cold.cavities),
            ]:
                result, cost = run(y, start), seconds(run, y, start)
                print(
                    f"{link:9} {name}: {cost / gemm:5.1f} GEMMs, {int(result.iterations)} "
                    f"factorisations, log V = {float(result.log_volume):.6f}, "
                    f"residual {float(result.residual):.1e} nats"
                )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1500)
