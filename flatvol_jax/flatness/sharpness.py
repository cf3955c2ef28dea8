"""Box sharpness (def. 2.1): the largest loss in the box of eq. 7 that several searches find."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from scipy import optimize

from flatvol_jax.flatness.objective import checked_objective, flat_loss, hessian_product
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.precision import float64_scope

METHODS = ("best", "lbfgsb", "sign")
# Gradients from each start: the gradient's corner, ± the top eigenvector, two random corners.
_CORNER_STEPS = np.array([12, 5, 5, 5, 5])
_POWER_STEPS = 5  # Hessian products, two gradients each
_BUDGET = 60  # gradients in all
_OVERRUN = 8  # scipy looks at maxfun only between line searches
_SETTLED = 1e-4  # last gains (of three calls of a climb) below this share of the whole: converged


class Sharpness(NamedTuple):
    """Sharpness of one network; value and its parts in units of 100 / (1 + L(w)).

    Attributes:
        value: 100 (max L(w') - L(w)) / (1 + L(w)), the best found: a lower bound.
        max_loss: the full-batch loss at the maximiser.
        loss: L(w).
        first_order: g·δ of the maximiser w + δ.
        second_order: ½ δ'Hδ.
        remainder: value - first_order - second_order.
        converged: whether the search that found it had stopped rising.
        on_face: share of the coordinates that lie on the box's face.
        trace: the running maximum of the loss over its evaluations.
        gradients: gradient evaluations (a Hessian product counts as two).
    """

    value: float
    max_loss: float
    loss: float
    first_order: float
    second_order: float
    remainder: float
    converged: bool
    on_face: float
    trace: np.ndarray
    gradients: int


@float64_scope
def sharpness(
    loss: Callable[[Any], Array],
    params: Any,
    epsilon: float,
    method: str = "best",
    key: Array | None = None,
) -> Sharpness:
    """100 (max L(w') - L(w)) / (1 + L(w)) over |w'_i - w_i| ≤ ε (|w_i| + 1) (eq. 7).

    The maximum is not convex; the value is the best found. "sign" iterates
    δ <- box · sign(∇L(w + δ)) from the gradient's corner, from the two corners of the top
    Hessian eigenvector and from two random corners: each step goes to the maximiser of the
    loss linearised at the point before. "lbfgsb" climbs with scipy's L-BFGS-B from the
    centre. "best" climbs with it from the best corner; at most 60 gradients.

    Args:
        loss: full-batch mean loss, params -> scalar. The program is compiled once for each
            function object; to share it between data sets bind them with
            `jax.tree_util.Partial(function, x, y)`.
        params: pytree of parameters w.
        epsilon: relative half-width of the box.
        method: "best", "lbfgsb" or "sign".
        key: for the random corners; `jax.random.key(0)` when left out.

    Raises:
        ValueError: a loss that is not a finite scalar, no parameters, ε ≤ 0, unknown method.

    Reference: Keskar et al. 2016, metric 2.1, for the box.
    """
    checks.one_of("method", method, METHODS)
    epsilon = checks.positive("epsilon", epsilon)
    objective = checked_objective(loss, params)
    key = jax.random.key(0) if key is None else key
    start = objective.value
    gradients, trace, delta, converged = 0, np.array([start]), None, False
    if method != "lbfgsb":
        delta, _, gains, count, settled = best_corner(
            key, objective.loss, objective.params, epsilon
        )
        gradients, trace, converged = int(count), np.asarray(gains), bool(settled)
    if method != "sign":
        calls = max(1, _BUDGET - _OVERRUN - gradients)
        delta, climb, settled = _climb(objective.loss, objective.params, epsilon, delta, calls)
        gradients += len(climb) + 1
        # A climb that gained nothing over the corner leaves the corner's own verdict.
        gained = climb.max() > trace.max() + _SETTLED * (trace.max() - start)
        converged = settled if gained or method == "lbfgsb" else converged
        trace = np.maximum.accumulate(np.concatenate([trace, climb]))
    top, first, second, on_face = map(
        float, _expansion(objective.loss, objective.params, epsilon, jnp.asarray(delta))
    )
    unit = 100.0 / (1.0 + start)
    value = unit * (top - start)
    return Sharpness(
        value,
        top,
        start,
        unit * first,
        unit * second,
        value - unit * (first + second),
        converged,
        on_face,
        trace,
        gradients,
    )


class _Corner(NamedTuple):
    """The best corner that sign iteration found."""

    delta: Array
    loss: Array
    trace: Array
    gradients: Array
    settled: Array


@jax.jit
def best_corner(key: Array, loss: Partial, params: Any, epsilon: Array | float) -> _Corner:
    """Sign iteration from five corners; a jittable core that vmaps over params and key."""
    function, w = flat_loss(loss, params)
    value_and_gradient = jax.value_and_grad(function)
    product, size = hessian_product(loss, params)
    box = epsilon * (jnp.abs(w) + 1.0)
    start, gradient = value_and_gradient(w)

    def power(_, v):
        v = box * product(box * v)  # in box units, where the box is a cube
        return v / jnp.maximum(jnp.linalg.norm(v), jnp.finfo(v.dtype).tiny)

    vector_key, corner_key = jax.random.split(key)
    top = jax.lax.fori_loop(0, _POWER_STEPS, power, jax.random.normal(vector_key, (size,), w.dtype))
    random = jax.random.rademacher(corner_key, (2, size), w.dtype)
    starts = jnp.stack([jnp.sign(gradient), jnp.sign(top), -jnp.sign(top), *random])

    def search(begin):
        sign, limit = begin

        def rising(state):
            _, _, _, step, _, moved = state
            return moved & (step < limit)

        def iterate(state):
            sign, best_sign, best, step, values, _ = state
            value, gradient = value_and_gradient(w + box * sign)
            better = value > best
            best_sign = jnp.where(better, sign, best_sign)
            next_sign = jnp.where(gradient == 0, sign, jnp.sign(gradient))
            values = values.at[step].set(value)
            moved = jnp.any(next_sign != sign)
            return next_sign, best_sign, jnp.maximum(best, value), step + 1, values, moved

        values = jnp.full(_CORNER_STEPS.max(), start)
        state = (sign, jnp.zeros_like(sign), start, 0, values, jnp.array(True))
        _, best_sign, best, step, values, moved = jax.lax.while_loop(rising, iterate, state)
        before = jnp.max(jnp.where(jnp.arange(len(values)) < step - 1, values, start))
        settled = ~moved | (best - before <= _SETTLED * (best - start))
        return best_sign, best, step, values, settled

    signs, bests, steps, values, settled = jax.lax.map(search, (starts, jnp.asarray(_CORNER_STEPS)))
    winner = jnp.argmax(bests)
    trace = jax.lax.cummax(jnp.concatenate([start[None], values.ravel()]))
    count = 1 + 2 * _POWER_STEPS + jnp.sum(steps)
    return _Corner(box * signs[winner], bests[winner], trace, count, settled[winner])


def _climb(loss, params, epsilon, delta, calls: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """L-BFGS-B from delta (the centre where None): the maximiser, losses seen, converged.

    The variable is u = δ/box in [-1, 1] and the objective is scaled so that a coordinate of
    its gradient at the centre is one on average. L-BFGS-B measures its first step and its
    stopping test against that gradient; with the plain loss, whose gradient in u is 1e-8, it
    stops half-way up.
    """
    unit_function = partial(_in_box_units, loss, params, epsilon)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    centre, slope = unit_function(jnp.zeros(size))
    scale = size / max(float(jnp.abs(slope).sum()), np.finfo(float).tiny)
    box = np.asarray(_box(params, epsilon))
    losses, best = [], [-np.inf, None]

    def objective(u):
        value, gradient = map(np.asarray, unit_function(jnp.asarray(u)))
        losses.append(float(value))
        if value > best[0]:
            best[:] = value, u.copy()
        return -scale * (float(value) - float(centre)), -scale * gradient

    begin = np.zeros(size) if delta is None else np.asarray(delta) / box
    found = optimize.minimize(
        objective,
        begin,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(-np.ones(size), np.ones(size)),
        options={"maxfun": calls, "ftol": _SETTLED / 10, "gtol": 0.0},
    )
    losses = np.array(losses)
    last_gain = losses.max() - max(losses[:-3].max(initial=-np.inf), losses[0])
    settled = last_gain <= _SETTLED * (losses.max() - float(centre))
    return box * best[1], losses, bool(found.success or settled)


@jax.jit
def _box(params: Any, epsilon: float) -> Array:
    return epsilon * (jnp.abs(jax.flatten_util.ravel_pytree(params)[0]) + 1.0)


@jax.jit
def _in_box_units(loss: Partial, params: Any, epsilon: float, u: Array) -> tuple[Array, Array]:
    """Loss and gradient at w + box · u, with respect to u."""
    function, w = flat_loss(loss, params)
    box = _box(params, epsilon)
    return jax.value_and_grad(lambda u: function(w + box * u))(u)


@jax.jit
def _expansion(loss: Partial, params: Any, epsilon: float, delta: Array) -> tuple[Array, ...]:
    """Loss at w + δ, g·δ, ½ δ'Hδ, share of coordinates on the face."""
    function, w = flat_loss(loss, params)
    product, _ = hessian_product(loss, params)
    on_face = jnp.mean(jnp.abs(delta) >= _box(params, epsilon) * (1 - 1e-9))
    first = jax.grad(function)(w) @ delta
    return function(w + delta), first, 0.5 * delta @ product(delta), on_face
