"""Entropy-SGD: descend the local entropy, whose gradient an inner Langevin loop estimates."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from flatvol_jax.runtime import checks


class EntropySgdState(NamedTuple):
    """State of `entropy_sgd`.

    Attributes:
        outer_params: x, the parameters that are evaluated and stored.
        mean: μ, the running average of the inner points.
        count: updates so far, one gradient each; every L-th is followed by an outer step.
        key: of the thermal noise.
    """

    outer_params: optax.Params
    mean: optax.Params
    count: Array  # type: ignore[assignment]  # hides tuple.count, which nobody needs
    key: Array


def entropy_sgd(
    learning_rate: float,
    langevin_steps: int,
    langevin_learning_rate: float,
    noise: float,
    gamma: float,
    scoping: float,
    averaging: float,
    scale_by_gamma: bool,
    key: Array,
) -> optax.GradientTransformation:
    """Return entropy-SGD as a transformation, one gradient evaluation an update.

    In place of the loss f it descends -T log ∫ exp(-[f(x') + γ/2 ‖x - x'‖²] / T) dx' at
    temperature T = ε² / 2, whose gradient is γ (x - E x'). The parameters under this
    transformation are the inner point x', where the next gradient is to be taken, on a
    minibatch of its own; `entropy_sgd_eval_params` gives x, where the network is to be
    evaluated, stored and measured. x moves every L updates only:

        x' <- x' - η' [∇f(x') - γ (x - x')] + √η' ε N(0, I),  μ <- (1 - α) μ + α x',  L times;
        x  <- x - η γ (x - μ),  x' <- x,  μ <- x,  with γ = γ_0 (1 + γ_1)^t at outer step t.

    The rates refer to the *mean* loss of a minibatch, as in the authors' code: γ and η' are
    relative to ∇f, and for a sum over 32 examples they are 32 times too small and too large.

    That code (ucla-vision/entropy-sgd) differs from the algorithm above. Its outer step is
    x - η (x - μ), γ being taken into η: this is `scale_by_gamma` False. With it η = 1 means
    x <- μ, where γ = 0.03 in the step goes 3% of that way. It averages by α = 0.25, its noise
    is √2 times larger, and both loops may have Nesterov's momentum, which is not offered here.

    Args:
        learning_rate: η, of the outer step.
        langevin_steps: L; 0 is plain SGD.
        langevin_learning_rate: η', of the inner steps.
        noise: ε, thermal noise; temperature ε² / 2.
        gamma: γ_0, the pull towards x, in units of the Hessian.
        scoping: γ_1, its relative growth an outer step.
        averaging: α, in (0, 1].
        scale_by_gamma: whether γ stands in the outer step.
        key: for the noise; one a network.

    Raises:
        ValueError: an argument out of its range.

    Reference: Chaudhari et al. (2019), "Entropy-SGD: biasing gradient descent into wide
    valleys", J. Stat. Mech. 124018, algorithm 1.
    """
    checks.positive("learning_rate", learning_rate)
    checks.count("langevin_steps", langevin_steps, least=0)
    checks.positive("langevin_learning_rate", langevin_learning_rate)
    for name, value in {"noise": noise, "gamma": gamma, "scoping": scoping}.items():
        checks.non_negative(name, value)
    if not 0 < averaging <= 1:
        raise ValueError(f"averaging: got {averaging!r}, wanted a weight in (0, 1].")
    if langevin_steps == 0:
        return optax.sgd(learning_rate)

    def init(params):
        outer, mean = (jax.tree.map(jnp.asarray, params) for _ in range(2))
        return EntropySgdState(outer, mean, jnp.int32(0), key)

    def update(updates, state, params=None):
        if params is None:
            raise ValueError("params: got None, wanted the point where the gradient was taken.")
        now = gamma * (1 + scoping) ** (state.count // langevin_steps).astype(jnp.float32)
        rate = learning_rate * now if scale_by_gamma else learning_rate
        noises = optax.tree.random_like(
            jax.random.fold_in(state.key, state.count), params, sampler=jax.random.normal
        )
        noises = jax.lax.optimization_barrier(noises)  # or each use below draws them again
        inner = jax.tree.map(
            lambda p, g, x, n: (
                p
                - langevin_learning_rate * (g - now * (x - p))
                + langevin_learning_rate**0.5 * noise * n
            ),
            *(params, updates, state.outer_params, noises),
        )
        mean = jax.tree.map(lambda m, p: (1 - averaging) * m + averaging * p, state.mean, inner)
        count = optax.safe_increment(state.count)
        ends = count % langevin_steps == 0

        def at_the_end(stepped, other):
            return jax.tree.map(lambda a, b: jnp.where(ends, a, b), stepped, other)

        stepped = jax.tree.map(lambda x, m: x - rate * (x - m), state.outer_params, mean)
        outer = at_the_end(stepped, state.outer_params)
        moves = jax.tree.map(jnp.subtract, at_the_end(outer, inner), params)
        return moves, EntropySgdState(outer, at_the_end(outer, mean), count, state.key)

    return optax.GradientTransformation(init, update)


def entropy_sgd_eval_params(state: optax.OptState, params: optax.Params) -> optax.Params:
    """Return the parameters that count: x of entropy-SGD, `params` of any other optimizer."""
    return state.outer_params if isinstance(state, EntropySgdState) else params
