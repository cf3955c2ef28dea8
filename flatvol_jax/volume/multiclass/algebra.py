"""EP's marginals of C classes as a compiled program: the `LinearAlgebra` of other devices."""

import jax
import jax.numpy as jnp
from jax import Array
from jax.scipy.linalg import cho_solve, solve_triangular

from flatvol_jax.volume.ep import LinearAlgebra, Marginals, Sites
from flatvol_jax.volume.multiclass.differences import (
    Problem,
    difference_variances,
    off_grid,
    scaled_sites,
)


def _class_marginals(problem: Problem, root: Array, precision: Array, shift: Array) -> Marginals:
    """Compute what `host_algebra.HostClasses` does, in two loops over the classes."""
    del root  # all labels are +1
    kernel = problem.kernel
    scaled = scaled_sites(problem, Sites(precision, shift))

    def inverted(inputs):
        own, root, mean = inputs
        matrix = root[:, None] * kernel * root + jnp.diag(1.0 - own)
        factor = jnp.linalg.cholesky(matrix, symmetrize_input=False)
        half = solve_triangular(factor, jnp.diag(root), lower=True)
        block = half.T @ half
        return block, block @ mean, jnp.sum(half**2, axis=0), jnp.sum(jnp.log(factor.diagonal()))

    own = problem.own.astype(kernel.dtype)
    blocks, pulls, diagonals, logs = jax.lax.map(inverted, (own, scaled.root, scaled.mean))
    factor = jnp.linalg.cholesky(jnp.sum(blocks, axis=0), symmetrize_input=False)
    winners = cho_solve((factor, True), jnp.sum(pulls, axis=0))

    def finished(inputs):
        block, pull, variance = inputs
        rotated = solve_triangular(factor, block, lower=True)
        mean = kernel @ pull + variance * (block @ winners)
        return mean, variance * jnp.sum(rotated**2, axis=0)

    mean, taken = jax.lax.map(finished, (blocks, pulls, scaled.variance))
    return Marginals(
        off_grid(problem, mean),
        off_grid(problem, diagonals / scaled.root**2 - taken),
        jnp.sum(logs) + jnp.sum(jnp.log(factor.diagonal())),
    )


CLASSES = LinearAlgebra(difference_variances, _class_marginals)
