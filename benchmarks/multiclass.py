"""log V(f) of ten classes of digits against one float64 GEMM of the same size, in one run.

    OPENBLAS_NUM_THREADS=1 python -m benchmarks.multiclass [n ...]     1500, 500, 200 if left out

In processor time, of one core where the thread variables say so. EP: from nothing to 1e-6 nats of
the fixed point, checks of the kernel included. Dense: the same by the covariance of the n(C-1)
differences, for n up to 300. Certified: all of it, with 2,048 particles. Compilation is not
counted. Peak memory is that of EP of the first size, beyond what the process held with the kernel,
in matrices of n² float64, the kernel included.

Limits: EP at n = 1500 at most 25 C GEMMs and C + 6 matrices; certified within twice EP; at n = 200
the dense reduction at least 20 times slower.
"""

import resource
import sys
import time

import jax
import numpy as np

import flatvol_jax as fv
from flatvol_jax.volume.ep import Cavities, Marginals
from flatvol_jax.volume.host_ep import expectation_propagation_on_host, iterated_on_host
from flatvol_jax.volume.multiclass.differences import (
    class_problem,
    difference_covariance,
    starting_cavities,
)

CLASSES, PARTICLES, REPLICATES = 10, 128, 16
_DENSE = 300


def main(n: int, first: bool) -> None:
    """Print one line a step; memory only where nothing larger was held before."""
    dataset = fv.data.load("mnist5k")
    rows = np.random.default_rng(0).permutation(len(dataset.x))[:n]
    x = fv.data.preprocess(dataset.x[rows], "unit", dataset.x[rows])
    kernel, labels = fv.nngp_kernel(fv.FCN(), x), np.asarray(dataset.y[rows], int)
    gemm = min(_processor_seconds(np.matmul, kernel, kernel)[1] for _ in range(5))
    print(f"n = {n}, C = {CLASSES}: one GEMM {gemm:.4f} s")

    def line(text, cost, value):
        print(f"  {text:10} {cost / gemm:8.1f} GEMMs {cost:8.2f} s   {value}", flush=True)

    _compile_updates(n * (CLASSES - 1))
    resting = _peak()
    ep, cost = _processor_seconds(_volume, kernel, labels, "ep")
    line("EP", cost, f"{ep.ep:.6f}, {ep.iterations} iterations, {cost / gemm / CLASSES:.1f} C")
    if first:
        print(f"  peak memory {(_peak() - resting) / (8 * n**2) + 1:.1f} n² float64")
    if n <= _DENSE:
        problem = class_problem(kernel, labels, CLASSES)
        covariance, start = difference_covariance(problem), starting_cavities(problem, None)
        ones = np.ones(len(covariance))
        with jax.enable_x64(True):
            dense, slow = _processor_seconds(
                expectation_propagation_on_host, covariance, ones, start, 1e-6, 200
            )
        line("dense", slow, f"{float(dense.log_volume):.6f}, {slow / cost:.0f} times EP")
    _volume(kernel, labels, "certified")  # compiles
    found, cost = _processor_seconds(_volume, kernel, labels, "certified")
    line("certified", cost, f"{found.log_volume:.3f} ± {found.standard_error:.3f}, {found.status}")


def _compile_updates(size: int) -> None:
    """Compile EP's updates of so many differences without the memory of its matrices."""
    ones = np.ones(size)

    def marginals(_):
        return Marginals(0.0 * ones, 0.5 * ones, np.float64(0.0))

    with jax.enable_x64(True):
        iterated_on_host(ones, marginals, ones, Cavities(0.0 * ones, ones), 1e-6, 200)


def _volume(kernel: np.ndarray, labels: np.ndarray, method: str) -> fv.volume.LogVolume:
    return fv.log_volume(
        kernel,
        labels,
        method=method,
        key=jax.random.key(0),
        tolerance=1e-6,
        classes=CLASSES,
        particles=PARTICLES,
        replicates=REPLICATES,
    )


def _processor_seconds(function, *arguments):
    """Return the result of a call and the processor time that it took."""
    began = time.process_time()
    result = jax.block_until_ready(function(*arguments))
    return result, time.process_time() - began


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    for place, argument in enumerate(sys.argv[1:] or ("1500", "500", "200")):
        main(int(argument), place == 0)
