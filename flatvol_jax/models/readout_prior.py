"""sigma_w and sigma_b of a readout, from draws of the network's own initialiser."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from flatvol_jax.models.readout import ReadoutFunction

_NUMBERS = 2**23  # weights that are drawn
_MOST, _LEAST = 2**17, 64  # draws
_TRUNCATED = 0.7737413  # variance of a standard normal between -2 and 2
_ERRORS = 4.0  # standard errors within which a known initialiser is recognised
_KNOWN_WITHIN = 0.02  # relative standard error of a variance, beyond which nothing is


class Scale(NamedTuple):
    """A standard deviation of the prior.

    Attributes:
        value: the number.
        origin: where it comes from, in words.
    """

    value: float
    origin: str


def given_scale(value: float) -> Scale:
    """Return a scale that the user gave."""
    return Scale(value, "given")


def drawn_scales(
    readout: ReadoutFunction, draws: Iterator[list[np.ndarray]] | Callable, key: Array
) -> tuple[Scale, Scale]:
    """Return sigma_w and sigma_b of the readout h -> w h + b over drawn parameters.

        sigma_w² = N_L E[w²],   sigma_b² = E[b²],   over all outputs where there are several.

    Where a variance agrees with that of a known initialiser within four standard errors, it is
    taken for that; else it is the mean over the draws, and its error is said.

    Args:
        readout: of `readout_function`.
        draws: (keys) -> the leaves that the readout needs, a draw a row, traced; or host arrays
            of them, in any number of parts.
        key: for the draws.

    Raises:
        ValueError: a readout that starts at zero, or weights that are not finite.
    """
    squares: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    program = jax.jit(jax.vmap(lambda *leaves: _moments(readout, leaves)))
    for leaves in _parts(readout, draws, key):
        square, bias = program(*leaves)
        squares.append(np.asarray(square, np.float64))
        biases.append(np.asarray(bias, np.float64))
    square, bias = readout.width * np.concatenate(squares), np.concatenate(biases) ** 2
    outputs = 1
    if bias.ndim == 2:
        outputs, bias = bias.shape[1], bias.mean(axis=1)
    if not (np.isfinite(square).all() and np.isfinite(bias).all()):
        raise ValueError(
            "init: got a readout with NaN or infinite weights at initialisation, wanted finite "
            "ones."
        )
    if not square.any():
        raise ValueError(
            "sigma_w: the readout's weights are zero at initialisation, so every function of the "
            "prior is constant. Pass the prior that you mean: init= that draws them, or sigma_w= "
            "and sigma_b=, with features="
        )
    n = readout.width
    weights = {
        "LeCun's initialisation": 1.0,
        "He's initialisation": 2.0,
        "Glorot's initialisation": 2 * n / (n + outputs),
        "uniform within 1/√N_L": 1 / 3,
        "normal truncated at 2/√N_L": _TRUNCATED,
    }
    offsets = {"uniform within 1/√N_L": 1 / (3 * n), "standard normal": 1.0}
    return _scale(square, weights), _scale(bias, offsets)


def _moments(readout: ReadoutFunction, leaves: tuple) -> tuple[Array, Array]:
    """Return the mean square of the weights, and the bias or the C biases."""
    origin = jnp.zeros(readout.width)
    if jax.eval_shape(readout.function, origin, leaves).shape:
        weights = jax.jacrev(readout.function)(origin, leaves)
        return jnp.mean(weights**2), readout.function(origin, leaves)
    bias, weights = jax.value_and_grad(readout.function)(origin, leaves)
    return jnp.mean(weights**2), bias


def _parts(readout: ReadoutFunction, draws: Any, key: Array) -> Iterator[Any]:
    if not callable(draws):
        yield from draws
        return
    number = int(np.clip(_NUMBERS // readout.width, _LEAST, _MOST))
    part = int(np.clip(2**21 // readout.width, 1, number))
    program = jax.jit(draws)
    for index in range(-(-number // part)):
        yield program(jax.random.split(jax.random.fold_in(key, index), part))


def _scale(squares: np.ndarray, known: dict[str, float]) -> Scale:
    variance = float(squares.mean())
    if variance == 0:
        return Scale(0.0, "none")
    error = float(squares.std() / np.sqrt(len(squares)))
    near = {name: abs(variance - value) for name, value in known.items()}
    name = min(near, key=lambda known_name: near[known_name])
    margin = max(_ERRORS * error, 1e-5 * variance)
    if near[name] <= margin and error <= _KNOWN_WITHIN * variance:
        return Scale(known[name] ** 0.5, name)
    sigma = variance**0.5
    return Scale(float(f"{sigma:.4g}"), f"± {0.5 * error / sigma:.1g}, of {len(squares)} draws")
