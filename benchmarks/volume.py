"""log V(f) on real images against one float64 GEMM of the same size, measured in one run.

    python -m benchmarks.volume [n ...]           500, 1500 and 5000 unless given
    python -m benchmarks.volume cifar10:7000      cars against cats

Sizes above 5000 read the full MNIST; it and CIFAR-10 must be prepared (`TFDS_DATA_DIR`). Cold:
from nothing to 1e-6 nats of the fixed point. Warm: after ten changed labels. Corrected and
estimate: what they cost beyond EP. Compilation is not counted. Peak memory is that of the whole
process since the kernel was there, in matrices of n² float64, the kernel included.
"""

import resource
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

import flatvol_jax as fv
from benchmarks.timing import seconds
from flatvol_jax.kernels import prior_check
from flatvol_jax.volume import LINK_VARIANCE, checked_kernel
from flatvol_jax.volume.correction import second_order_correction
from flatvol_jax.volume.correlation import correlation_matrix
from flatvol_jax.volume.ep import prior_cavities
from flatvol_jax.volume.host_ep import expectation_propagation_on_host
from flatvol_jax.volume.host_posterior import gaussian_of_sites
from flatvol_jax.volume.repetitions import find_repetitions
from flatvol_jax.volume.sampling import sampling_estimate

PARTICLES, REPLICATES = 128, 16


def main(n: int, name: str = "") -> None:
    """Print one line for each link and step."""
    name = name or ("mnist5k" if n <= 5000 else "mnist")
    groups = "cars_cats" if name == "cifar10" else "mnist_halves"
    dataset = fv.data.binarise(fv.data.load(name), *fv.data.GROUPS[groups])
    rows = np.random.default_rng(0).permutation(len(dataset.x))[:n]
    preprocessing = "standardise" if name == "cifar10" else "unit"
    x = fv.data.preprocess(dataset.x[rows], preprocessing, dataset.x[rows])
    kernel = fv.nngp_kernel(fv.FCN(), x)
    labels = dataset.y[rows].astype(np.float64)
    changed = labels.copy()
    changed[np.random.default_rng(1).choice(n, 10, replace=False)] *= -1

    def measured(function, *arguments):
        """Return a call's result and seconds, the median of five, or of one of minutes."""
        if n <= 1500:
            return function(*arguments), seconds(function, *arguments)
        began = time.perf_counter()
        result = jax.block_until_ready(function(*arguments))
        return result, time.perf_counter() - began

    with jax.enable_x64(True):
        _, checking = measured(checked_kernel, kernel)
        correlations, scaling = measured(correlation_matrix, kernel)
        _, looking = measured(find_repetitions, correlations.__getitem__, n)
        kernel = jnp.asarray(kernel)
        resting = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        gemm = seconds(jax.jit(jnp.matmul), kernel, kernel, repeats=1 if n > 5000 else 5)
        print(f"n = {n}: one GEMM {gemm:.3f} s; checking the kernel {checking / gemm:.1f} GEMMs")

        def line(text, cost, value):
            print(f"  {text:20} {cost / gemm:6.1f} GEMMs {cost:8.2f} s   {value}", flush=True)

        for link, noise in LINK_VARIANCE.items():
            kernel = kernel + noise * jnp.eye(n)

            def ep(y, start, kernel=kernel):
                return expectation_propagation_on_host(kernel, y, start, 1e-6, 200)

            def correct(ep, kernel=kernel):
                posterior = gaussian_of_sites(kernel, *ep.sites)
                return second_order_correction(posterior.covariance, labels, ep.cavities)

            def estimate(ep, kernel=kernel):
                problem = (kernel, labels, ep, gaussian_of_sites(kernel, *ep.sites))
                return sampling_estimate(jax.random.key(0), *problem, "ep", PARTICLES, REPLICATES)

            cold, cost = measured(ep, labels, prior_cavities(kernel))
            line(f"{link} EP cold", cost, _summary(cold))
            if noise == 0:  # limit 2%
                print(f"  correlations and repetitions: {(scaling + looking) / cost:.2%} of that")
            warm, cost = measured(ep, changed, cold.cavities)
            line(f"{link} EP warm", cost, _summary(warm))
            correction, cost = measured(correct, cold)
            line(f"{link} corrected", cost, f"{float(cold.log_volume + correction.third):.6f}")
            found, cost = measured(lambda ep: estimate(ep)[:4], cold)
            line(f"{link} estimate", cost, f"{found[0]:.4f} ± {found[1]:.4f}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    matrix = 8 * n**2 / 1024
    print(f"  peak memory {(peak - resting) / matrix + 1:.1f} n² float64")
    sampled_kernel(x[:500])


def sampled_kernel(x: np.ndarray, samples: int = 200) -> None:
    """Print what the check of the prior costs beside the kernel whose networks it looks at."""
    spec, key = fv.FCN((64, 64)), jax.random.key(0)
    kernel = seconds(fv.monte_carlo_kernel, key, spec, x, samples)
    block, rows = 16, prior_check.checked_rows(len(x))
    generator = np.random.default_rng(0)
    features = np.maximum(generator.normal(size=(block, len(rows), 64)), 0).astype(np.float32)
    outputs = generator.normal(size=(block, len(rows))).astype(np.float32)
    check = seconds(prior_check.network_sums, features, outputs, spec.sigma_w, spec.sigma_b)
    share = check / block * min(samples, prior_check.NETWORKS) / kernel
    print(f"  sampled kernel {kernel:.2f} s; its prior check {share:.2%} of that")


def _summary(ep) -> str:
    return (
        f"{float(ep.log_volume):.6f}, {int(ep.iterations)} factorisations, "
        f"residual {float(ep.residual):.0e}"
    )


if __name__ == "__main__":
    for argument in sys.argv[1:] or ("500", "1500", "5000"):
        name, _, size = argument.rpartition(":")
        main(int(size), name)
