"""How far EP and corrected EP are from log V(f): a Markdown table against the estimate.

    python -m benchmarks.accuracy

MNIST digits 0-4 against 5-9 under FCN 784-40-40-1 at n = 1500, Boolean functions of seven inputs
under 7-40-40-1 at sigma_w = 1, sigma_b = 0.1, and equicorrelated points with their closed form.
The last column is the time of everything in the row, compilation not counted.
"""

import time

import jax
import numpy as np

import flatvol_jax as fv

PARTICLES = 512


def mnist(n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Labellings of MNIST digits under one kernel."""
    dataset = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
    generator = np.random.default_rng(0)
    rows = generator.permutation(len(dataset.x))[:n]
    kernel, true = fv.nngp_kernel(fv.FCN(), dataset.x[rows]), dataset.y[rows].astype(int)
    flipped = true.copy()
    flipped[generator.choice(n, n // 10, replace=False)] *= -1
    one = np.ones(n, int)
    one[0] = -1
    labellings = {
        "true labels": true,
        "a tenth flipped": flipped,
        "random labels": generator.choice([-1, 1], n),
        "constant": np.ones(n, int),
        "constant but one": one,
    }
    return {f"MNIST, {name}": (kernel, labels) for name, labels in labellings.items()}


def boolean() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Functions of seven bits."""
    x = fv.data.load("boolean7").x
    kernel = fv.nngp_kernel(fv.FCN(sigma_w=1.0, sigma_b=0.1), x)
    bits = x.astype(int)
    truths = {
        "constant": np.ones(len(bits), bool),
        "x1 and x2": (bits[:, 0] & bits[:, 1]).astype(bool),
        "majority": bits.sum(1) > 3,
        "parity": bits.sum(1) % 2 == 1,
        "random": np.random.default_rng(0).random(len(bits)) < 0.5,
    }
    return {f"Boolean, {name}": (kernel, np.where(f, 1, -1)) for name, f in truths.items()}


def equicorrelated(n: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Correlation 1/2, equal labels: V = 1/(n+1)."""
    name = f"equicorrelated 1/2, constant ({-np.log(n + 1):.4f})"
    return {name: (0.5 + 0.5 * np.eye(n), np.ones(n, int))}


def main() -> None:
    """Print the table."""
    print(
        "| function | n | link | EP | corrected | estimate | EP off | corrected off | c4/c3 | s |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    cases = mnist(1500) | boolean() | equicorrelated(10) | equicorrelated(1000)
    for name, (kernel, labels) in cases.items():
        for link in ("heaviside", "probit"):
            for _ in range(2):  # the first one compiles
                began = time.perf_counter()
                found = fv.log_volume(
                    kernel, labels, link, "certified", jax.random.key(0), particles=PARTICLES
                )
                spent = time.perf_counter() - began
            c3, c4 = found.correction.third, found.correction.fourth
            off = found.ep - found.log_volume
            print(
                f"| {name} | {len(labels)} | {link} | {found.ep:.4f} | {found.corrected:.4f} | "
                f"{found.log_volume:.4f} ± {found.standard_error:.4f} | {off:+.3f} | "
                f"{off + c3:+.3f} | {c4 / c3:+.2f} | {spent:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
