"""Direct sampling of the prior: networks are drawn, their functions counted exactly."""

from collections.abc import Callable

import jax
import numpy as np
from etils import epath

from flatvol_jax.models import (
    FCN,
    Spec,
    check_evaluation,
    checked_spec,
    network_inputs,
    output_count,
)
from flatvol_jax.runtime import checks
from flatvol_jax.runtime.hashing import array_hash, content_hash
from flatvol_jax.sampling.chunk_files import ChunkFiles, check_memory, chunk_tables
from flatvol_jax.sampling.chunk_program import draw_chunks
from flatvol_jax.sampling.function_sample import Draws, FunctionSample, most_frequent
from flatvol_jax.sampling.packing import MOST_CLASSES, first_label_negative, word_count

_VERSION = 1  # of the samples: raise it when the same key, spec and inputs give others
CHUNK = 2**16
_RANGE = 1e-30, 1e30
LARGEST_CHUNK = 2**31 - 1  # what a 32-bit index counts


def sample_functions(
    key: jax.Array,
    spec: Spec,
    x: np.ndarray,
    samples: int,
    top: int | None = None,
    *,
    symmetric: bool = False,
    readouts: int = 1,
    chunk_size: int = CHUNK,
    workdir: epath.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> FunctionSample:
    """Draw networks from the prior and count their functions on x.

    V(f) = P(f) is estimated by the share of networks whose labels on x are f, +1 if and only if
    the output is above 0; of C outputs the number of the largest, 0..C-1. Counts are exact, and
    the same for the same key however the work was interrupted and on however many devices it ran.

    Args:
        key: determines the networks, a chunk at a time.
        spec: the network. An `FCN` is drawn by a program of its own, others by `spec.init`.
        x: (n, ...) inputs. {0,1}^d in lexicographic order is recognised and faster.
        samples: number of functions drawn.
        top: how many of the most frequent functions to return; all by default.
        symmetric: count f and not f as one, which have the same volume where the readout is
            drawn symmetrically: the errors are those of twice as many samples. An FCN with one
            output only.
        readouts: functions that share the hidden layers of one network. Above 1 the samples are
            dependent: V(f) stays unbiased, its error comes from the spread between chunks. FCN
            only.
        chunk_size: functions that a device draws at a time; samples depend on it.
        workdir: folder that keeps the counts of each chunk, so that the same call continues
            where an earlier one ended, also with more samples. Without it they are held in
            memory.
        progress: called with the number of samples done.

    Raises:
        ValueError: no samples, inputs that are not finite, an input of which every output is 0,
            options that the spec does not allow, more than 128 outputs, too little memory.
    """
    x = network_inputs(checked_spec(spec), "x", x)
    if top is not None:
        checks.count("top", top)
    draws = draw_functions(
        key,
        spec,
        x,
        samples,
        symmetric=symmetric,
        readouts=readouts,
        chunk_size=chunk_size,
        workdir=workdir,
        progress=progress,
    )
    return most_frequent(draws, top)


def draw_functions(
    key: jax.Array,
    spec: Spec,
    x: np.ndarray,
    samples: int,
    *,
    symmetric: bool = False,
    readouts: int = 1,
    chunk_size: int = CHUNK,
    workdir: epath.PathLike | None = None,
    progress: Callable[[int], None] | None = None,
) -> Draws:
    """Draw as `sample_functions` does, to ask several questions: `most_frequent`, `count_of`."""
    x = network_inputs(checked_spec(spec), "x", x)
    checks.count("samples", samples)
    chunk_size = checks.count("chunk_size", chunk_size, most=LARGEST_CHUNK)
    _check_network(spec, x, symmetric, readouts, chunk_size)
    checks.function("progress", progress)
    workdir = checks.folder("workdir", workdir)
    key = checks.random_key("key", key)
    files, outputs = None, output_count(spec)
    words = word_count(len(x), outputs)
    if chunk_size > CHUNK:
        check_memory(chunk_size, words, "chunk_size", "Take smaller chunks.")
    if workdir is None:
        check_memory(samples, words)
    else:
        determined_by = {
            "direct_sampling": _VERSION,
            "key": [str(jax.random.key_impl(key)), np.asarray(jax.random.key_data(key)).tolist()],
            "spec": spec.describe(),
            "inputs": array_hash(x),
            "symmetric": bool(symmetric),
            "readouts": readouts,
            "chunk_size": chunk_size,
        }
        files = ChunkFiles(workdir, content_hash(determined_by))

    def draw(chunks):
        for words in draw_chunks(key, spec, x, readouts, chunk_size, chunks):
            yield first_label_negative(words, len(x)) if symmetric else words

    tables = chunk_tables(samples, chunk_size, draw, files, progress)
    return Draws(tables, len(x), symmetric, readouts, outputs)


def _check_network(
    spec: Spec, x: np.ndarray, symmetric: bool, readouts: int, chunk_size: int
) -> None:
    if x.ndim < 2 or len(x) == 0:
        raise ValueError(f"x: got shape {x.shape}, wanted (n, ...) with n above 0: a row an input.")
    checks.count("readouts", readouts, most=chunk_size)
    if not isinstance(spec, FCN) and (symmetric or readouts > 1):
        raise ValueError(
            f"spec: got a {type(spec).__name__} with symmetric={symmetric}, readouts={readouts}; "
            "both need an FCN, whose readout is known. Draw without them."
        )
    outputs = output_count(spec)
    if symmetric and outputs > 1:
        raise ValueError(
            f"symmetric: got True for a network of {outputs} outputs, wanted False: f and not f "
            "are a pair of a network with one output."
        )
    if outputs > MOST_CLASSES:
        raise ValueError(
            f"spec: got {outputs} outputs, wanted at most {MOST_CLASSES}: functions are int8."
        )
    check_evaluation(spec, x)
    if isinstance(spec, FCN):
        _check_range(spec, x)
    zero = ~x.reshape(len(x), -1).any(axis=1)
    if isinstance(spec, FCN) and spec.sigma_b == 0 and zero.any():
        raise ValueError(
            f"x: row {int(zero.argmax())} is zero, and with sigma_b = 0 so is its output in every "
            "network: it has no label. Leave it out, or take sigma_b above 0."
        )


def _check_range(spec: FCN, x: np.ndarray) -> None:
    """Refuse outputs that float32 cannot hold: their labels would have no meaning."""
    lengths = np.square(x.reshape(len(x), -1), dtype=np.float64).mean(axis=1)
    variance = lengths[lengths > 0] if spec.sigma_b == 0 else lengths
    with np.errstate(over="ignore"):
        for gain in (1.0, *(0.5 for _ in spec.width)):  # a ReLU halves the second moment
            variance = spec.sigma_b**2 + spec.sigma_w**2 * gain * variance
            scales = np.sqrt(variance)
            if not np.all((_RANGE[0] <= scales) & (scales <= _RANGE[1])):
                raise ValueError(
                    f"spec: got outputs of the order of {scales.min():.1g} to {scales.max():.1g} "
                    f"from sigma_w = {spec.sigma_w:g}, sigma_b = {spec.sigma_b:g} and these x, "
                    f"wanted {_RANGE[0]:g} to {_RANGE[1]:g}, which float32 can hold."
                )
