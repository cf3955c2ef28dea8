"""Labels in a file and their kernel: given, or that of a network on inputs in the same file."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from flatvol_jax.kernels import add_jitter, nngp_kernel
from flatvol_jax.runtime import files
from flatvol_jax.runtime.hashing import array_hash
from flatvol_jax.study.measures.study_config import model_spec


class Labelling(NamedTuple):
    """Hold what a certificate is about.

    Attributes:
        kernel: K, (n, n) float64, the jitter included.
        labels: y, (n,).
        jitter: what was added to the diagonal of K.
        about: what determines the kernel.
    """

    kernel: np.ndarray
    labels: np.ndarray
    jitter: float
    about: dict[str, Any]


def read_labelling(
    path: str,
    model: Mapping[str, Any],
    jitter: float = 0.0,
    progress: Callable[[int, int, str], None] | None = None,
) -> Labelling:
    """Return the labels of an .npz and their kernel.

    Args:
        path: of an .npz with `y`, (n,), and `kernel`, (n, n) float64, or `x`, (n, ...) inputs.
        model: the network whose kernel on `x` it is, as a config says it.
        jitter: as `kernels.add_jitter` takes it; 0 for none.
        progress: called with blocks of the kernel done, their number and a word.

    Raises:
        ValueError: no labels, or neither kernel nor inputs.
    """
    arrays = files.read_arrays(path)
    if "y" not in arrays or not {"x", "kernel"} & arrays.keys():
        raise ValueError(
            f"{path}: got the arrays {', '.join(arrays) or 'none'}; wanted y, (n,) labels ±1, "
            "and x, (n, ...) inputs, or kernel, (n, n) float64."
        )
    if "kernel" in arrays:
        kernel: np.ndarray = arrays["kernel"]
        about: dict[str, Any] = {"kernel": "given"}
    else:
        spec, x = model_spec(model), arrays["x"]
        report = None if progress is None else lambda done, n: progress(done, n, "kernel")
        kernel = nngp_kernel(spec, x, progress=report)
        about = {"spec": spec.describe(), "inputs": array_hash(x)}
    added = 0.0
    if jitter:
        kernel, added = add_jitter(kernel, jitter)
    return Labelling(kernel, arrays["y"], added, about)
