"""The diagonal of the Gauss-Newton matrix, from the gradient of every output."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.tree_util import Partial
from jaxtyping import Float

from flatvol_jax.flatness._composed import Composed
from flatvol_jax.flatness.objective import checked_objective, checked_operator, checked_shape
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope, to_host

_BLOCK_ENTRIES = 2**22  # numbers in a block of per-example gradients: 32 MiB
_OFF_DIAGONAL = 1e-9  # of the largest second derivative of outer


class SeparateOutputs(NamedTuple):
    """Scalar outputs g_m, in which the Hessian of outer is diagonal.

    Attributes:
        outputs: params -> all of them, (m,).
        example: (params, i) -> the i-th alone, None where there is no such function.
        curvature: ∂²outer/∂g_i², (m,).
    """

    outputs: Partial
    example: Partial | None
    curvature: Float[Array, " m"]


@float64_scope
def gauss_newton_diagonal(
    loss: Composed, params: Any, example: Callable[[Any, Array], Array] | None = None
) -> Any:
    """Return the diagonal of J'(∇²outer)J = Σ_n c_n (∂f_n/∂w_i)², a pytree like params.

    c_n = ∂²outer/∂f_n². It is the diagonal of the Hessian wherever the network is piecewise
    linear in each weight, as ReLU networks are. Exact; the gradients of a block of examples at a
    time are held. Each costs a backward pass through all n examples unless `example` is given.

    For outputs (n, C) the curvature of example n is a matrix B_n = Q_n diag(c_n) Q_n', and the sum
    is over the n C outputs Q_n' f_n. Eigenvalues of B_n within rounding of zero are zeros.

    Args:
        loss: `composed(outer, inner)`, inner of shape (n,) or (n, C), outer a mean of losses of
            one example each.
        params: pytree of parameters w.
        example: (params, i) -> output of example i alone, `loss.inner(params)[i]`.

    Returns:
        NumPy float64, in units of the loss per squared unit of the weight.

    Raises:
        ValueError: a loss that is not Composed, outputs of other shapes, an outer Hessian that is
            not finite or couples examples, an `example` that is not inner's.

    Reference: Schraudolph 2002, "Fast curvature matrix-vector products for second-order gradient
    descent", for the matrix.
    """
    checked_operator("gauss_newton", loss)
    objective = checked_objective(loss, params)
    separate = checked_gauss_newton(loss, objective.params, example)
    return to_host(_diagonal(separate, objective.params))


@jax.jit
@fast_convolutions
def _diagonal(separate: SeparateOutputs, params: Any) -> Any:
    return sum_over_examples(
        lambda gradient: jax.tree.map(jnp.square, gradient),
        separate.outputs,
        params,
        separate.curvature,
        separate.example,
    )


def checked_gauss_newton(loss: Composed, params: Any, example: Callable | None) -> SeparateOutputs:
    """Check what a Gauss-Newton matrix by examples needs, and separate the outputs."""
    shape = jax.eval_shape(loss.inner, params)
    if not (hasattr(shape, "shape") and len(shape.shape) in (1, 2) and 0 not in shape.shape):
        raise ValueError(
            f"loss: got {shape} from inner(params), wanted a vector of outputs, (n,), or the "
            "outputs of C classes, (n, C)."
        )
    probe = np.random.default_rng(0).normal(size=shape.shape)
    outputs, blocks, image = _output_curvature(loss, params, probe)
    checks.finite("second derivative of outer", blocks)
    expected = jnp.einsum("nab,nb->na", blocks, probe.reshape(len(probe), -1)).reshape(probe.shape)
    if jnp.max(jnp.abs(image - expected)) > _OFF_DIAGONAL * jnp.max(jnp.abs(blocks)):
        raise ValueError(
            "loss: got an outer whose Hessian is not diagonal by examples, wanted a mean of losses "
            "of one example each."
        )
    if example is not None:
        example = example if isinstance(example, Partial) else Partial(example)
        checked_shape(
            _one_by_one, example, params, "example", "the output of example i", len(probe)
        )
        alone = _one_by_one(example, params, len(outputs))
        if alone.shape != outputs.shape or not np.allclose(alone, outputs, rtol=1e-6, atol=1e-9):
            raise ValueError(
                f"example: got outputs of shape {alone.shape} that differ from inner(params), "
                "wanted example(params, i) == inner(params)[i]."
            )
    if len(shape.shape) == 1:
        return SeparateOutputs(loss.inner, example, blocks[:, 0, 0])
    curvature, rotations = _principal(np.asarray(blocks))
    return SeparateOutputs(
        Partial(_rotated, rotations, loss.inner),
        None if example is None else Partial(_rotated_alone, rotations, example),
        jnp.asarray(curvature.ravel()),
    )


@jax.jit
@fast_convolutions
def _output_curvature(
    loss: Composed, params: Any, probe: Float[AnyArray, "n ..."]
) -> tuple[Float[Array, "n ..."], Float[Array, "n C C"], Float[Array, "n ..."]]:
    """Return the outputs, outer's Hessian in each example, (n, C, C), and its image of a probe."""
    outputs = jnp.asarray(loss.inner(params), jnp.float64)
    _, product = jax.linearize(jax.grad(loss.outer), outputs)
    n = len(outputs)

    def column(direction):
        return product(jnp.broadcast_to(direction, (n, direction.size)).reshape(outputs.shape))

    columns = jax.lax.map(column, jnp.eye(outputs.size // n))
    blocks = jnp.moveaxis(columns.reshape(len(columns), n, -1), 0, -1)
    return outputs, blocks, product(probe)


def _principal(
    blocks: Float[np.ndarray, "n C C"],
) -> tuple[Float[np.ndarray, "n C"], Float[np.ndarray, "n C C"]]:
    """Return the eigenvalues of B_n, (n, C), and its eigenvectors as columns, (n, C, C).

    Eigenvalues within rounding of zero are 0.

    Rounding is relative to the largest of the example; of a negative one relative to the largest
    of all examples: where an answer is certain, p (1 - p) has fewer digits than p.
    """
    transposed = np.swapaxes(blocks, 1, 2)
    values, vectors = np.linalg.eigh(0.5 * (blocks + transposed))
    asymmetry = 0.5 * np.linalg.norm(blocks - transposed, axis=(1, 2))
    share = values.shape[1] * np.finfo(np.float64).eps
    limit = asymmetry + share * np.abs(values).max(axis=1)
    zero = np.abs(values) <= limit[:, None]
    zero |= (values < 0) & (values >= -share * np.abs(values).max())
    return np.where(zero, 0.0, values), vectors


def _rotated(rotations: Array, inner: Callable, params: Any) -> Array:
    """Return the outputs along the eigenvectors of each example's curvature, (n C,)."""
    return jnp.einsum("nab,na->nb", rotations, inner(params)).ravel()


def _rotated_alone(rotations: Array, example: Callable, params: Any, i: Array) -> Array:
    """Return one of these outputs, from its example alone."""
    classes = rotations.shape[-1]
    return rotations[i // classes, :, i % classes] @ example(params, i // classes)


@partial(jax.jit, static_argnames="n")
@fast_convolutions
def _one_by_one(example: Partial, params: Any, n: int) -> Array:
    return jax.vmap(example, (None, 0))(params, jnp.arange(n))


def sum_over_examples(
    statistic: Callable[[Any], Any],
    outputs: Callable[[Any], Array],
    params: Any,
    weights: Float[Array, " n"],
    example: Callable[[Any, Array], Array] | None,
) -> Any:
    """Sum weights_n statistic(∇f_n) over scalar outputs, a block at a time; traceable."""
    n = len(weights)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    block = min(n, max(1, _BLOCK_ENTRIES // size))
    if example is None:
        _, pull = jax.vjp(lambda p: jnp.asarray(outputs(p), jnp.float64), params)

    def gradient(i):
        if example is None:
            return pull(jnp.zeros(n).at[i].set(1.0))[0]
        return jax.grad(example)(params, i)

    def step(total, index):
        statistics = jax.vmap(lambda i: statistic(gradient(i)))(index)
        weight = jnp.where(index < n, weights[index], 0.0)  # the last block is padded
        return jax.tree.map(lambda t, s: t + jnp.tensordot(weight, s, 1), total, statistics), None

    blocks = -(-n // block)
    index = jnp.arange(blocks * block).reshape(blocks, block)
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(statistic, params))
    return jax.lax.scan(step, zero, index)[0]
