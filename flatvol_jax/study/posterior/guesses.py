"""Guess and check: networks of finite width, drawn until enough of them fit S."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models import FCN, Params, output_labels
from flatvol_jax.runtime.preemption import safe_point
from flatvol_jax.study.posterior.margins import normalised_margins, weight_norms

_TOGETHER = 16  # networks that fit and are evaluated at once


class Guesses(NamedTuple):
    """The networks that were drawn.

    Attributes:
        networks: how many.
        labels: of those that fit S, on E, (k, m).
        margins: of the same, normalised, on S, (k,).
    """

    networks: int
    labels: np.ndarray
    margins: np.ndarray


def guess_and_check(
    key: jax.Array,
    spec: FCN,
    x: np.ndarray,
    y: np.ndarray,
    test_x: np.ndarray,
    fitting: int,
    most: int,
    batch: int = 1024,
) -> Guesses:
    """Draw random networks in batches until `fitting` of them fit S or `most` are drawn.

    On S only the component of the first layer's weights in the span of S counts, whose
    coordinates in an orthonormal basis Q are N(0, σ_w²/d) as well. So networks of |S| inputs are
    drawn, x Q' √(r/d) in the place of x, r the dimension of the span; those that fit get the rest
    of their weights, W = W° - QQ'W° + Q w √(r/d) with W° fresh. Whole batches count.

    Args:
        key: for all draws.
        spec: the network.
        x: S, (n, d) float32.
        y: its labels.
        test_x: E, (m, d) float32.
        fitting: networks that are to fit.
        most: networks that are drawn at most, rounded up to whole batches.
        batch: networks that are drawn at a time.
    """
    with jax.enable_x64(False):
        orthonormal = np.linalg.qr(np.asarray(x, np.float64).T)[0]
        coordinates = x @ orthonormal * np.sqrt(orthonormal.shape[1] / x.shape[1])
        small = jnp.asarray(coordinates, jnp.float32)
        basis = jnp.asarray(orthonormal, jnp.float32)
        found, margins, networks = [np.zeros((0, len(test_x)), int)], [np.zeros(0)], 0
        while sum(map(len, found)) < fitting and networks < most:
            drawn, fresh = jax.random.split(jax.random.fold_in(key, networks // batch))
            params, on_train = _drawn(spec, batch, drawn, small)
            fits = np.flatnonzero((_labels(on_train) == y).all(axis=1))
            networks += batch
            for first in range(0, len(fits), _TOGETHER):
                members = np.resize(fits[first:][:_TOGETHER], _TOGETHER)  # filled up by repetition
                own = jax.tree.map(lambda leaf, rows=members: leaf[rows], params)
                outputs, norms = _answers(spec, fresh, members, own, basis, jnp.asarray(test_x))
                kept = slice(min(_TOGETHER, len(fits) - first))
                found.append(_labels(outputs)[kept])
                margins.append(
                    normalised_margins(
                        np.asarray(on_train)[members[kept]], y, np.asarray(norms)[kept]
                    )
                )
            safe_point()
    return Guesses(networks, np.concatenate(found), np.concatenate(margins))


def _labels(outputs: Array) -> np.ndarray:
    """Return the labels of networks' outputs, (k, n) or of C classes (k, n, C)."""
    found = np.asarray(outputs)
    return output_labels(found.reshape(-1, *found.shape[2:])).reshape(found.shape[:2])


@functools.partial(jax.jit, static_argnums=(0, 1))
def _drawn(spec: FCN, batch: int, key: Array, x: Array) -> tuple[Params, Array]:
    params = jax.vmap(lambda k: spec.init(k, x.shape[1:]))(jax.random.split(key, batch))
    return params, jax.vmap(lambda p: spec.apply(p, x))(params)


@functools.partial(jax.jit, static_argnums=0)
def _answers(
    spec: FCN, key: Array, members: Array, params: Params, basis: Array, x: Array
) -> tuple[Array, Array]:
    """Return the outputs on x of networks that fit, with the rest of their weights; the norms."""

    def one(member, own):
        whole = _with_all_inputs(spec, jax.random.fold_in(key, member), own, basis)
        return spec.apply(whole, x), weight_norms(whole)

    return jax.vmap(one)(members, params)


def _with_all_inputs(spec: FCN, key: Array, params: Params, basis: Array) -> Params:
    """Return a network of d inputs that is this one, of r coordinates, on the span of S."""
    d, r = basis.shape
    first: dict[str, Any] = params["layer_1"]
    weights = spec.init(key, (d,))["layer_1"]["kernel"]
    weights = weights - basis @ (basis.T @ weights) + basis @ (first["kernel"] * (r / d) ** 0.5)
    return {**params, "layer_1": {**first, "kernel": weights}}
