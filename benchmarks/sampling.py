"""Direct sampling of Boolean functions against a float32 GEMM and a vmapped init, in one run.

    python -m benchmarks.sampling [samples]

7-40-40-1 on all 128 inputs. A network counts as 2 × 128 × 1920 operations, its products on all
inputs; drawing its 2,001 normals, biases, ReLUs and counting its function are not counted as work
but are in the time. The GEMM is 2048³ in float32. Target: at least a sixth of its rate.
"""

import sys
import time

import jax
import jax.numpy as jnp

import flatvol_jax as fv
from benchmarks.timing import seconds
from flatvol_jax.sampling import draw_functions, most_frequent

SPEC = fv.FCN((40, 40), sigma_w=1.0, sigma_b=0.1)
CHUNK, FEW, SIZE = 2**16, 2**14, 2048
OPERATIONS = 2 * 128 * 1920


def vmapped(x):
    """The straightforward way: init and apply under vmap; key -> labels."""

    @jax.jit
    def draw(key):
        def one(key):
            return SPEC.apply(SPEC.init(key, x.shape[1:]), x) > 0

        return jax.lax.map(one, jax.random.split(key, FEW), batch_size=1024)

    return draw


def main(samples: int) -> None:
    """Print rates, their ratios, and the time of counting and merging."""
    x, key = fv.data.load("boolean7").x, jax.random.key(0)

    def sample(key):
        return draw_functions(key, SPEC, x, samples, chunk_size=CHUNK)

    matrix = jnp.ones((SIZE, SIZE), jnp.float32)
    rate = 2 * SIZE**3 / seconds(jax.jit(jnp.matmul), matrix, matrix)
    each = {
        "direct sampling": seconds(sample, key, repeats=3) / samples,
        "vmapped init": seconds(vmapped(x), key, repeats=3) / FEW,
    }
    print(f"GEMM {rate / 1e9:.0f} GF/s")
    for name, time_each in each.items():
        print(
            f"{name:16} {1e6 * time_each:6.1f} us a network, {1 / time_each:9,.0f} a second, "
            f"1/{rate * time_each / OPERATIONS:.1f} of the GEMM"
        )
    draws = sample(key)
    began = time.perf_counter()
    found = most_frequent(draws, 1000)
    print(f"{samples:,} merged in {time.perf_counter() - began:.2f} s", end="; ")
    print(f"{found.distinct / samples:.2f} of them distinct", end="; ")
    print(f"10^8 networks: {1e8 * each['direct sampling'] / 60:.0f} minutes")


if __name__ == "__main__":
    main(int(float(sys.argv[1])) if len(sys.argv) > 1 else 2**20)
