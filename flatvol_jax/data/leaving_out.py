"""Leave out of a data set the examples that another one has, so that it is new to a study."""

import numpy as np

from flatvol_jax.data.dataset import Dataset, checked


def leave_out(dataset: Dataset, seen: Dataset) -> Dataset:
    """Return the data set without the inputs that are also in `seen`, in their order.

    Inputs are the same where all of their values are, as float32.

    Args:
        dataset: the data set to take inputs out of.
        seen: inputs of the same shape.

    Raises:
        ValueError: inputs of different shapes, or none left.
    """
    dataset, seen = checked(dataset), checked(seen)
    if dataset.x.shape[1:] != seen.x.shape[1:]:
        raise ValueError(
            f"seen: got inputs of shape {seen.x.shape[1:]}, wanted {dataset.x.shape[1:]} as "
            f"{dataset.name!r} has them."
        )
    known = {row.tobytes() for row in seen.x}
    new = np.array([row.tobytes() not in known for row in dataset.x])
    if not new.any():
        raise ValueError(f"dataset: every input of {dataset.name!r} is in {seen.name!r}.")
    return dataset.keep(new)
