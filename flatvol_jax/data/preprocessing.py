"""Preprocessing of inputs: deterministic, and the same for kernel, training and sharpness."""

import numpy as np

from flatvol_jax.runtime import checks

PREPROCESSING = ("none", "standardise", "unit")
"""What `preprocess` takes as `name`."""


def preprocess(x: np.ndarray, name: str, reference: np.ndarray | None = None) -> np.ndarray:
    """Preprocess inputs, float32 out.

    - "unit": as loaded, in [0, 1].
    - "none": as they are, whatever their range.
    - "standardise": (x - mean) / std, the mean and standard deviation (of the population, no
      Bessel correction) taken over all examples and pixels of `reference`: one pair for each
      channel (last axis) of images (n, height, width, channels), one pair in all for flat
      inputs (n, d).

    It changes the kernel, and so log V(f).

    Args:
        x: (n, ...) finite inputs.
        name: one of `PREPROCESSING`.
        reference: "standardise" needs it: the inputs of the draw's S, so that no test input
            has a say. The others ignore it.

    Raises:
        ValueError: an unknown name, non-finite or ill-shaped inputs, "unit" inputs outside
            [0, 1], no reference, a reference that is constant in a channel.
    """
    checks.one_of("name", name, PREPROCESSING)
    x = checks.finite("x", x)
    checks.float32("x", x)
    if x.ndim < 2:
        raise ValueError(f"x: got shape {x.shape}, wanted (n, ...): one example a row.")
    if name == "unit":
        if x.size and (x.min() < 0 or x.max() > 1):
            raise ValueError(
                f"x: got values from {x.min():g} to {x.max():g}, wanted [0, 1] for 'unit'. "
                "Divide by the largest possible value, or try 'standardise' or 'none'."
            )
        return x.astype(np.float32, copy=False)
    if name == "none":
        return x.astype(np.float32, copy=False)
    if reference is None:
        raise ValueError(
            "reference: got None, 'standardise' needs the inputs whose mean and standard "
            "deviation it uses. Try the training inputs of the draw, draw.train.x."
        )
    reference = checks.finite("reference", reference, ndim=x.ndim)
    checks.float32("reference", reference)
    if reference.shape[1:] != x.shape[1:] or not len(reference):
        raise ValueError(
            f"reference: got shape {reference.shape}, wanted at least one example of shape "
            f"{x.shape[1:]}, as x has."
        )
    if x.ndim not in (2, 4):
        raise ValueError(
            f"x: got shape {x.shape}, wanted (n, d) or (n, height, width, channels) for "
            "'standardise'. Try a reshape."
        )
    axes = (0, 1) if x.ndim == 2 else (0, 1, 2)
    mean = reference.mean(axis=axes, dtype=np.float64)
    std = reference.std(axis=axes, dtype=np.float64)
    # Rounding of the mean leaves up to about this on a channel that holds one value.
    if np.any(std <= 1e-12 * np.abs(mean)):
        raise ValueError(
            f"reference: got standard deviation {std.tolist()}, wanted above 0 in each channel."
        )
    return checks.float32("x", (x - mean) / std)
