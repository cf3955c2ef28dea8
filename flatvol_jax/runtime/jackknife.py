"""The delete-a-group jackknife: error and bias of a number that comes of a mean over groups."""

from typing import NamedTuple

import numpy as np

from flatvol_jax.runtime.arrays import Reals
from flatvol_jax.runtime.printing import prints_its_fields


@prints_its_fields
class Jackknife(NamedTuple):
    """A functional of a mean over independent groups, with its error.

    Attributes:
        value: the functional of the mean over all groups.
        standard_error: of that value, from the spread over groups.
        bias: estimate of E[value] - functional(E[mean]); `value - bias` is corrected for it to
            first order in 1/M, and has about the same standard error.
    """

    value: Reals
    standard_error: Reals
    bias: Reals


def delete_a_group(value: Reals, without: np.ndarray, counts: np.ndarray) -> Jackknife:
    """Return value, standard error and bias of T, for groups of sizes M_j.

    With h_j = M/M_j, T_(j) the functional without group j, and pseudovalues
    P_j = h_j T - (h_j - 1) T_(j): the corrected value is T_J = gT - Σ_j (1 - 1/h_j) T_(j), the
    bias T - T_J, the variance (1/g) Σ_j (P_j - T_J)²/(h_j - 1). For a functional linear in the
    mean the bias is 0 and the standard error that of the mean.

    Args:
        value: T of all groups, any shape.
        without: T_(j), (g, ...).
        counts: M_j, (g,).

    Reference: Busing, Meijer and van der Leeden, Stat. Comput. 9 (1999).
    """
    share = (counts / counts.sum()).reshape(-1, *[1] * np.ndim(value))
    corrected = len(counts) * value - np.sum((1 - share) * without, axis=0)
    pseudovalues = value / share - (1 / share - 1) * without
    variance = np.mean(np.square(pseudovalues - corrected) / (1 / share - 1), axis=0)
    return Jackknife(value, np.sqrt(variance), value - corrected)
