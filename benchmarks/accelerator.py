"""What an accelerator computes against the CPU, and what it costs: all checks in one run.

    python -m benchmarks.accelerator [--small] [--seconds 480] [--only ep,sampling] [--out FILE]

A check begins only where its share of the time is left, and its line is printed when it is done, so
that a run that is cut short keeps what it has. Data are synthetic images, ten Gaussian clusters
around smooth means: nothing is read from disk. Values are compared with those of the CPU of the
same machine where that takes seconds, and with a closed form at sizes that it cannot reach. Times
are those of a second call, in GEMMs of the device at that size or in its own float32 rate.
`--small` has sizes for a CPU and checks that every line runs.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial

import flatvol_jax as fv
from flatvol_jax.flatness import ensemble_sharpness
from flatvol_jax.flatness.objective import flat_loss, hessian_product
from flatvol_jax.kernels.relu_recursion import dense_relu_kernel
from flatvol_jax.sampling import draw_functions, most_frequent
from flatvol_jax.training import TrainSettings, train_ensemble
from flatvol_jax.volume.ep import expectation_propagation, prior_cavities
from flatvol_jax.volume.host_posterior import gaussian_of_sites
from flatvol_jax.volume.sampling import sampling_estimate

Line = dict[str, Any]
_CLUSTERS, _SIDE = 10, 8
_ON_CPU = 1500  # outputs: larger ones take the CPU minutes


class Sizes(NamedTuple):
    """The sizes of all checks."""

    gemm: int
    ep: tuple[int, ...]
    classes: int
    ensemble: int
    digits: int
    depth: int
    width: int
    side: int
    images: int
    networks: int
    functions: int


FULL = Sizes(8192, (1500, 11_000, 46_000), 5000, 500, 500, 50, 64, 32, 5000, 20, 10**8)
SMALL = Sizes(256, (60, 120), 40, 3, 40, 18, 2, 16, 16, 4, 2**12)


def images(n: int, side: int, seed: int = 0, colours: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Return n images in [0, 1], (n, side, side, colours) float32, and their clusters."""
    rng = np.random.default_rng(seed)
    coarse = np.random.default_rng(1).uniform(size=(_CLUSTERS, 4, 4, colours))
    means = coarse.repeat(side // 4, axis=1).repeat(side // 4, axis=2)
    clusters = rng.integers(_CLUSTERS, size=n)
    noise = rng.normal(scale=0.15, size=(n, side, side, colours))
    return np.clip(means[clusters] + noise, 0, 1).astype(np.float32), clusters


def second_call(function: Callable, *arguments: Any) -> tuple[Any, float]:
    """Return the result and the seconds of the second of two calls."""
    jax.block_until_ready(function(*arguments))
    began = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - began


def on_cpu(function: Callable, *arguments: Any) -> Any:
    """Return what a call gives on the CPU of the same machine, as NumPy arrays."""
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return jax.tree.map(np.asarray, function(*arguments))


def gemm_seconds(n: int, dtype: Any) -> float:
    """Return the seconds of a product of two (n, n) matrices on the device."""
    matrix = jnp.ones((n, n), dtype)
    return second_call(jax.jit(lambda a: jnp.matmul(a, a, precision="highest")), matrix)[1]


def arithmetic(sizes: Sizes) -> Iterator[Line]:
    """Measure float64 and float32 rates and bandwidth, and whether float64 has its digits."""
    n = sizes.gemm
    with jax.enable_x64(True):
        a = np.random.default_rng(0).normal(size=(min(n, 1024),) * 2)
        there = np.asarray(jnp.matmul(jnp.asarray(a), jnp.asarray(a)))
        error = np.abs(there - a @ a).max() / np.abs(a @ a).max()
        for dtype in ("float64", "float32"):
            yield {"what": f"{dtype} GEMM {n}", "Tflop/s": 2e-12 * n**3 / gemm_seconds(n, dtype)}
        vector = jnp.ones(16 * n**2 // 8)
        seconds = second_call(jax.jit(lambda v: v + 1.0), vector)[1]
        yield {"what": "bandwidth", "GB/s": 2e-9 * vector.nbytes / seconds}
    yield {"what": "float64 product against NumPy", "relative error": error, "right": error < 1e-13}


def _kernel(n: int) -> tuple[jax.Array, np.ndarray]:
    x, clusters = images(n, _SIDE)
    rows = jnp.asarray(x.reshape(n, -1), jnp.float64)
    kernel = dense_relu_kernel(fv.FCN().kernel_layers())(rows, rows)
    return kernel, np.where(clusters < _CLUSTERS // 2, -1.0, 1.0)


def ep(sizes: Sizes) -> Iterator[Line]:
    """Run EP and the estimate of log V(f), two classes; at the largest size EP alone."""
    with jax.enable_x64(True):
        for n in sizes.ep:
            kernel, labels = _kernel(n)
            limits = 1e-6, 100

            def run(kernel, labels, start, limits=limits):
                return expectation_propagation(kernel, labels, start, *limits)

            start = prior_cavities(kernel)
            found, seconds = second_call(run, kernel, labels, start)
            gemm = gemm_seconds(n, "float64")
            line = {"what": f"EP, n = {n}", "log V": float(found.log_volume)}
            line |= {"factorisations": int(found.iterations), "residual": float(found.residual)}
            line |= {"s": seconds, "GEMMs": seconds / gemm}
            if n <= _ON_CPU:
                cpu = on_cpu(run, np.asarray(kernel), labels, jax.tree.map(np.asarray, start))
                off = abs(float(cpu.log_volume) - float(found.log_volume))
                line |= {"off the CPU, nats": off, "right": off < 1e-4}
            yield line
            if n == max(sizes.ep):
                continue

            def estimate(kernel, labels=labels, found=found):
                gaussian = gaussian_of_sites(kernel, *found.sites)
                return sampling_estimate(
                    jax.random.key(0), kernel, labels, found, gaussian, "ep", 128, 16
                )[:4]

            sampled, seconds = second_call(estimate, kernel)
            line = {"what": f"estimate, n = {n}", "log V": float(sampled[0])}
            line |= {"±": float(sampled[1]), "s": seconds, "GEMMs": seconds / gemm}
            yield line


def closed_form(sizes: Sizes) -> Iterator[Line]:
    """Sample V = 1/(n+1) of equal labels under correlation 1/2, at a size that a CPU cannot."""
    n = sizes.ep[-2]
    with jax.enable_x64(True):
        kernel = 0.5 + 0.5 * jnp.eye(n)
        ones = np.ones(n)
        found = expectation_propagation(kernel, ones, prior_cavities(kernel), 1e-8, 100)
        gaussian = gaussian_of_sites(kernel, *found.sites)
        sampled = sampling_estimate(jax.random.key(0), kernel, ones, found, gaussian, "ep", 128, 16)
    off = sampled.log_volume + np.log(n + 1.0)
    line = {"what": f"V = 1/(n+1), n = {n}", "off, nats": off, "±": sampled.standard_error}
    yield line | {"right": abs(off) < 5 * sampled.standard_error + 1e-3}


def many_classes(sizes: Sizes) -> Iterator[Line]:
    """Run EP of ten classes."""
    n = sizes.classes
    x, clusters = images(n, _SIDE)
    kernel = fv.nngp_kernel(fv.FCN(), x.reshape(n, -1))

    def run():
        return fv.log_volume(kernel, clusters, classes=_CLUSTERS, tolerance=1e-6)

    began = time.perf_counter()
    found = run()
    seconds = time.perf_counter() - began
    with jax.enable_x64(True):
        gemm = gemm_seconds(n, "float64")
    line = {"what": f"ten classes, n = {n}", "log V": found.log_volume, "s": seconds}
    yield line | {"GEMMs, first call": seconds / gemm, "right": bool(found.converged)}


def ensemble(sizes: Sizes) -> Iterator[Line]:
    """Train many small networks and measure their sharpness, one program each."""
    n, members = sizes.digits, sizes.ensemble
    x, clusters = images(n, _SIDE)
    x, y = x.reshape(n, -1), np.where(clusters < _CLUSTERS // 2, -1, 1)
    spec, settings = fv.FCN(), TrainSettings(max_epochs=100, vmap_size=members)
    keys = jax.random.split(jax.random.key(0), members)
    use = np.ones((members, n), bool)

    def train():
        return train_ensemble(keys, spec, x, y, use, settings, n)

    trained, seconds = second_call(train)
    errors = float(np.mean(trained.zero_error))
    yield {"what": f"{members} networks trained", "s": seconds, "at zero error": errors}

    def mean_loss(x, y, params):
        return optax.sigmoid_binary_cross_entropy(spec.apply(params, x), (y + 1) / 2).mean()

    with jax.enable_x64(True):
        loss = Partial(mean_loss, np.asarray(x, np.float64), np.asarray(y, np.float64))

    def sharpness(params=trained.params):
        return ensemble_sharpness(loss, params, 1e-4).value

    values, seconds = second_call(sharpness)
    few = jax.tree.map(lambda leaf: np.asarray(leaf[:2]), trained.params)
    off = float(np.abs(on_cpu(sharpness, few) / np.asarray(values)[:2] - 1).max())
    line = {"what": f"sharpness of {members} networks", "s": seconds, "off the CPU": off}
    yield line | {"right": off < 1e-4}


def hessian(sizes: Sizes) -> Iterator[Line]:
    """Time gradient and Hessian product of a ResNet-18 in float64; check the product's symmetry."""
    x, clusters = images(32, sizes.side, colours=3)
    y = (clusters < _CLUSTERS // 2).astype(float)
    spec = fv.ResNet(18, stem="cifar", width=sizes.width)
    params = spec.init(jax.random.key(0), x.shape[1:])
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        state = jax.tree.map(
            lambda leaf: jnp.asarray(leaf, jnp.float64), spec.init_state(x.shape[1:])
        )
        wide = jnp.asarray(x, jnp.float64)

        def mean_loss(params):
            outputs = spec.apply(params, wide, state)
            return optax.sigmoid_binary_cross_entropy(outputs, y).mean()

        loss = Partial(mean_loss)
        gradient = jax.jit(lambda v: jax.grad(flat_loss(loss, params)[0])(v))
        product = jax.jit(lambda v: hessian_product(loss, params)[0](v))
        size = flat_loss(loss, params)[1].size
        u, v = (jax.random.normal(jax.random.key(s), (size,)) for s in (1, 2))
        _, one = second_call(gradient, u)
        image, seconds = second_call(product, v)
        difference = float(u @ image - v @ product(u))
        asymmetry = abs(difference) / float(jnp.linalg.norm(u) * jnp.linalg.norm(image))
    line = {"what": f"ResNet-18, {size} parameters", "gradient, s": one}
    line |= {"Hessian product, gradients": seconds / one, "asymmetry": asymmetry}
    yield line | {"right": asymmetry < 1e-10}


def residual_network(sizes: Sizes) -> Iterator[Line]:
    """Time the Monte Carlo kernel and an epoch of configs/cifar_resnet.py as it is."""
    n = sizes.images
    x, clusters = images(n, sizes.side, colours=3)
    y = np.where(clusters < _CLUSTERS // 2, -1, 1)
    spec = fv.ResNet(sizes.depth, width=sizes.width)
    began = time.perf_counter()
    kernel = fv.monte_carlo_kernel(jax.random.key(0), spec, x, samples=sizes.networks)
    seconds = time.perf_counter() - began
    line = {"what": f"kernel of {sizes.networks} ResNet-{sizes.depth}, n = {n}", "s": seconds}
    yield line | {"right": bool(np.isfinite(kernel).all())}
    settings = TrainSettings(max_epochs=1, batch_size=min(128, n), evaluation_batch_size=500)
    keys, use = jax.random.split(jax.random.key(1), 1), np.ones((1, n), bool)

    def epoch():
        return train_ensemble(keys, spec, x, y, use, settings, n).epochs

    _, seconds = second_call(epoch)
    steps = -(-n // settings.batch_size)
    yield {"what": f"an epoch of ResNet-{sizes.depth}", "s": seconds, "s a step": seconds / steps}


def sampling(sizes: Sizes) -> Iterator[Line]:
    """Draw and count Boolean functions of random networks."""
    bits = np.arange(128)[:, None] >> np.arange(6, -1, -1) & 1
    x, spec = bits.astype(np.float32), fv.FCN((40, 40), sigma_w=1.0, sigma_b=0.1)
    rate = 2 * sizes.gemm**3 / gemm_seconds(sizes.gemm, "float32")
    chunk, key = min(2**16, sizes.functions), jax.random.key(0)

    def draw(samples):
        return draw_functions(key, spec, x, samples, chunk_size=chunk)

    draw(chunk)
    began = time.perf_counter()
    draws = draw(sizes.functions)
    seconds = time.perf_counter() - began
    each = seconds / sizes.functions

    def counts():
        return most_frequent(draw(chunk), 100).counts

    off = np.abs(np.sort(counts()) - np.sort(on_cpu(counts))).sum() / chunk
    line = {"what": f"{sizes.functions:,} functions", "s": seconds}
    line |= {"of the GEMM's rate": 2 * 128 * 1920 / each / rate}
    line |= {"counts off the CPU": float(off)}  # float32 rounds an output near 0 to either side
    yield line | {"right": bool(off < 1e-3 and draws.samples == sizes.functions)}


# The share of the time that must be left when a check begins.
CHECKS: dict[str, tuple[Callable[[Sizes], Iterator[Line]], float]] = {
    "arithmetic": (arithmetic, 0.02),
    "ep": (ep, 0.2),
    "closed_form": (closed_form, 0.05),
    "ensemble": (ensemble, 0.1),
    "hessian": (hessian, 0.1),
    "sampling": (sampling, 0.1),
    "residual_network": (residual_network, 0.15),
    "many_classes": (many_classes, 0.15),
}


def main() -> int:
    """Run the checks; 1 where a value is wrong or a check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="sizes for a CPU")
    parser.add_argument("--seconds", type=float, default=480.0, help="of the whole run")
    parser.add_argument("--only", default=",".join(CHECKS), help="names, with commas between")
    parser.add_argument("--out", type=Path, help="file for the lines, JSON each")
    options = parser.parse_args()
    began, wrong = time.perf_counter(), 0
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}", flush=True)
    for name in options.only.split(","):
        check, share = CHECKS[name]
        left = options.seconds - (time.perf_counter() - began)
        if left < share * options.seconds:
            print(f"{name}: left out, {left:.0f} s are left", flush=True)
            continue
        try:
            for line in check(SMALL if options.small else FULL):
                wrong += not line.get("right", True)
                print(
                    "; ".join(f"{key} {_shown(value)}" for key, value in line.items()), flush=True
                )
                if options.out:
                    with options.out.open("a") as file:
                        file.write(json.dumps(line, default=float) + "\n")
        except Exception as error:  # the next check may still run
            wrong += 1
            print(f"{name}: {type(error).__name__}: {str(error)[:400]}", flush=True)
    print(f"{time.perf_counter() - began:.0f} s, {wrong} wrong", flush=True)
    return int(wrong > 0)


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    raise SystemExit(main())
