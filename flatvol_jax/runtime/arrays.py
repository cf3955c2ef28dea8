"""Types of arrays that the rooms share, for annotations."""

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
"""On a device or on the host: the same formula computes with either."""
Reals = np.ndarray | np.float64
"""One real number, or many of them, on the host."""
Counts = np.ndarray | np.integer
"""One whole number, or many of them, on the host."""
Flags = np.ndarray | np.bool_
"""One truth value, or many of them, on the host."""
Words = np.ndarray | np.str_
"""One word, or many of them, on the host."""
