"""Parameters from a user's file: an Orbax checkpoint, or an .npz of W1, b1, W2, b2, ..."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from flatvol_jax.models import Spec, parameter_shapes
from flatvol_jax.runtime import files

ITEMS = ("default", "params", "model")  # what Orbax's managers call a step's item
SHOWN = 12  # leaves of a tree in a message


def read_network(
    path: epath.PathLike, spec: Spec, input_shape: tuple[int, ...], step: int | None = None
) -> tuple[Any, Any]:
    """Parameters and state of `spec` from a checkpoint folder or an .npz file.

    A folder is an Orbax checkpoint of a pytree, or has one a step, of which the latest is taken.
    The parameters are the whole tree or what it has under "params"; the state is what is under the
    names of the spec's collections (`batch_stats`), that of initialisation where it is not stored.

    Args:
        path: the folder or the .npz, with W1, b1, ... in the convention x @ W + b.
        spec: the network.
        input_shape: of one input.
        step: which step of a folder of steps; the latest when left out.

    Raises:
        ValueError: nothing there, or a tree that is not the spec's; shows both.
    """
    path = epath.Path(path)
    if path.suffix == ".npz":
        return parameters_of_arrays(path, spec), spec.init_state(input_shape)
    if not path.is_dir():
        raise ValueError(
            f"checkpoint: got {path}, wanted a folder that Orbax wrote, or an .npz with W1, b1, ..."
        )
    folder = _item(_step_folder(path, step))
    try:
        tree = ocp.PyTreeCheckpointer().restore(folder.absolute())
    except Exception as error:  # Orbax raises whatever its storage does
        raise ValueError(
            f"checkpoint: {folder} cannot be read as an Orbax checkpoint "
            f"({str(error).splitlines()[0][:200]}). {_advice(path)}"
        ) from error
    wanted = parameter_shapes(spec, input_shape)
    whole = tree if isinstance(tree, Mapping) else {}
    candidates = [tree, whole.get("params"), (whole.get("params") or {}).get("params")]
    found = next((c for c in candidates if _leaves(c) == _leaves(wanted)), None)
    if found is None:
        raise ValueError(
            f"checkpoint: got a tree of {_shown(_leaves(tree))}; wanted {_shown(_leaves(wanted))}, "
            "by itself or under 'params'. Is hp.model the network that was saved?"
        )
    params = jax.tree.unflatten(jax.tree.structure(wanted), jax.tree.leaves(found))
    return params, _state(whole, spec, input_shape)


def parameters_of_arrays(path: epath.PathLike, spec: Spec) -> Any:
    """Parameters from the W1, b1, ..., WL, bL of an .npz, in the convention x @ W + b."""
    arrays = files.read_arrays(path)
    names = [f"{kind}{i}" for i in range(1, len(arrays) // 2 + 1) for kind in "Wb"]
    if sorted(names) != sorted(arrays) or not hasattr(spec, "params_from_arrays"):
        raise ValueError(
            f"{path}: got the arrays {', '.join(arrays)}; wanted W1, b1, ..., WL, bL of an FCN."
        )
    return spec.params_from_arrays(*(arrays[name] for name in names))


def _step_folder(path: epath.Path, step: int | None) -> epath.Path:
    steps = {int(part.name): part for part in path.iterdir() if part.name.isdigit()}
    if step is not None and step not in steps:
        raise ValueError(f"step: got {step}, wanted one of {sorted(steps) or 'none there'}.")
    return steps[max(steps) if step is None else step] if steps else path


def _advice(path: epath.Path) -> str:
    """Return what to do with a folder that is no checkpoint: name one that lies in it, or save."""
    folders = _folders(path)
    below = [inner for folder in folders for inner in (folder, *_folders(folder))]
    found = [str(folder) for folder in below if (folder / "_METADATA").exists()]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        return f"There are checkpoints in it: take one of {', '.join(found[:SHOWN])}{more}."
    return (
        "Save a pytree of arrays, for example "
        "orbax.checkpoint.StandardCheckpointer().save(folder, params)."
    )


def _folders(path: epath.Path) -> list[epath.Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir())


def _item(folder: epath.Path) -> epath.Path:
    """The checkpoint itself, where a manager put it one level down."""
    return next((folder / name for name in ITEMS if (folder / name).is_dir()), folder)


def _state(tree: Mapping[str, Any], spec: Spec, input_shape: tuple[int, ...]) -> Any:
    initial = spec.init_state(input_shape)
    stored = {name: tree.get(name, values) for name, values in initial.items()}
    if _leaves(stored) != _leaves(initial):
        raise ValueError(
            f"checkpoint: got the state {_shown(_leaves(stored))}; wanted "
            f"{_shown(_leaves(initial))}."
        )
    return jax.tree.unflatten(jax.tree.structure(initial), jax.tree.leaves(stored))


def _leaves(tree: Any) -> dict[str, tuple[int, ...]]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): tuple(np.shape(leaf)) for path, leaf in flat}


def _shown(leaves: Mapping[str, tuple[int, ...]]) -> str:
    text = ", ".join(f"{name} {shape}" for name, shape in list(leaves.items())[:SHOWN])
    return text + (f" and {len(leaves) - SHOWN} more" if len(leaves) > SHOWN else "") or "nothing"
