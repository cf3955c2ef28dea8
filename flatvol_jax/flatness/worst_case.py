"""The largest loss within a scaled unit ball around the parameters, the best that is found.

Every worst-case measure is such a maximum: δ = scale · u with ‖u‖ ≤ 1 in the ∞-norm (a box) or in
the 2-norm (an ellipsoid). It is not convex, so the search has several starts, and what it finds
is a lower bound.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int
from scipy import optimize

from flatvol_jax.flatness import lanczos
from flatvol_jax.flatness.objective import Loss, Objective, flat_loss, hessian_product
from flatvol_jax.runtime.convolutions import fast_convolutions

METHODS = ("best", "lbfgsb", "sign")
"""What `sharpness` and `adaptive_sharpness` take as `method`."""
# Gradients from each start: the gradient's corner, ± the top eigenvector, two random corners.
_CORNER_STEPS = np.array([12, 5, 5, 5, 5])
_LANCZOS_STEPS = 5  # Hessian products, two gradients each
_BUDGET = 60  # gradients in all
_OVERRUN = 8  # scipy looks at maxfun only between line searches
_STATIONARY = 1e-3  # share of the rise that a linear maximum could still add: converged
_SETTLED = 1e-4  # converged where the last gain (of three calls of a climb) is a smaller share


class WorstCase(NamedTuple):
    """The best point that was found.

    Attributes:
        delta: w' - w, (P,).
        history: the running maximum of the loss over its evaluations, the last one the maximum.
        gradients: gradient evaluations (a Hessian product counts as two).
        converged: whether the search that found it had stopped rising, or the point is
            stationary: the gap max_v g·(v - u) over ‖v‖ ≤ 1, g the gradient in u, is below 1e-3
            of the rise (Frank and Wolfe 1956).
    """

    delta: Float[Array, " P"]
    history: Float[np.ndarray, " evaluations"]
    gradients: int
    converged: bool


def worst_case(
    key: Array,
    objective: Objective,
    scale: Float[Array, " P"],
    norm: str = "inf",
    method: str = "best",
) -> WorstCase:
    """Maximise the loss over ‖u‖ ≤ 1, δ = scale · u; inside a float64 scope.

    "sign" iterates u <- the maximiser of the loss linearised at the point before: sign(g) in the
    ∞-norm, g/‖g‖ in the 2-norm, g the gradient in u. It starts from that of the gradient, from
    both signs of the top Hessian eigenvector and from two random points. "lbfgsb" climbs in the
    box with scipy's L-BFGS-B from the centre and from half-way to both corners of the top
    eigenvector, up to 60 gradients each. "best" iterates, then climbs from the best corner, at
    most 60 gradients in all; some 75 where no corner lies higher and it climbs from all three.

    Args:
        key: for the random starts.
        objective: as `checked_objective` gives it.
        scale: (P,), not negative; half-widths of the box or half-axes of the ellipsoid.
        norm: "inf" or "2"; L-BFGS-B knows boxes only, so "2" always iterates.
        method: "best", "lbfgsb" or "sign".
    """
    loss, params, start = objective
    if method == "lbfgsb":
        return _climb_from_several(key, objective, scale, _BUDGET - _OVERRUN)
    found = linear_search(key, loss, params, scale, norm)
    delta, history = found.delta, np.asarray(found.history)
    gradients, converged, defined = int(found.gradients), bool(found.settled), bool(found.defined)
    if method == "best" and norm == "inf":
        calls = max(3, _BUDGET - _OVERRUN - gradients)
        if history.max() <= start:  # a saddle, or a peak: no corner lies higher
            found = _climb_from_several(key, objective, scale, calls // 3)
            return found._replace(gradients=found.gradients + gradients)
        delta, climb, settled = _climb(objective, scale, delta, calls)
        gradients, defined = gradients + len(climb), defined and np.isfinite(climb).all()
        # A climb that gained nothing over the corner leaves the corner's own verdict.
        gained = climb.max() > history.max() + _SETTLED * (history.max() - start)
        converged = settled if gained else converged
        history = np.maximum.accumulate(np.concatenate([history, climb]))
    if not converged:
        converged = _is_stationary(objective, scale, delta, norm)
        gradients += 1
    return WorstCase(delta, history, gradients, bool(converged and defined))


class LinearSearch(NamedTuple):
    """The result of iterating linear maximisers; all fields are arrays, so that it vmaps."""

    delta: Float[Array, " P"]
    history: Float[Array, " evaluations"]
    gradients: Int[Array, ""]
    settled: Bool[Array, ""]
    defined: Bool[Array, ""]


@partial(jax.jit, static_argnames="norm")
@fast_convolutions
def linear_search(
    key: Array, loss: Loss, params: Any, scale: Float[Array, " P"], norm: str
) -> LinearSearch:
    """Iterate linear maximisers from five starts; a jittable core that vmaps."""
    function, w = flat_loss(loss, params)
    value_and_gradient = jax.value_and_grad(function)
    start, gradient = value_and_gradient(w)

    def on_ball(direction):
        return jnp.sign(direction) if norm == "inf" else _unit(direction)

    def advance(slope, point):
        if norm == "inf":
            return jnp.where(slope == 0, point, jnp.sign(slope))
        return jnp.where(jnp.any(slope != 0), _unit(slope), point)

    vector_key, random_key = jax.random.split(key)
    top = _top_eigenvector(vector_key, loss, params, scale)
    random = jax.random.normal(random_key, (2, w.size), w.dtype)
    starts = jax.vmap(on_ball)(jnp.stack([scale * gradient, top, -top, *random]))

    def search(begin):
        point, limit = begin

        def rising(state):
            _, _, _, step, _, moved, defined = state
            return moved & defined & (step < limit)

        def iterate(state):
            point, best_point, best, step, values, *_ = state
            value, gradient = value_and_gradient(w + scale * point)
            better = jnp.isfinite(value) & (value > best)
            best_point, best = jnp.where(better, point, best_point), jnp.where(better, value, best)
            ahead = advance(scale * gradient, point)
            values = values.at[step].set(best)
            moved, defined = jnp.any(ahead != point), jnp.isfinite(value)
            return ahead, best_point, best, step + 1, values, moved, defined

        values = jnp.full(_CORNER_STEPS.max(), start)
        begin = (jnp.zeros_like(point), start, 0, values, jnp.array(True), jnp.array(True))
        _, best_point, best, step, values, moved, defined = jax.lax.while_loop(
            rising, iterate, (point, *begin)
        )
        before = jnp.max(jnp.where(jnp.arange(len(values)) < step - 1, values, start))
        settled = ~moved | (best - before <= _SETTLED * (best - start))
        return best_point, best, step, values, settled, defined

    points, bests, steps, values, settled, defined = jax.lax.map(
        search, (starts, jnp.asarray(_CORNER_STEPS))
    )
    winner = jnp.argmax(bests)
    history = jax.lax.cummax(jnp.concatenate([start[None], values.ravel()]))
    count = 1 + 2 * _LANCZOS_STEPS + jnp.sum(steps)
    # A loss that is not finite somewhere has no maximum.
    return LinearSearch(scale * points[winner], history, count, settled[winner], jnp.all(defined))


def _unit(vector: Float[Array, " P"]) -> Float[Array, " P"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), jnp.finfo(vector.dtype).tiny)


@jax.jit
@fast_convolutions
def _top_eigenvector(key: Array, loss: Loss, params: Any, scale: Array) -> Array:
    """Return the eigenvector of the Hessian's largest eigenvalue in u, by a few Lanczos steps."""
    product, size = hessian_product(loss, params)
    state = lanczos.extend(
        key,
        lambda v: scale * product(scale * v),
        lanczos.begin(key, size),
        min(_LANCZOS_STEPS, size),
    )
    return lanczos.ritz_pairs(state).vectors[0]


def _climb_from_several(key: Array, objective: Objective, scale: Array, calls: int) -> WorstCase:
    """Climb from the centre and from half-way to both corners of the top eigenvector."""
    loss, params, start = objective
    half = 0.5 * scale * jnp.sign(_top_eigenvector(key, loss, params, scale))
    history, best = np.array([start]), (jnp.zeros_like(half), start, True)
    undefined = False
    for begin in (jnp.zeros_like(half), half, -half):
        delta, climb, settled = _climb(objective, scale, begin, calls)
        undefined = undefined or not np.isfinite(climb).all()
        if climb.max() > best[1]:
            best = delta, climb.max(), settled
        history = np.concatenate([history, climb])
    gradients = len(history) - 1 + 2 * _LANCZOS_STEPS
    converged = best[2] and not undefined
    return WorstCase(best[0], np.maximum.accumulate(history), gradients, converged)


def _climb(
    objective: Objective, scale: Array, delta: Array, calls: int
) -> tuple[Array, np.ndarray, bool]:
    """Climb by L-BFGS-B in the box from delta; return maximiser, losses seen, whether it settled.

    The variable is u and the objective is scaled so that a coordinate of its gradient at the
    beginning is one on average. L-BFGS-B measures its first step and its stopping test against
    that gradient; with the plain loss, whose gradient in u is 1e-8, it stops half-way up.
    """
    loss, params, start = objective
    half_widths = np.asarray(scale)
    begin = np.divide(np.asarray(delta), half_widths, out=np.zeros(scale.size), where=scale > 0)
    losses: list[float] = []
    best = [-np.inf, begin]
    unit, defined = None, True

    def scaled_loss(u):
        nonlocal unit, defined
        value, gradient = map(np.asarray, _in_units(loss, params, scale, jnp.asarray(u)))
        if not np.isfinite(value):
            defined = False
            losses.append(-np.inf)
            return np.inf, np.zeros(u.size)  # the line search turns back
        if unit is None:
            total = np.abs(gradient).sum()
            unit = u.size / total if total > 0 else 1.0
        losses.append(float(value))
        if value > best[0]:
            best[:] = float(value), u.copy()
        return -unit * (float(value) - start), -unit * gradient

    found = optimize.minimize(
        scaled_loss,
        begin,
        jac=True,
        method="L-BFGS-B",
        bounds=optimize.Bounds(-np.ones(scale.size), np.ones(scale.size)),
        options={"maxfun": calls, "ftol": _SETTLED / 10, "gtol": 0.0},
    )
    climb = np.array(losses)
    seen = climb[np.isfinite(climb)]
    top, earlier = (part.max(initial=start) for part in (seen, seen[: max(1, len(seen) - 3)]))
    settled = top - earlier <= _SETTLED * (top - start)
    return jnp.asarray(half_widths * best[1]), climb, defined and bool(found.success or settled)


@jax.jit
@fast_convolutions
def _in_units(loss: Loss, params: Any, scale: Array, u: Array) -> tuple[Array, Array]:
    """Return loss and gradient at w + scale · u, with respect to u."""
    function, w = flat_loss(loss, params)
    return jax.value_and_grad(lambda u: function(w + scale * u))(u)


def _is_stationary(objective: Objective, scale: Array, delta: Array, norm: str) -> bool:
    """Tell whether a linear maximum over the ball could add little to the rise at delta."""
    loss, params, start = objective
    u = jnp.where(scale > 0, delta / scale, 0.0)
    value, gradient = _in_units(loss, params, scale, u)
    furthest = jnp.linalg.norm(gradient, 1 if norm == "inf" else 2)
    return bool(furthest - gradient @ u <= _STATIONARY * (value - start))


class Expansion(NamedTuple):
    """The loss at w + δ and its Taylor parts at w.

    Attributes:
        value: L(w + δ).
        first_order: g·δ.
        second_order: ½ δ'Hδ.
        on_face: share of the coordinates with |δ_i| = scale_i.
    """

    value: Float[Array, ""]
    first_order: Float[Array, ""]
    second_order: Float[Array, ""]
    on_face: Float[Array, ""]


@jax.jit
@fast_convolutions
def expansion(
    loss: Loss, params: Any, scale: Float[Array, " P"], delta: Float[Array, " P"]
) -> Expansion:
    """Expand the loss at w + δ."""
    function, w = flat_loss(loss, params)
    product, _ = hessian_product(loss, params)
    on_face = jnp.mean(jnp.abs(delta) >= scale * (1 - 1e-9))
    first = jax.grad(function)(w) @ delta
    return Expansion(function(w + delta), first, 0.5 * delta @ product(delta), on_face)
