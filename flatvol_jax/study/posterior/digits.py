"""The digits of one draw: S, of which each size takes the first, and E."""

from typing import NamedTuple

import numpy as np

from flatvol_jax import data
from flatvol_jax.models import check_labels, output_count
from flatvol_jax.study.measures.problem import draw_parts
from flatvol_jax.study.posterior.settings import PosteriorConfig


class Digits(NamedTuple):
    """Preprocessed inputs (., d) float32 and labels, ±1 or 0..C-1, of S and E."""

    train_x: np.ndarray
    train_y: np.ndarray
    test_x: np.ndarray
    test_y: np.ndarray


def drawn_digits(config: PosteriorConfig, draw: int, data_dir: str | None = None) -> Digits:
    """Return S and E of a draw, pooled and in the order that the config asks for.

    Raises:
        ValueError: images that cannot be pooled; an S that cannot be balanced.
    """
    study, inputs = config.study, config.inputs
    parts = draw_parts(study, draw, data_dir)
    train, test = parts.train, parts.test
    check_labels("labels of hp.data.groups", train.y, output_count(study.hp.model))
    order = np.arange(len(train.y))
    if inputs.balanced:
        order = alternating(train.y)
        _check_balance(train.y[order], config.posterior.sizes, len(np.unique(test.y)))
    train_x, test_x = (
        data.preprocess(
            pooled_images(x.reshape(len(x), -1), inputs.pool),
            study.hp.data.preprocessing,
            reference=pooled_images(train.x.reshape(len(train.x), -1), inputs.pool),
        )
        for x in (train.x[order], test.x)
    )
    return Digits(train_x, train.y[order], test_x, test.y)


def pooled_images(x: np.ndarray, pool: int) -> np.ndarray:
    """Return the largest pixel of each square of side `pool`: (n, s²) -> (n, (s/pool)²).

    Raises:
        ValueError: images that are no squares, or whose side is no multiple of `pool`.
    """
    if pool == 1:
        return x
    side = round(x.shape[1] ** 0.5)
    if side**2 != x.shape[1] or side % pool:
        raise ValueError(
            f"hp.inputs.pool: got {pool} for inputs of {x.shape[1]} numbers, wanted a divisor of "
            "the side of square images of one channel; 1 leaves the inputs as they are."
        )
    squares = x.reshape(len(x), side // pool, pool, side // pool, pool)
    return squares.max(axis=(2, 4)).reshape(len(x), -1)


def alternating(y: np.ndarray) -> np.ndarray:
    """Return the order in which the classes take turns, each in its own order."""
    turn = np.zeros(len(y), int)
    for label in np.unique(y):
        turn[y == label] = np.arange(np.sum(y == label))
    return np.lexsort((y, turn))


def _check_balance(y: np.ndarray, sizes: tuple[int, ...], classes: int) -> None:
    for size in sizes:
        counts = np.unique(y[:size], return_counts=True)[1]
        if np.ptp(counts) > 1 or len(counts) < min(size, classes):
            raise ValueError(
                f"posterior.sizes: got {size} with hp.inputs.balanced, but hp.data.train_size = "
                f"{len(y)} digits have too few of a class. Take a larger train_size."
            )
