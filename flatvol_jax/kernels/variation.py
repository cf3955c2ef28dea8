"""Check that a kernel tells its inputs apart."""

import numpy as np
from jaxtyping import Float, Real


def check_varies(
    kernel: Float[np.ndarray, "n m"], x: Real[np.ndarray, "n ..."], rounding: float
) -> None:
    """Refuse a kernel (n, n) that is one number everywhere, for inputs that differ.

    Args:
        kernel: K on x.
        x: (n, ...) inputs.
        rounding: relative differences up to this share count as none.

    Raises:
        ValueError: such a kernel, of a network that answers every input alike.
    """
    low, high = float(kernel.min()), float(kernel.max())
    if high - low > rounding * max(abs(low), abs(high)) or (x[0] == x).all():
        return
    raise ValueError(
        f"spec: got a kernel that is {high:.6g} for every pair of inputs, wanted one that varies: "
        "these networks answer all inputs alike. Look at spec.features(params, x): are they 0 or "
        "constant, as behind a normalisation whose statistics are not those of the inputs?"
    )
