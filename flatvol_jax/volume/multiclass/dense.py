"""C classes as one binary problem of n(C-1) differences: for few of them, and singular kernels."""

import jax.numpy as jnp
import numpy as np

from flatvol_jax.volume.ep import EP, Marginals, Sites
from flatvol_jax.volume.host_ep import lapack_marginals
from flatvol_jax.volume.multiclass.differences import Problem, difference_covariance
from flatvol_jax.volume.posterior import Posterior, gaussian_posterior


class DenseClasses:
    """The algebra of M, which is never singular where sites are: B = I + S^½ M S^½."""

    def __init__(self, problem: Problem):
        """Take the labelling."""
        self.covariance = difference_covariance(problem)

    def marginals(self, sites: Sites) -> Marginals:
        """Return what the sites make of the prior."""
        return lapack_marginals(self.covariance, np.ones(len(self.covariance)), sites)

    def posterior(self, ep: EP) -> Posterior:
        """Return the Gaussian of the sites."""
        return gaussian_posterior(
            jnp.asarray(self.covariance),
            jnp.asarray(ep.sites.precision),
            jnp.asarray(ep.sites.shift),
        )

    def uncertainty(self, problem: Problem, ep: EP) -> np.ndarray:
        """Return the blocks of B^-1 of each input's differences, (n, C, C); see `moments`."""
        root = np.asarray(ep.sites.precision) ** 0.5
        matrix = np.eye(len(root)) + root[:, None] * self.covariance * root
        try:
            inverse = np.linalg.inv(matrix)
        except np.linalg.LinAlgError:  # EP has left the numbers that float64 can hold
            inverse = np.full_like(matrix, np.nan)
        classes, n = problem.own.shape
        place = np.full((classes, n), len(root))
        place[problem.classes, problem.points] = np.arange(len(root))
        padded = np.zeros((len(root) + 1, len(root) + 1))
        padded[:-1, :-1] = inverse
        blocks = padded[place.T[:, :, None], place.T[:, None, :]]
        every = np.arange(classes)
        blocks[:, every, every] += problem.own.T
        return blocks
