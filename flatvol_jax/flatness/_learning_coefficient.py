"""The local learning coefficient, from Langevin chains around the parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.tree_util import Partial
from jaxtyping import Float
from scipy.stats import t as student

from flatvol_jax.flatness.examples import checked_examples, number_of_examples
from flatvol_jax.flatness.objective import checked_loss, checked_objective, flat_loss
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope, to_host
from flatvol_jax.runtime.printing import prints_its_fields

_CHANCE = 1e-3  # of "not stationary" when the chains are
_LARGEST_BIAS = 0.1  # share of the value


@prints_its_fields
class LearningCoefficient(NamedTuple):
    """The local learning coefficient by SGLD.

    Attributes:
        value: λ, the mean over chains, a pure number; NaN where one diverged.
        standard_error: over the chains. It does not contain the errors that they share: the bias
            of the step size, and the part of the posterior that none of them reached.
        step_bias: how much of the value is due to the finite step and the minibatches,
            ε/8 E (g + γ (w - w₀))·g with g = n β ∇L_batch. Not subtracted from value. Exact for a
            quadratic loss with full batches or γ = 0, too high with both.
        chain_values: of each chain, (chains,).
        loss: L_n(w₀).
        history: full-batch loss, the mean over chains, at the points kept, (steps // thin,).
        gradient_norm: |∇L_n(w₀)|; the estimate presumes a local minimum.
        status: "ok", "diverged" (a chain's loss is not finite: a smaller step), "negative" (the
            chains found lower loss than L_n(w₀): no minimum), "step too large" (step_bias above
            a tenth of the value), "not stationary" (the first half of the chains differs from
            the second, at 0.1%: more burn-in).
    """

    value: float
    standard_error: float
    step_bias: float
    chain_values: Float[np.ndarray, " chains"]
    loss: float
    history: Float[np.ndarray, " kept"]
    gradient_norm: float
    status: str


@float64_scope
def learning_coefficient(
    key: Array,
    loss: Callable[[Any, Any], Array],
    params: Any,
    data: Any,
    step_size: float,
    localization: float,
    inverse_temperature: float | None = None,
    batch_size: int | None = None,
    chains: int = 8,
    steps: int = 2000,
    burn_in: int = 1000,
    thin: int = 10,
) -> LearningCoefficient:
    """Estimate the local learning coefficient by stochastic gradient Langevin dynamics.

        λ = n β (E L_n(w) - L_n(w₀)), w ~ exp(-n β L_n(w) - γ |w - w₀|²/2).

    w <- w - ε/2 (n β ∇L_batch(w) + γ (w - w₀)) + √ε ξ, ξ ~ N(0, I). E L_n is the mean of the
    full-batch loss at every thin-th point. There is no Metropolis step: in a direction of
    curvature h the variance is too large by 1 / (1 - ε (n β h + γ)/4), and diverges where that is
    not positive (`step_bias`). γ lowers λ, in such a direction from ½ to ½ n β h / (n β h + γ).
    Flat directions need 2 / (ε γ) steps to spread, which burn-in and steps should well exceed.

    Args:
        key: for the noise and the minibatches.
        loss: (params, batch) -> mean loss of the batch.
        params: pytree of parameters w₀, a local minimum.
        data: pytree of arrays with one leading axis, of length n. Floating-point entries are cast
            to float64, integer labels stay integers.
        step_size: ε.
        localization: γ, at least 0.
        inverse_temperature: β; 1 / ln n when left out.
        batch_size: examples a step, drawn with replacement; all n, in order, when left out.
        chains: independent ones, at once.
        steps: of a chain after its burn-in, at least 4 thin.
        burn_in: steps before them.
        thin: steps from one kept point to the next.

    Raises:
        ValueError: a loss that is not a finite scalar, no parameters, sizes that do not fit.

    Reference: Lau, Furman, Wang, Murfet, Wei 2023, "The local learning coefficient: a
    singularity-aware complexity measure".
    """
    step_size = checks.positive("step_size", step_size)
    localization = checks.non_negative("localization", localization)
    chains = checks.count("chains", chains, least=2)
    thin = checks.count("thin", thin)
    steps = checks.count("steps", steps, least=4 * thin)
    burn_in = checks.count("burn_in", burn_in, least=0)
    if batch_size is not None:
        batch_size = checks.count("batch_size", batch_size)
    size = number_of_examples(data, batch_size or 1)
    if inverse_temperature is None and size < 2:
        raise ValueError("data: got one example, wanted two for 1 / ln n; try inverse_temperature.")
    beta = 1.0 / np.log(size) if inverse_temperature is None else inverse_temperature
    n_beta = size * checks.positive("inverse_temperature", beta)
    batch_loss = checked_loss(loss)
    data = checked_examples(data)
    objective = checked_objective(Partial(_full_batch, batch_loss, data), params)
    keys = jax.random.split(key, chains)
    losses, biases, gradient_norm = to_host(
        _langevin(
            keys, batch_loss, objective.params, data, step_size, localization, n_beta,
            batch_size, steps, burn_in, thin,
        )
    )  # fmt: skip
    rises = n_beta * (losses - objective.value)
    values = np.where(np.isfinite(rises).all(axis=1), rises.mean(axis=1), np.nan)
    value, step_bias = float(values.mean()), float(biases.mean())
    return LearningCoefficient(
        value,
        float(values.std(ddof=1) / np.sqrt(chains)),
        step_bias,
        values,
        objective.value,
        losses.mean(axis=0),
        float(gradient_norm),
        _status(value, step_bias, rises),
    )


def _status(value: float, step_bias: float, rises: Float[np.ndarray, "chains kept"]) -> str:
    chains, kept = rises.shape
    if not np.isfinite(value):
        return "diverged"
    if value < 0:
        return "negative"
    if step_bias > _LARGEST_BIAS * value:
        return "step too large"
    drift = rises[:, kept // 2 :].mean(axis=1) - rises[:, : kept // 2].mean(axis=1)
    error = drift.std(ddof=1) / np.sqrt(chains)
    if abs(drift.mean()) > student.isf(_CHANCE / 2, chains - 1) * error:
        return "not stationary"
    return "ok"


def _full_batch(loss: Callable[..., Any], data: Any, params: Any) -> Array:
    return loss(params, data)


@partial(jax.jit, static_argnames=("batch_size", "steps", "burn_in", "thin"))
@fast_convolutions
def _langevin(
    keys: Array,
    loss: Any,
    params: Any,
    data: Any,
    step_size: Array | float,
    localization: Array | float,
    n_beta: Array | float,
    batch_size: int | None,
    steps: int,
    burn_in: int,
    thin: int,
) -> tuple[Float[Array, "chains kept"], Float[Array, "chains kept"], Float[Array, ""]]:
    """Return loss and step bias at the kept points, (chains, steps // thin), and |∇L_n(w₀)|."""
    size = len(jax.tree.leaves(data)[0])
    full, centre = flat_loss(Partial(_full_batch, loss, data), params)
    _, unravel = ravel_pytree(params)

    def forces(w, key):
        """Return g and g + γ (w - w₀)."""
        if batch_size is None:
            slope = n_beta * jax.grad(full)(w)
        else:
            rows = jax.random.randint(key, (batch_size,), 0, size)
            batch = jax.tree.map(lambda leaf: leaf[rows], data)
            slope = n_beta * jax.grad(lambda w: jnp.asarray(loss(unravel(w), batch), w.dtype))(w)
        return slope, slope + localization * (w - centre)

    def chain(key):
        walk_key, probe_key = jax.random.split(key)

        def step(i, w):
            noise_key, batch_key = jax.random.split(jax.random.fold_in(walk_key, i))
            noise = jax.random.normal(noise_key, w.shape, w.dtype)
            return w - 0.5 * step_size * forces(w, batch_key)[1] + jnp.sqrt(step_size) * noise

        def keep(w, begin):
            w = jax.lax.fori_loop(begin, begin + thin, step, w)
            slope, force = forces(w, jax.random.fold_in(probe_key, begin))
            return w, (full(w), step_size / 8 * slope @ force)

        w = jax.lax.fori_loop(0, burn_in, step, centre)
        begins = burn_in + thin * jnp.arange(steps // thin)
        return jax.lax.scan(keep, w, begins)[1]

    losses, biases = jax.vmap(chain)(keys)
    return losses, biases, jnp.linalg.norm(jax.grad(full)(centre))
