"""spec + inputs -> the NNGP kernel of any network, from freshly initialised copies (eq. 6)."""

from typing import NamedTuple

import jax
import numpy as np
from etils import epath
from jaxtyping import Float, Int, Real

from flatvol_jax.kernels import prior_check
from flatvol_jax.kernels.blocks import BLOCK_BYTES, Progress
from flatvol_jax.kernels.monte_carlo_features import feature_width, sample_keys
from flatvol_jax.kernels.monte_carlo_sums import SumFiles, feature_sums
from flatvol_jax.kernels.variation import check_varies
from flatvol_jax.models import (
    Spec,
    check_evaluation,
    check_running_statistics,
    checked_spec,
    network_inputs,
)
from flatvol_jax.runtime import checks, memory
from flatvol_jax.runtime.arrays import AnyArray
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.runtime.printing import prints_its_fields
from flatvol_jax.runtime.spread import usable_devices

_VERSION = 1  # of the sums: raise it when the same key, spec and inputs give others
_FEATURES = 1024  # a product of this many columns is bound by arithmetic, not by memory
_ROWS = 1024
_FLOAT32 = float(np.finfo(np.float32).eps)


@prints_its_fields
class MonteCarloKernel(NamedTuple):
    """An estimate of a kernel with what its groups of samples say about its error.

    Attributes:
        kernel: K from all samples, (n, n) float64; the mean of `group_kernels`, weighted by
            `group_samples`.
        relative_error: ‖standard error of the entries‖ / ‖K‖, Frobenius norms.
        group_kernels: (g, n, n) float64, independent estimates; for g = 2 the two halves.
        group_samples: (g,), the samples M_j of each group.
    """

    kernel: Float[np.ndarray, "n n"]
    relative_error: float
    group_kernels: Float[np.ndarray, "g n n"]
    group_samples: Int[np.ndarray, " g"]

    @property
    def standard_error(self) -> Float[np.ndarray, "n n"]:
        """Return the standard error of each entry, (n, n), computed when asked for.

        √((1/g) Σ_j (K_j - K)² M_j/(M - M_j)): unbiased for the variance, whatever the M_j.
        """
        squares, difference = np.zeros_like(self.kernel), np.empty_like(self.kernel)
        weights = self.group_samples / (self.group_samples.sum() - self.group_samples)
        for weight, kernel in zip(weights, self.group_kernels, strict=True):
            np.subtract(kernel, self.kernel, out=difference)
            np.square(difference, out=difference)
            difference *= weight / len(weights)
            squares += difference
        return np.sqrt(squares, out=squares)


def monte_carlo_kernel(
    key: jax.Array,
    spec: Spec,
    x: Real[AnyArray, "n ..."],
    samples: int,
    cache: epath.PathLike | None = None,
    progress: Progress | None = None,
    block: int | None = None,
    reference: Real[AnyArray, "m ..."] | None = None,
) -> Float[np.ndarray, "n n"]:
    """Estimate the NNGP kernel from M freshly initialised networks (eq. 6).

        K(x, x') ≈ σ_w²/(M N_L) Σ_m Σ_c h_mc(x) h_mc(x') + σ_b²

    h_m are the N_L activations of the last hidden layer of the m-th of M initialisations;
    they are computed in float32, as the network computes them, and summed in float64. The
    estimate is unbiased, its entries' relative error falls as 1/√(M N_L) or, where the features
    of one network depend on each other, more slowly, and its rank is at most M N_L + 1: the
    paper takes M = 0.1 n at N_L = 2048. `monte_carlo_estimate` gives its error too.

    Sample m is that of neural_tangents.monte_carlo_kernel_fn with the same key, whatever M, the
    block and the number of devices, and the sum agrees to rounding. It is not left to that
    function because it splits x over devices, not the samples, so that each device computes
    every network's features on all of x; its batches must divide n; and it starts at the first
    sample. Here each of the local devices takes a sample at a time, and the host's BLAS adds the
    products, one triangle of them, in the order of m. Memory is one array of n² numbers, three
    with a cache. The features of an input must not depend on the other inputs.

    `reference` decides how BatchNorm normalises. Without one the network is in inference mode at
    initialisation, where running mean 0 and variance 1 leave activations as they are. With one,
    its BatchNorms have the mean and the variance of the reference under the weights of the m-th
    initialisation, `batch_state(w_m, reference)`, layer after layer as in training:
    h_m(x) is still of x alone, and on the reference it is that of training mode.

    Args:
        key: for the initialisations.
        spec: any network; `init` and `features` are used, and sigma_w, sigma_b of the readout;
            with a reference `init_state` and `train_apply`, too.
        x: (n, ...) inputs, preprocessed as the network sees them.
        samples: M.
        cache: folder where the sums are kept, checksummed, under the hash of key, spec, inputs
            and block, and written every minute: a killed call continues and ends with the
            same bits. A call with more samples starts from what is there (the same bits
            where the earlier M is a multiple of the block, else to rounding).
        progress: called as `progress(done, total)`, in samples, before the first block with
            what was done earlier, and after each block.
        block: samples whose features enter the sum in one product; left out, as many as make
            1024 features. Changes rounding.
        reference: (m, ...) inputs whose batch statistics normalise every sampled network, the
            training inputs as a rule, preprocessed like x. Each device takes them as one batch.
            Changes nothing for a network without a state.

    Returns:
        (n, n) float64, exactly symmetric.

    Raises:
        ValueError: inputs not finite, a reference of inputs of another shape, M N_L < n, where K
            would be singular, more memory than is there, a network whose features are not finite
            or the same for all inputs, or whose outputs have another variance than the features,
            sigma_w and sigma_b say (`prior_check`, at level 1e-4).
    """
    _, kernels, _ = _group_kernels(key, spec, x, samples, 1, cache, progress, block, reference)
    return kernels[0]


def monte_carlo_estimate(
    key: jax.Array,
    spec: Spec,
    x: Real[AnyArray, "n ..."],
    samples: int,
    groups: int = 10,
    cache: epath.PathLike | None = None,
    progress: Progress | None = None,
    block: int | None = None,
    reference: Real[AnyArray, "m ..."] | None = None,
) -> MonteCarloKernel:
    """Estimate the kernel of eq. 6 with its standard error, from g groups of the same M samples.

    Sample m belongs to group m mod g. The groups are independent, so their spread is the error
    of their mean, with a relative uncertainty of its own of about 1/√(2 (g - 1)), and
    `jackknife` carries it on to any functional of K. Two groups are the split halves.

    Args:
        key: as in `monte_carlo_kernel`, and so are spec, x, samples, cache, progress, block and
            reference; the kernel is the same to rounding, from the same samples.
        spec: any network.
        x: (n, ...) inputs.
        samples: M.
        groups: g; memory is g + 3 arrays of n² numbers.
        cache: folder where the sums are kept, a file a group.
        progress: called as `progress(done, total)`, in samples.
        block: samples in one product.
        reference: inputs whose batch statistics normalise every sampled network.

    Raises:
        ValueError: as `monte_carlo_kernel`; fewer than 2 groups; or so many samples in one that
            the others' kernel would be singular.
    """
    groups = checks.count("groups", groups, least=2)
    kernel, kernels, counts = _group_kernels(
        key, spec, x, samples, groups, cache, progress, block, reference
    )
    estimate = MonteCarloKernel(kernel, np.nan, kernels, counts)
    error = np.linalg.norm(estimate.standard_error) / np.linalg.norm(kernel)
    return estimate._replace(relative_error=float(error))


def _group_kernels(key, spec, x, samples, groups, cache, progress, block, reference):
    """Return the mean kernel, the kernels of the groups, and their numbers of samples."""
    key, x = checks.random_key("key", key), network_inputs(checked_spec(spec), "x", x)
    checks.function("progress", progress)
    cache = checks.folder("cache", cache)
    samples = checks.count("samples", samples)
    if x.ndim < 2 or x.size == 0:
        raise ValueError(f"x: got shape {x.shape}, wanted (n, ...) with at least one input.")
    n, inputs = len(x), x
    reference = _checked_reference(spec, reference, inputs)
    width = feature_width(spec, inputs.shape[1:], inputs.dtype)
    check_evaluation(spec, inputs, "features")
    _check_rank(n, width, samples, groups)
    default = -(-_FEATURES // width)
    block = default if block is None else checks.count("block", block)
    matrices = groups + 3 if groups > 1 else 1 + 2 * (cache is not None)
    columns = (min(block, samples) + len(usable_devices())) * width
    _check_memory(n, matrices, 8 * (columns + inputs[0].size), groups)
    memory.check_memory("samples", samples, lambda m: 16 * m, "Take fewer samples.")  # their keys
    keys = sample_keys(key, samples)
    counts = np.array([len(range(group, samples, groups)) for group in range(groups)])
    kernels = np.empty((groups, n, n)) if groups > 1 else None
    checked = prior_check.no_networks()
    for group in range(groups):
        determined_by = {
            "monte_carlo_sums": _VERSION,
            "key": [str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()],
            "spec": spec.describe(),
            "inputs": array_hash(inputs),
            "block": block,
            "group": [group, groups],
        }
        if reference is not None:
            determined_by["reference"] = array_hash(reference)
        name, before = content_hash(determined_by), int(counts[:group].sum())

        def report(done, before=before):
            if progress is not None:
                progress(before + done, samples)

        store = SumFiles(None if cache is None else cache, name, int(counts[group]))
        sums, group_checked = feature_sums(
            spec, inputs, keys[group::groups], width, block, store, report, reference
        )
        checked += group_checked
        if group == groups - 1:
            prior_check.check_prior(checked, spec)
        sums *= spec.sigma_w**2 / (counts[group] * width)
        sums += spec.sigma_b**2
        _mirror(sums)
        if kernels is None:
            check_varies(sums.T, x, _FLOAT32)
            return sums.T, sums.T[None], counts
        kernels[group] = sums.T
    mean = np.zeros((n, n))
    for share, kernel in zip(counts / samples, np.asarray(kernels), strict=True):
        mean += share * kernel
    check_varies(mean, x, _FLOAT32)
    return mean, kernels, counts


def _checked_reference(spec: Spec, reference, inputs: np.ndarray) -> np.ndarray | None:
    """Return the reference in the type of the inputs; None where it changes nothing."""
    if reference is None:
        return None
    input_shape = inputs.shape[1:]
    reference = network_inputs(spec, "reference", reference)
    if inputs.dtype.kind != "f" and reference.dtype.kind == "f":
        raise ValueError(
            f"reference: got {reference.dtype} where x has {inputs.dtype}, wanted the same type: "
            "inputs of the same kind."
        )
    reference = reference.astype(inputs.dtype)
    if reference.shape[1:] != input_shape or len(reference) == 0:
        raise ValueError(
            f"reference: got shape {reference.shape}, wanted (m, ...) with m above 0 and the rest "
            f"that of x, {input_shape}: inputs whose statistics normalise the networks."
        )
    if not spec.init_state(input_shape):
        return None
    check_running_statistics(spec, reference)
    return reference


def _mirror(kernel: np.ndarray) -> None:
    """Copy the upper triangle onto the lower one, in place."""
    for begin in range(0, len(kernel), _ROWS):
        rows = slice(begin, begin + _ROWS)
        kernel[rows, :begin] = kernel[:begin, rows].T
        square = kernel[rows, rows]
        kernel[rows, rows] = np.triu(square) + np.triu(square, 1).T


def _check_rank(n: int, width: int, samples: int, groups: int) -> None:
    if samples * width < n:
        raise ValueError(
            f"samples: got M = {samples}; with N_L = {width} features M N_L = {samples * width} "
            f"is below n = {n}, so K is singular. Take at least "
            f"M = {-(-10 * n // width)} (M N_L = 10 n)."
        )
    if groups > samples:
        raise ValueError(
            f"groups: got g = {groups}, wanted at most M = {samples}. Take fewer groups or more "
            "samples."
        )
    left = samples - -(-samples // groups)
    if groups > 1 and left * width < n:
        raise ValueError(
            f"groups: got g = {groups} for M = {samples}; without one of them {left} samples are "
            f"left, with {left * width} features for n = {n} inputs, so their K is singular. Take "
            f"more groups, up to M, or M = {-(-10 * n // width)} (M N_L = 10 n)."
        )


def _check_memory(n: int, matrices: int, bytes_a_row: int, groups: int) -> None:
    """Refuse more inputs than memory holds: sums and copies, features, inputs, activations."""
    several = f"fewer than {groups} groups of n² numbers each, " if groups > 1 else ""
    memory.check_memory(
        "x",
        n,
        lambda n: n * (8 * n * matrices + bytes_a_row) + BLOCK_BYTES,
        f"Take fewer inputs, {several}no cache, a smaller block, or a machine with more memory.",
    )
