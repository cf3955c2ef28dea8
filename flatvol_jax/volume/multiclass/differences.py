"""The differences f_{i,y_i} - f_ic that decide an argmax: their order, and their covariance."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.volume.ep import Cavities, Sites


class Problem(NamedTuple):
    """C Gaussian processes of one kernel, and which of them is largest at each input.

    Attributes:
        kernel: K, (n, n), of each output.
        own: whether class c is the label of input i, (C, n); one in each column.
        classes: of each difference g_ic = f_{i,y_i} - f_ic the class c, (n(C-1),); a class after
            another.
        points: of each difference the input i, (n(C-1),).
    """

    kernel: Float[Any, "n n"]
    own: Bool[Any, "C n"]
    classes: Int[Any, " n*(C-1)"]
    points: Int[Any, " n*(C-1)"]


def class_problem(
    kernel: Float[AnyArray, "n n"], labels: Int[np.ndarray, " n"], classes: int
) -> Problem:
    """Return the problem of labels 0..C-1, (n,)."""
    own = labels == np.arange(classes)[:, None]
    return Problem(kernel, own, *np.nonzero(~own))


def on_grid(problem: Problem, values: AnyArray, own: float = 0.0) -> Any:
    """Return one number a difference as (C, n), with `own` where the class is the label."""
    if isinstance(values, jax.Array):
        blank = jnp.full(problem.own.shape, own, values.dtype)
        return blank.at[problem.classes, problem.points].set(values)
    grid = np.full(problem.own.shape, own)
    grid[problem.classes, problem.points] = values
    return grid


def off_grid(problem: Problem, grid: AnyArray) -> Any:
    """Return the entries of a (C, n) array that belong to differences."""
    return grid[problem.classes, problem.points]


def difference_variances(problem: Problem) -> Any:
    """Return Var g_ic = 2 K_ii."""
    return 2.0 * problem.kernel.diagonal()[problem.points]


def difference_covariance(problem: Problem) -> Float[np.ndarray, "d d"]:
    """Return Cov(g_ic, g_jd) = K_ij ([y_i = y_j] - [y_i = d] - [c = y_j] + [c = d]).

    With it V(f) = P(g > 0) is the volume of a binary function, of n(C-1) labels +1. It is the
    oracle of what is done class by class, and what small problems use.
    """
    own, points, classes = problem.own, problem.points, problem.classes
    kernel, labels = np.asarray(problem.kernel), np.argmax(own, axis=0)
    label = labels[points]
    sign = (label[:, None] == label).astype(np.float64)
    sign -= label[:, None] == classes
    sign -= classes[:, None] == label
    sign += classes[:, None] == classes
    sign *= kernel[np.ix_(points, points)]
    return sign


def grid_columns(problem: Problem, values: AnyArray) -> np.ndarray:
    """Return one number a difference as (n, C), the form of a result; 0 at the label itself."""
    return on_grid(problem, np.asarray(values)).T


def starting_cavities(problem: Problem, start: Cavities | None) -> Cavities:
    """Return cavities to start from, those of another labelling where the label is the same.

    Args:
        problem: whose differences they are of.
        start: mean and variance as results give them, (n, C), 0 and 0 at the label; None for the
            cold start, no other label seen and a variance below the prior's.
    """
    variance = np.asarray(difference_variances(problem)) / np.e
    mean = np.zeros_like(variance)
    if start is None:
        return Cavities(mean, variance)
    known = ((start.variance.T == 0) == problem.own).all(axis=0)[problem.points]
    return Cavities(
        np.where(known, off_grid(problem, start.mean.T), mean),
        np.where(known, off_grid(problem, start.variance.T), variance),
    )


class Scaled(NamedTuple):
    """Sites as the algebra of one class after another takes them, (C, n) each.

    Attributes:
        root: T, √α on the differences of a class and 1 where it is the label.
        variance: N, 1/α and 0.
        mean: ν/α and 0.
    """

    root: Float[Any, "C n"]
    variance: Float[Any, "C n"]
    mean: Float[Any, "C n"]


def scaled_sites(problem: Problem, sites: Sites) -> Scaled:
    """Return T, N and m of the sites."""
    return Scaled(
        on_grid(problem, sites.precision**0.5, 1.0),
        on_grid(problem, 1.0 / sites.precision),
        on_grid(problem, sites.shift / sites.precision),
    )
