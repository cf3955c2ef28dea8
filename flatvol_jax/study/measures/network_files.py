"""Parameters from a user's file: an Orbax checkpoint, or an .npz of W1, b1, W2, b2, ..."""

import re
from typing import Any

import jax
import orbax.checkpoint as ocp
from etils import epath

from flatvol_jax.models import Spec, parameter_shapes
from flatvol_jax.runtime import files
from flatvol_jax.study.measures.checkpoint_trees import (
    NOT_A_NETWORK,
    network_of_tree,
    shapes,
    shown,
)

_NAMED = 8  # files or checkpoints that an error names


def read_network(
    path: epath.PathLike, spec: Spec, input_shape: tuple[int, ...], step: int | None = None
) -> tuple[Any, Any]:
    """Return the parameters and the state of `spec` from a checkpoint folder or an .npz file.

    A folder is an Orbax checkpoint of a pytree, or has one a step, of which the latest is taken.
    Where parameters and batch statistics may stand in it, `network_of_tree` says: a dictionary of
    collections, a TrainState, `nnx.state`, items of a manager, nested as one likes. A network with
    batch statistics needs them; they are never those of initialisation.

    Args:
        path: the folder or the .npz, with W1, b1, ... in the convention x @ W + b.
        spec: the network.
        input_shape: of one input.
        step: which step of a folder of steps; the latest when left out.

    Raises:
        ValueError: nothing there, a tree that is not the spec's (shows both), a network with a
            state and a file without, or batch statistics that the network has no place for.
    """
    path = epath.Path(path)
    if path.suffix == ".npz":
        params, state = parameters_of_arrays(path, spec), spec.init_state(input_shape)
        if jax.tree.leaves(state):
            raise ValueError(
                f"{path}: got parameters alone; wanted the state {shown(shapes(state))}, too, "
                "which an .npz has no place for: save an Orbax checkpoint."
            )
        return params, state
    if not path.is_dir():
        raise ValueError(
            f"checkpoint: got {path}, wanted a folder that Orbax wrote, or an .npz with W1, b1, ..."
        )
    folder = _step_folder(path, step)
    try:
        tree = _checkpoint(folder)
    except Exception as error:  # Orbax raises whatever its storage does
        raise ValueError(
            f"checkpoint: {folder}, which holds {_contents(folder)}, cannot be read as an Orbax "
            f"checkpoint ({str(error).splitlines()[0][:200]}). {_advice(path)}"
        ) from error
    wanted = parameter_shapes(spec, input_shape), spec.init_state(input_shape)
    try:
        return network_of_tree(tree, *wanted)
    except ValueError as error:
        if _is_tree(folder):
            raise
        raise ValueError(f"{error} {_advice(folder)}") from error


def parameters_of_arrays(path: epath.PathLike, spec: Spec) -> Any:
    """Return parameters from the W1, b1, ..., WL, bL of an .npz, in the convention x @ W + b."""
    arrays = files.read_arrays(path)
    names = [f"{kind}{i}" for i in range(1, len(arrays) // 2 + 1) for kind in "Wb"]
    if sorted(names) != sorted(arrays) or not hasattr(spec, "params_from_arrays"):
        raise ValueError(
            f"{path}: got the arrays {', '.join(arrays)}; wanted W1, b1, ..., WL, bL of an FCN."
        )
    return spec.params_from_arrays(*(arrays[name] for name in names))


def _step_folder(path: epath.Path, step: int | None) -> epath.Path:
    """Return the folder of a step, named by its number, "12", or with a prefix, "step_12"."""
    parts = [] if _is_tree(path) else [part for part in path.iterdir() if part.is_dir()]
    numbers = {part: re.fullmatch(r"(?:.*_)?(\d+)", part.name) for part in parts}
    steps = {int(found[1]): part for part, found in numbers.items() if found}
    if step is not None and step not in steps:
        raise ValueError(f"step: got {step}, wanted one of {sorted(steps) or 'none there'}.")
    return steps[max(steps) if step is None else step] if steps else path


def _advice(path: epath.Path) -> str:
    """Return what to do with a folder that is no checkpoint: name one that lies in it, or save."""
    folders = _folders(path)
    below = [inner for folder in folders for inner in (folder, *_folders(folder))]
    found = [str(folder) for folder in below if _is_tree(folder)]
    if found:
        more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        return f"There are checkpoints in it: take one of {', '.join(found[:_NAMED])}{more}."
    return (
        "Save a pytree of arrays, for example "
        "orbax.checkpoint.StandardCheckpointer().save(folder, params)."
    )


def _folders(path: epath.Path) -> list[epath.Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir())


def _checkpoint(folder: epath.Path) -> Any:
    """Return the tree of a checkpoint, or each item's by its name where a manager wrote several."""
    parts = [part for part in sorted(folder.iterdir()) if part.name not in NOT_A_NETWORK]
    items = [part for part in parts if part.is_dir() and _is_tree(part)]
    if _is_tree(folder) or not items:
        return ocp.PyTreeCheckpointer().restore(folder.absolute())
    trees = {part.name: ocp.PyTreeCheckpointer().restore(part.absolute()) for part in items}
    return next(iter(trees.values())) if len(trees) == 1 else trees


def _is_tree(folder: epath.Path) -> bool:
    """Return whether Orbax wrote a pytree right here."""
    return any((folder / name).exists() for name in ("_METADATA", "manifest.ocdbt", "checkpoint"))


def _contents(folder: epath.Path) -> str:
    return ", ".join(sorted(part.name for part in folder.iterdir())[:8]) or "nothing"
