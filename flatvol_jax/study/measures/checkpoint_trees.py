"""Where a network's arrays stand in the tree of a checkpoint: parameters, batch statistics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

STATISTICS = "batch_stats"  # what Flax, linen and nnx, calls the running statistics
NOT_A_NETWORK = ("opt_state", "optimizer", "opt", "grads")  # moments have the shapes of parameters
SHOWN = 12  # leaves of a tree in a message

Place = tuple[str, ...]
Shapes = dict[str, tuple[int, ...]]


def network_of_tree(tree: Any, params: Any, state: Any) -> tuple[Any, Any]:
    """Return the parameters and the state of a network, wherever the tree has them.

    The parameters are the whole tree, or what stands under "params", or the one subtree that has
    their names and shapes; each collection of the state is the subtree under its name nearest to
    them, in the same branch first. The parameters and the statistics of an nnx module
    (`nnx.state`) may be mixed in one subtree, their arrays under "value". What an optimizer keeps
    is passed by.

    Args:
        tree: of the checkpoint, mappings, sequences and arrays.
        params: the parameters' shapes.
        state: the state as it is initialised; {} of a network without.

    Raises:
        ValueError: no parameters, or several that could be meant; a state that is not there; batch
            statistics that the network has no place for.
    """
    tree, wanted = _without_values(tree), shapes(params)
    places = dict(_subtrees(tree))
    place = _place_of_parameters(tree, places, wanted, _names(state))
    leaves = _leaves(places[place])
    found = jax.tree.unflatten(jax.tree.structure(params), [leaves[name] for name in wanted])
    return found, _state(tree, places, place, wanted, state)


def shapes(tree: Any) -> Shapes:
    """Return the shape of each leaf by its place in the tree."""
    return {name: tuple(np.shape(leaf)) for name, leaf in _leaves(tree).items()}


def shown(leaves: Mapping[str, tuple[int, ...]]) -> str:
    """Write leaves for a message."""
    text = ", ".join(f"{name} {shape}" for name, shape in list(leaves.items())[:SHOWN])
    return text + (f" and {len(leaves) - SHOWN} more" if len(leaves) > SHOWN else "") or "nothing"


def _place_of_parameters(
    tree: Any, places: Mapping[Place, Any], wanted: Shapes, statistics: set[str]
) -> Place:
    def has_them(place: Place) -> bool:
        there = shapes(places[place])
        others = there.keys() - wanted.keys()
        allowed = all(name in statistics or "['rngs']" in name for name in others)
        return allowed and all(there.get(name) == shape for name, shape in wanted.items())

    matching = [place for place in places if has_them(place)]
    first = [place for place in matching if set(place) <= {"params"}]
    default = [place for place in matching if set(place) <= {"params", "default"}]
    named = [place for place in matching if place[-1:] == ("params",)]
    candidates = first[:1] or default[:1] or named or matching
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        raise ValueError(
            f"checkpoint: got {len(candidates)} trees that could be the parameters, under "
            f"{', '.join(map(_text, candidates))}; wanted one, by itself or under 'params'."
        )
    raise ValueError(
        f"checkpoint: got a tree of {shown(shapes(tree))}; wanted {shown(wanted)}, by itself or "
        "under 'params'. Is hp.model the network that was saved?"
    )


def _state(tree: Any, places: Mapping[Place, Any], place: Place, wanted: Shapes, state: Any) -> Any:
    stored = {}
    for name, values in state.items():
        needed = shapes(values)
        if not needed:
            stored[name] = values
            continue
        under = [other for other in places if other[-1:] == (name,)]
        matching = [other for other in under if shapes(places[other]) == needed]
        mixed = shapes(places[place])
        if not matching and all(mixed.get(leaf) == shape for leaf, shape in needed.items()):
            matching = [place]  # of nnx.state, beside the parameters
        if not matching:
            there = {f"{_text(o)} {n}": s for o in under for n, s in shapes(places[o]).items()}
            raise ValueError(
                f"checkpoint: got the state {shown(there)}; wanted {name!r} with {shown(needed)}. "
                "Without what training left there, the network is another one. Save it beside the "
                f"parameters: {{'params': ..., {name!r}: ...}}."
            )
        nearest = _nearest_places(matching, place)
        leaves = [_leaves(places[other]) for other in nearest]
        if any(not np.array_equal(one[leaf], leaves[0][leaf]) for one in leaves for leaf in needed):
            raise ValueError(
                f"checkpoint: got {name!r} under {', '.join(map(_text, nearest))}, with different "
                "values; wanted one beside the parameters."
            )
        arrays = [leaves[0][leaf] for leaf in needed]
        stored[name] = jax.tree.unflatten(jax.tree.structure(values), arrays)
    _check_nothing_is_left(tree, places, place, wanted, state)
    return stored


def _check_nothing_is_left(tree, places, place: Place, wanted: Shapes, state: Any) -> None:
    """Refuse batch statistics that the network has no place for: it is another network."""
    left = [other for other in places if other[-1:] == (STATISTICS,) and shapes(places[other])]
    if STATISTICS not in state and left:
        raise ValueError(
            f"checkpoint: got batch statistics under {', '.join(map(_text, left))}, "
            f"{shown(shapes(places[left[0]]))}, and the network has none, so they would not be "
            "used. Is hp.model the network that was saved?"
        )


def _nearest_places(places: Sequence[Place], to: Place) -> list[Place]:
    """Return the places that share the longest beginning with one, and of these the shortest."""

    def apart(place: Place) -> tuple[int, int]:
        same = 0
        for one, other in zip(place, to, strict=False):
            if one != other:
                break
            same += 1
        return -same, len(place)

    return [place for place in places if apart(place) == min(map(apart, places))]


def _subtrees(tree: Any, place: Place = ()) -> Iterator[tuple[Place, Any]]:
    """Yield all subtrees with their places, but for what an optimizer keeps."""
    yield place, tree
    if isinstance(tree, Mapping):
        parts: Iterable[tuple[Any, Any]] = tree.items()
    elif isinstance(tree, (list, tuple)):
        parts = enumerate(tree)
    else:
        return
    for name, part in parts:
        if str(name) not in NOT_A_NETWORK:
            yield from _subtrees(part, (*place, str(name)))


def _without_values(tree: Any) -> Any:
    """Return the tree with arrays in place of {"value": array}, as nnx saves them."""
    if isinstance(tree, Mapping):
        if set(tree) == {"value"} and not isinstance(tree["value"], Mapping):
            return tree["value"]
        return {str(name): _without_values(part) for name, part in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [_without_values(part) for part in tree]
    return tree


def _names(state: Any) -> set[str]:
    """Return the places of all leaves, and those within their collections."""
    return {leaf for values in state.values() for leaf in _leaves(values)} | set(_leaves(state))


def _leaves(tree: Any) -> dict[str, Any]:
    flat = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {jax.tree_util.keystr(path): leaf for path, leaf in flat}


def _text(place: Place) -> str:
    return "/".join(place) or "the whole tree"
