"""Measures of the Hessian of the mean loss, or of its Gauss-Newton part."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from flatvol_jax.flatness import lanczos
from flatvol_jax.flatness._composed import LossFunction
from flatvol_jax.flatness.objective import (
    Loss,
    Objective,
    checked_objective,
    checked_operator,
    curvature_product,
)
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.convolutions import fast_convolutions
from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.printing import prints_its_fields

DENSE_UP_TO = 1000  # parameters; below it the whole matrix and its eigenvalues are cheap
TOLERANCE = 1e-6  # of a residual norm, relative to the spectral norm
_RESOLVED = 1e-2  # of a residual norm, relative to an eigenvalue that enters the product
_MAX_DEPTH = 1600
_PROBES = 32


@prints_its_fields
class Eigenvalues(NamedTuple):
    """The k algebraically largest eigenvalues, descending.

    Attributes:
        values: (k,); 0 exactly where they are within rounding of zero, as `without_rounding` says.
        residuals: ‖Hv - λv‖ of each, (k,); 0 where the matrix was dense.
        converged: of each, whether its residual is at most 1e-6 of the spectral norm, (k,).
    """

    values: Float[np.ndarray, " k"]
    residuals: Float[np.ndarray, " k"]
    converged: Bool[np.ndarray, " k"]


@prints_its_fields
class HessianMeasures(NamedTuple):
    """Flatness read from the Hessian H of the mean loss.

    Attributes:
        spectral_norm: max |λ|.
        lambda_max: the algebraically largest eigenvalue.
        lambda_min: the smallest one; negative where the point is no minimum, 0 exactly where it is
            within rounding of zero.
        frobenius_norm: (Σ λ²)^½.
        frobenius_norm_se: its standard error, 0 where it is exact.
        trace: Σ λ.
        trace_se: its standard error, 0 where it is exact.
        log_product: Σ ln λ over those of the k largest that are positive (natural log): above
            the rounding of zero and above their own residual. 0, an empty sum, where none is.
        log_product_count: how many those are.
        log_product_status: "complete", or how many of the k are positive, how many are zero within
            rounding, and how many their residual does not tell from zero: products of different
            numbers of factors are not comparable.
        eigenvalues: the k algebraically largest, descending; 0 exactly within rounding of zero.
        residuals: ‖Hv - λv‖ of each.
        converged: whether all of them and lambda_min have converged.
    """

    spectral_norm: float
    lambda_max: float
    lambda_min: float
    frobenius_norm: float
    frobenius_norm_se: float
    trace: float
    trace_se: float
    log_product: float
    log_product_count: int
    log_product_status: str
    eigenvalues: Float[np.ndarray, " k"]
    residuals: Float[np.ndarray, " k"]
    converged: bool


@float64_scope
def hessian_eigenvalues(
    key: Array,
    loss: LossFunction,
    params: Any,
    k: int,
    operator: str = "hessian",
) -> Eigenvalues:
    """Return the k algebraically largest eigenvalues of ∇²L(w), or of its Gauss-Newton part.

    Dense up to 1,000 parameters. Beyond: Lanczos with full reorthogonalisation on
    Hessian-vector products, the Krylov space doubled until the residuals are below 1e-6 of
    the spectral norm. Ranking is algebraic: negative eigenvalues never displace positive ones.

    Args:
        key: for the start vector.
        loss: mean loss, params -> scalar; see `sharpness` on how often it is compiled.
        params: pytree of parameters w.
        k: how many, at most the number of parameters.
        operator: "hessian", or "gauss_newton" for a loss made by `flatness.composed`.

    Raises:
        ValueError: a loss that is not a finite scalar or does not fit the operator, no
            parameters, k larger than their number.
    """
    key = checks.random_key("key", key)
    objective, k = _checked(loss, params, k, operator)
    spectrum = _spectrum(key, objective, k, operator)
    return Eigenvalues(spectrum.values[:k], spectrum.residuals[:k], spectrum.converged[:k])


@float64_scope
def hessian_measures(
    key: Array,
    loss: LossFunction,
    params: Any,
    k: int = 50,
    operator: str = "hessian",
) -> HessianMeasures:
    """Return spectral norm, Frobenius norm, trace and log product of the k largest eigenvalues.

    Exact up to 1,000 parameters. Beyond, with V the converged Ritz vectors and
    z̃ = (I - VV')z for Rademacher z: trace = Σ λ_V + E z̃'Hz̃ and
    ‖H‖_F² = Σ λ_V² + E‖(I - VV')Hz̃‖², each mean with its standard error: Hutch++ (Meyer et al.
    2021) with the Krylov space, which is there already, in place of a random sketch.

    Args:
        key: for the start vector and the probes.
        loss: mean loss, params -> scalar; see `sharpness` on how often it is compiled.
        params: pytree of parameters w.
        k: factors of the product.
        operator: "hessian", or "gauss_newton" for a loss made by `flatness.composed`.

    Raises:
        ValueError: a loss that is not a finite scalar or does not fit the operator, no
            parameters, k larger than their number.
    """
    key = checks.random_key("key", key)
    objective, k = _checked(loss, params, k, operator)
    lanczos_key, probe_key = jax.random.split(key)
    spectrum = _spectrum(lanczos_key, objective, k, operator)
    values = spectrum.values
    if spectrum.vectors is None:
        trace, trace_se, square, square_se = values.sum(), 0.0, (values**2).sum(), 0.0
    else:
        good = np.where(spectrum.converged, values, 0.0)
        rest = _deflated_moments(
            probe_key,
            objective.loss,
            objective.params,
            spectrum.vectors * spectrum.converged[:, None],
            operator,
            _PROBES,
        )
        means, errors = np.mean(rest, axis=1), np.std(rest, axis=1, ddof=1) / np.sqrt(_PROBES)
        trace, trace_se = good.sum() + means[0], errors[0]
        square, square_se = (good**2).sum() + means[1], errors[1]
    frobenius = float(np.sqrt(square))
    largest = values[:k]
    positive = largest[largest > spectrum.residuals[:k]]
    return HessianMeasures(
        float(np.abs(values).max()),
        float(values[0]),
        float(values[-1]),
        frobenius,
        float(square_se / (2 * frobenius)) if frobenius > 0 else 0.0,
        float(trace),
        float(trace_se),
        float(np.log(positive).sum()),
        len(positive),
        _product_status(largest, spectrum.residuals[:k]),
        largest,
        spectrum.residuals[:k],
        bool(spectrum.converged[:k].all() and spectrum.converged[-1]),
    )


def _product_status(values: np.ndarray, residuals: np.ndarray) -> str:
    """Say how many of the k largest eigenvalues enter the product, and why others do not."""
    positive, zero = values > residuals, values == 0
    unresolved = (np.abs(values) <= residuals) & ~zero
    if positive.all():
        return "complete"
    parts = [f"only {positive.sum()} of {len(values)} are positive"]
    if zero.any():
        parts.append(f"{zero.sum()} zero within rounding")
    if unresolved.any():
        parts.append(f"{unresolved.sum()} not told from zero by the residual")
    return ", ".join(parts)


def without_rounding(
    values: Float[np.ndarray, "*shape"], size: int, noise: float = 0.0
) -> Float[np.ndarray, "*shape"]:
    """Set the eigenvalues that are within rounding of zero to 0 exactly.

    float64 products with a matrix of P rows leave eigenvalues of up to about P · 2e-16 of the
    largest where the matrix has none. That is the limit here, with P = 1,000 at least, for the
    sums over data that the matrix is made of, and `noise` beside it.

    Args:
        values: eigenvalues, the one of the largest modulus among them.
        size: P.
        noise: what is known of the error of the matrix, in units of the eigenvalues.
    """
    limit = noise + rounding(np.abs(values).max(initial=0.0), size)
    return np.where(np.abs(values) <= limit, 0.0, values)


def rounding(spectral_norm: float, size: int) -> float:
    """Return how far from 0 float64 leaves a zero eigenvalue of a (size, size) matrix."""
    return max(size, 1000) * float(np.finfo(np.float64).eps) * spectral_norm


class _Spectrum(NamedTuple):
    """Ritz values, descending, with residuals; vectors are rows, None where exact.

    Values within rounding of zero are 0. Residuals are then 0, too, where they are rounding.
    """

    values: Float[np.ndarray, " m"]
    residuals: Float[np.ndarray, " m"]
    converged: Bool[np.ndarray, " m"]
    vectors: Float[Array, "m P"] | None


def _spectrum(key: Array, objective: Objective, k: int, operator: str) -> _Spectrum:
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(objective.params))
    if size <= DENSE_UP_TO:
        values, asymmetry = _dense(objective.loss, objective.params, operator)
        values = without_rounding(np.asarray(values)[::-1], size, float(asymmetry))
        return _Spectrum(values, np.zeros(size), np.isfinite(values), None)
    limit = min(max(_MAX_DEPTH, 2 * k), size)
    depth = min(max(3 * k, 40), limit)
    state = lanczos.begin(jax.random.fold_in(key, 0), size)
    while True:
        state, ritz = _continue_lanczos(
            key, objective.loss, objective.params, state, operator, depth
        )
        values, residuals = np.asarray(ritz.values), np.array(ritz.residuals)
        if _has_converged(values, residuals, k, size) or depth == limit:
            ends = np.r_[:k, len(values) - 1]
            pairs = ritz.values[ends], ritz.vectors[ends]
            residuals[ends] = _residuals(objective.loss, objective.params, *pairs, operator)
            converged = residuals <= TOLERANCE * np.abs(values).max()
            return _Spectrum(without_rounding(values, size), residuals, converged, ritz.vectors)
        depth = min(2 * depth, limit)


def _has_converged(values: np.ndarray, residuals: np.ndarray, k: int, size: int) -> bool:
    """Return whether the k largest and the smallest Ritz value have converged."""
    norm = np.abs(values).max()
    converged = residuals <= TOLERANCE * norm
    resolved = residuals <= np.maximum(_RESOLVED * np.abs(values), rounding(norm, size))
    return bool(converged[:k].all() and converged[-1] and resolved[:k].all())


@partial(jax.jit, static_argnames="operator")
@fast_convolutions
def _dense(loss: Loss, params: Any, operator: str) -> tuple[Float[Array, " P"], Float[Array, ""]]:
    """Return all eigenvalues, ascending, and the norm of the antisymmetric part: rounding."""
    product, size = curvature_product(loss, params, operator)
    matrix = jax.lax.map(product, jnp.eye(size), batch_size=64)
    asymmetry = 0.5 * jnp.linalg.norm(matrix - matrix.T)
    return jnp.linalg.eigvalsh(0.5 * (matrix + matrix.T)), asymmetry


@partial(jax.jit, static_argnames=("operator", "depth"))
@fast_convolutions
def _continue_lanczos(
    key: Array, loss: Loss, params: Any, state: lanczos.Tridiagonal, operator: str, depth: int
) -> tuple[lanczos.Tridiagonal, lanczos.Ritz]:
    product, _ = curvature_product(loss, params, operator)
    state = lanczos.extend(key, product, state, depth)
    return state, lanczos.ritz_pairs(state)


@partial(jax.jit, static_argnames="operator")
@fast_convolutions
def _residuals(
    loss: Loss,
    params: Any,
    values: Float[Array, " k"],
    vectors: Float[Array, "k P"],
    operator: str,
) -> Float[Array, " k"]:
    """Return ‖Cv - λv‖ of each pair, computed."""
    product, _ = curvature_product(loss, params, operator)
    return jax.lax.map(
        lambda pair: jnp.linalg.norm(product(pair[1]) - pair[0] * pair[1]), (values, vectors)
    )


@partial(jax.jit, static_argnames=("operator", "probes"))
@fast_convolutions
def _deflated_moments(
    key: Array,
    loss: Loss,
    params: Any,
    vectors: Float[Array, "m P"],
    operator: str,
    probes: int,
) -> Float[Array, "2 probes"]:
    """Return z̃'Cz̃ and ‖(I - VV')Cz̃‖² for each probe, (2, probes)."""
    product, size = curvature_product(loss, params, operator)

    def project(z):
        return z - (vectors @ z) @ vectors

    def moments(probe_key):
        z = project(jax.random.rademacher(probe_key, (size,), jnp.float64))
        image = product(z)
        return jnp.stack([z @ image, jnp.sum(project(image) ** 2)])

    return jax.lax.map(moments, jax.random.split(key, probes)).T


def _checked(loss, params, k, operator) -> tuple[Objective, int]:
    objective = checked_objective(loss, params)
    checked_operator(operator, objective.loss)
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(objective.params))
    k = checks.count("k", k)
    if k > size:
        raise ValueError(f"k: got {k}, wanted at most the number of parameters, {size}.")
    return objective, k
