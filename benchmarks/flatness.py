"""Flatness of 784-40-40-1 on 500 MNIST digits (33,081 parameters): ratios within one run.

    python -m benchmarks.flatness

A Hessian product costs at most two gradients, also where the data come in batches; sharpness at
most 60 gradients; the top 50 eigenvalues no more than scipy's eigsh over the same jitted product,
both to residuals below 1e-6 of the largest. The check that a loss computes in float64 costs less
than 2% of a call. The other measures are given in gradients.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.tree_util import Partial
from scipy.sparse.linalg import LinearOperator, eigsh

import flatvol_jax as fv
from benchmarks.timing import seconds
from flatvol_jax.flatness import loss_precision
from flatvol_jax.flatness.objective import (
    checked_objective,
    evaluate,
    flat_loss,
    hessian_product,
)
from flatvol_jax.training import TrainSettings, train_ensemble

K = 50


def trained_network():
    """Spec, data and parameters of a network at zero training error."""
    digits = fv.data.binarise(fv.data.load("mnist5k"), *fv.data.GROUPS["mnist_halves"])
    rows = np.random.default_rng(0).permutation(len(digits.x))[:500]
    x, y, spec = digits.x[rows], digits.y[rows], fv.FCN()
    trained = train_ensemble(
        jax.random.split(jax.random.key(0), 1),
        spec,
        x,
        y,
        np.ones((1, 500), bool),
        TrainSettings(),
        train_size=500,
    )
    return spec, x, y, jax.tree.map(lambda leaf: leaf[0], trained.params)


def share_of_precision_check(loss, params) -> None:
    """Print what the check that a loss computes in float64 adds to the cheapest calls.

    The program of the loss is traced for its shape and its run in any case. The check walks it,
    once for each function object; what it found is looked up after that.
    """
    with jax.enable_x64(True):
        traced = evaluate.trace(loss, params)

        def walk():
            loss_precision.clear_cache()
            loss_precision.check_float64("loss", traced, params)

        once = seconds(walk, repeats=20)
        again = seconds(lambda: loss_precision.check_float64("loss", traced, params), repeats=100)
    for name, call in {
        "sharpness": lambda: fv.sharpness(loss, params, 1e-4).value,
        "average sharpness, 64 pairs": lambda: (
            fv.flatness.average_sharpness(jax.random.key(0), loss, params, 0.05).value
        ),
    }.items():
        whole = seconds(call, repeats=3)
        print(
            f"precision check of {name}: first {once / whole:.2%} of a call that is compiled "
            f"already, then {again / whole:.3%}"
        )


def main() -> None:
    """Print one line a target."""
    spec, x, y, params = trained_network()

    def mean_loss(x, y, params):
        return optax.sigmoid_binary_cross_entropy(spec.apply(params, x), (y + 1) / 2).mean()

    with jax.enable_x64(True):
        loss = Partial(mean_loss, jnp.asarray(x, jnp.float64), jnp.asarray(y, jnp.float64))
        objective = checked_objective(loss, params)
        gradient = jax.jit(lambda loss, p, v: jax.grad(flat_loss(loss, p)[0])(v))
        product = jax.jit(lambda loss, p, v: hessian_product(loss, p)[0](v))
        start = jax.random.normal(jax.random.key(1), (flat_loss(*objective[:2])[1].size,))
        one_gradient = seconds(gradient, *objective[:2], start, repeats=50)
        one_product = seconds(product, *objective[:2], start, repeats=50)
        ratio = one_product / one_gradient
        print(f"gradient {1e3 * one_gradient:.2f} ms, Hessian product {ratio:.2f} gradients")

        def batch_loss(params, batch):
            return mean_loss(*batch, params)

        batched = fv.flatness.mean_over_batches(batch_loss, (x, y), 100)
        in_batches = seconds(product, batched, objective.params, start, repeats=20)
        its_gradient = seconds(gradient, batched, objective.params, start, repeats=20)
        print(f"the same in 5 batches: Hessian product {in_batches / its_gradient:.2f} gradients")

        operator = LinearOperator(
            (start.size, start.size),
            matvec=lambda v: np.asarray(product(*objective[:2], jnp.asarray(v).ravel())),
            dtype=np.float64,
        )

        def peer():
            return eigsh(operator, k=K, which="LA", tol=1e-6, v0=np.asarray(start))[0][::-1]

        peer_values, peer_time = peer(), seconds(peer, repeats=3)

    def ours():
        return fv.hessian_eigenvalues(jax.random.key(0), loss, params, K)

    found, our_time = ours(), seconds(lambda: ours().values, repeats=3)
    difference = np.abs(found.values / peer_values - 1).max()
    print(
        f"top {K}: {our_time:.2f} s, scipy eigsh {peer_time:.2f} s, ratio "
        f"{our_time / peer_time:.2f}; largest relative difference {difference:.1e}, residuals "
        f"up to {found.residuals.max() / found.values[0]:.1e} of the largest"
    )
    for epsilon in (1e-4, 1e-3):
        for method in ("sign", "lbfgsb", "best"):

            def measure(epsilon=epsilon, method=method):
                return fv.sharpness(loss, params, epsilon, method=method)

            result, cost = measure(), seconds(lambda: measure().value, repeats=3)
            print(
                f"sharpness, epsilon {epsilon:g}, {method:6}: {result.value:.6g}, "
                f"{result.gradients} gradients counted, {cost / one_gradient:.0f} in time"
            )

    share_of_precision_check(loss, objective.params)
    members = 8
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf] * members), params)
    together = seconds(lambda: fv.flatness.ensemble_sharpness(loss, stacked, 1e-4).value, repeats=3)
    alone = seconds(lambda: fv.sharpness(loss, params, 1e-4, method="sign").value, repeats=3)
    print(
        f"sharpness of {members} networks at once: {together / members / alone:.2f} of one by one"
    )
    composed = fv.flatness.composed(
        lambda outputs: optax.sigmoid_binary_cross_entropy(outputs, (y + 1) / 2).mean(),
        lambda params: spec.apply(params, x),
    )
    key, layer = jax.random.key(0), ("layer_2", "kernel")
    inside = Partial(
        lambda x, f, p: jnp.all((spec.apply(p, x) > 0) == f), x, spec.apply(params, x) > 0
    )
    std = spec.prior_std(x.shape[1:])

    def table_1(reading):
        options = {"batch_size": 32, "learning_rate": 1e-3, "epochs": 100, "reading": reading}
        return fv.sgd_sharpness(key, batch_loss, params, (x, y), 1e-4, **options)

    for name, call in {
        "Gauss-Newton diagonal": lambda: fv.flatness.gauss_newton_diagonal(composed, params),
        "relative flatness, 40 x 40": lambda: (
            fv.flatness.relative_flatness(
                key, composed, params, layer, operator="gauss_newton"
            ).value
        ),
        "adaptive sharpness": lambda: fv.flatness.adaptive_sharpness(loss, params, 1e-3).value,
        "average sharpness, 64 pairs": lambda: (
            fv.flatness.average_sharpness(key, loss, params, 0.05).value
        ),
        "SGD ascent of table 1, all data read": lambda: table_1("full").value,
        "SGD ascent of table 1, minibatches read": lambda: table_1("minibatch").value,
        "spectral density, 4 probes of depth 80": lambda: (
            fv.flatness.spectral_density(key, loss, params, probes=4).nodes
        ),
        "basin volume, 256 directions": lambda: (
            fv.flatness.basin_volume(key, inside, params, std).log_volume
        ),
    }.items():
        print(f"{name}: {seconds(call, repeats=3) / one_gradient:.0f} gradients in time")


if __name__ == "__main__":
    main()
