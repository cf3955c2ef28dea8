"""An ensemble as one program against a jitted loop over its members, measured in one run.

    python -m benchmarks.training [members]

The workload is that of configs/mnist_fcn.py: 784-40-40-1, |S| = 500, |A| from 0 to 500 in
steps of 50, five members each, SGD at 0.01 on the summed cross-entropy in batches of 32, to
zero error on S ∪ A. The loop calls the same member program once a member; batching all
members of a level (vmap_size) is the third way. The ensemble must be no slower than the loop.
Compilation is timed apart, and counted by the calls of the network's `apply` under a trace.
"""

import dataclasses
import sys
import time

import jax
import numpy as np

import flatvol_jax as fv
from flatvol_jax.training import TrainSettings, train_ensemble

TRAIN_SIZE = POOL_SIZE = 500
SAMPLES = 5
ROUNDS = 3  # each way is timed this often, in turn; the shortest time counts


@dataclasses.dataclass(frozen=True)
class CountedFCN(fv.FCN):
    """An FCN that counts how often it is traced; only tracing calls Python."""

    def apply(self, params, x, state=None):
        """Outputs of shape (n,)."""
        TRACED.append(x.shape)
        return super().apply(params, x, state)


TRACED: list[tuple[int, ...]] = []


def workload(attack_sizes: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x and y of S and the pool of A (labels flipped), and the rows each member trains on."""
    dataset = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
    parts = fv.data.draw(
        jax.random.key(0),
        dataset,
        train_size=TRAIN_SIZE,
        attack_pool_size=POOL_SIZE,
        test_size=1000,
        second_test_size=0,
    )
    x = np.concatenate([parts.train.x, parts.attack.x])
    y = np.concatenate([parts.train.y, parts.attack.y])
    use = np.arange(len(x)) < TRAIN_SIZE + np.array(attack_sizes)[:, None]
    return x, y, use


def main(members: int) -> None:
    """Print the ratio, the number of traces and the time of the whole sweep."""
    levels = list(range(0, POOL_SIZE + 1, 50))
    attack_sizes = [size for size in levels for _ in range(SAMPLES)][-members:]
    x, y, use = workload(attack_sizes)
    keys = jax.random.split(jax.random.key(1), members)
    settings = TrainSettings()

    def train(rows, **changes):
        changed = dataclasses.replace(settings, **changes)
        return train_ensemble(keys[rows], CountedFCN(), x, y, use[rows], changed, TRAIN_SIZE)

    few = slice(members - min(SAMPLES, members), members)  # one level: the largest |A|
    ways = {
        "one program": lambda: train(few),
        "loop over members": lambda: [train(slice(i, i + 1)) for i in range(*few.indices(members))],
        "batched": lambda: train(few, vmap_size=SAMPLES),
    }
    best = {}
    for name, way in ways.items():
        began, traced = time.perf_counter(), len(TRACED)
        way()
        first, traced = time.perf_counter() - began, len(TRACED) - traced
        print(f"{name:18} first call {first:5.1f} s, network traced {traced} times")
    traced = len(TRACED)
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            best[name] = min(best.get(name, np.inf), time.perf_counter() - began)
    for name, seconds in best.items():
        ratio = seconds / best["loop over members"]
        print(f"{name:18} {seconds:6.2f} s, {ratio:.2f} of the loop")
    print(f"traced again in {ROUNDS} rounds: {len(TRACED) - traced}")

    began = time.perf_counter()
    groups = [train(slice(first, first + SAMPLES)) for first in range(0, members, SAMPLES)]
    seconds = time.perf_counter() - began
    epochs = np.concatenate([group.epochs for group in groups])
    zero_error = np.concatenate([group.zero_error for group in groups])
    diverged = np.concatenate([group.diverged for group in groups])
    steps = np.sum(epochs * -(-use.sum(axis=1) // settings.batch_size))
    print(
        f"{members} members in groups of {SAMPLES}: {seconds:.1f} s, {steps} steps, "
        f"{1e6 * seconds / steps:.0f} us a step; zero error {zero_error.sum()}, "
        f"diverged {diverged.sum()}; traced again {len(TRACED) - traced}"
    )
    print(
        f"epochs: median {np.median(epochs):.0f}, largest of those done "
        f"{epochs[zero_error].max(initial=0)}, not done at |A| = "
        f"{[size for size, done in zip(attack_sizes, zero_error, strict=True) if not done]}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 55)
