"""What the command reads: data, labels, kernels, and a network with its checkpoint."""

from typing import Any, NamedTuple

import numpy as np
from etils import epath

from flatvol_jax.models import Spec, as_model, parameter_shapes
from flatvol_jax.runtime import files
from flatvol_jax.study.measures.checkpoint_trees import network_of_tree
from flatvol_jax.study.measures.named_arrays import tree_of_names
from flatvol_jax.study.measures.network_files import parameters_of_arrays, read_network
from flatvol_jax.study.measures.safetensors_file import read_safetensors
from flatvol_jax.study.measures.user_model import built

_TORCH = (".pt", ".pth", ".bin")
_NAMES = {"x": "train_x", "y": "train_y", "x_test": "test_x", "y_test": "test_y"}


class Data(NamedTuple):
    """The arrays of a file, None for what is not there."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray | None
    y_test: np.ndarray | None


def read_data(path: str) -> Data:
    """Return x, y, x_test and y_test of an .npz.

    Raises:
        ValueError: no x or no y.
    """
    arrays = files.read_arrays(path)
    found = {name: arrays.get(name, arrays.get(other)) for name, other in _NAMES.items()}
    x, y = found["x"], found["y"]
    if x is None or y is None:
        raise ValueError(
            f"{path}: got the arrays {', '.join(arrays) or 'none'}; wanted x, y and, if there are "
            "any, x_test, y_test."
        )
    return Data(x, y, found["x_test"], found["y_test"])


def read_array(path: str, name: str) -> np.ndarray:
    """Return the array of an .npy, or of an .npz that has one of this name or one alone."""
    if path.endswith(".npz"):
        arrays = files.read_arrays(path)
        if name not in arrays and len(arrays) != 1:
            raise ValueError(f"{path}: got the arrays {', '.join(arrays)}; wanted {name}.")
        return arrays.get(name, next(iter(arrays.values())))
    try:
        return np.load(path, allow_pickle=False)
    except ValueError as error:
        raise ValueError(f"{path}: it cannot be read as an .npy ({error}).") from error


def read_own_network(
    network: Spec | str,
    arguments: dict[str, Any],
    checkpoint: str | None,
    x: np.ndarray,
    step: int | None = None,
) -> tuple[Spec, Any, Any]:
    """Return the spec, its parameters and its state.

    Args:
        network: a spec, or "package.module:Name" of what builds a network.
        arguments: of that call.
        checkpoint: of the parameters; None where what is built has them.
        x: example inputs.
        step: of a folder of steps.

    Raises:
        ValueError: no such network or file, or one that is of another network.
    """
    suffix = "" if checkpoint is None else epath.Path(checkpoint).suffix
    if isinstance(network, str):
        network = built("--module", network, arguments)
        if suffix in _TORCH or hasattr(network, "load_state_dict"):
            return _torch_module(network, checkpoint, suffix, x)
        if checkpoint is not None and suffix == ".eqx":
            import equinox

            network = equinox.tree_deserialise_leaves(checkpoint, network)
        spec = as_model(network, x)
    else:
        spec = network
    if checkpoint is None or suffix == ".eqx":
        return spec, None, None
    if suffix not in (".npz", ".safetensors"):
        return spec, *read_network(checkpoint, spec, x.shape[1:], step)
    if suffix == ".npz" and hasattr(spec, "params_from_arrays"):
        return spec, parameters_of_arrays(checkpoint, spec), None
    tree = tree_of_names(_arrays(checkpoint, suffix))
    return spec, *network_of_tree(
        tree, parameter_shapes(spec, x.shape[1:]), spec.init_state(x.shape[1:])
    )


def _torch_module(network: Any, checkpoint: str | None, suffix: str, x: np.ndarray):
    """Return a PyTorch module with a state_dict, in evaluation mode."""
    import torch

    if checkpoint is not None:
        if suffix in _TORCH:
            stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        else:
            arrays = _arrays(checkpoint, suffix)
            stored = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        try:
            network.load_state_dict(stored.get("state_dict", stored))
        except RuntimeError as error:
            raise ValueError(f"{checkpoint}: {' '.join(str(error).split())[:400]}") from error
    return as_model(network.eval(), x), None, None


def _arrays(path: str, suffix: str) -> dict[str, np.ndarray]:
    return files.read_arrays(path) if suffix == ".npz" else read_safetensors(path)
