"""The checks of a network of one's own against the work that they stand before, in one run.

    python -m benchmarks.network_checks

A Flax module 784-40-40-1: an ensemble of five trained on 1,000 digits for 200 epochs, and a Monte
Carlo kernel of 200 samples on 1,500. The checks compile small programs once a process for each
network, whatever the work is; the share is of the first call, compilation on both sides.
"""

import time

import flax.linen as nn
import jax
import numpy as np

import flatvol_jax as fv
from flatvol_jax.models import check_evaluation, check_statistics_move
from flatvol_jax.training import TrainSettings, train_ensemble

LIMIT = 0.02


class Network(nn.Module):
    """784-40-40-1, with a BatchNorm before each ReLU where it normalises."""

    normalises: bool

    @nn.compact
    def __call__(self, x, train=False):
        """Outputs (n, 1)."""
        for _ in range(2):
            x = nn.Dense(40)(x)
            x = nn.relu(nn.BatchNorm(not train)(x) if self.normalises else x)
        self.sow("intermediates", "hidden", x)
        return nn.Dense(1, name="readout")(x)


def elapsed(call, *arguments) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    jax.block_until_ready(call(*arguments))
    return time.perf_counter() - began


def main() -> None:
    """Print seconds and shares."""
    digits = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
    x, y = digits.x[:1500], digits.y[:1500]
    key, use = jax.random.key(0), np.ones((5, 1000), bool)
    settings = TrainSettings(max_epochs=200)

    def train(spec):
        keys = jax.random.split(key, 5)
        return train_ensemble(keys, spec, x[:1000], y[:1000], use, settings, 1000).epochs

    def kernel(spec):
        return fv.monte_carlo_kernel(key, spec, x, samples=200)

    work = {
        "training": (
            train,
            lambda spec: (check_evaluation(spec, x), check_statistics_move(spec, x)),
        ),
        "kernel": (kernel, lambda spec: check_evaluation(spec, x, "features")),
    }
    elapsed(lambda: jax.jit(lambda z: z @ z.T)(x))  # the backend starts
    for normalises in (False, True):
        spec = fv.FlaxModel(Network(normalises), "hidden", sigma_w=1.0, sigma_b=0.0)
        for name, (guarded, check) in work.items():
            checked, again = elapsed(check, spec), elapsed(check, spec)
            whole = checked + elapsed(guarded, spec)
            print(
                f"BatchNorm {normalises!s:5} {name:8} {whole:6.1f} s, checks {checked:.2f} s, "
                f"{checked / whole:.1%} (limit {LIMIT:.0%}); a second call {1e6 * again:.0f} us"
            )


if __name__ == "__main__":
    main()
