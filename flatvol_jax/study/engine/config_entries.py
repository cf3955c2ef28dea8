"""Reading a config: what is missing, unknown or of another kind is named by its dotted name."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from flatvol_jax.runtime import checks

T = TypeVar("T")
Check = Callable[[str, Any], Any]  # check(dotted name, value) -> the value, or a ValueError


def group(config: Mapping[str, Any], name: str, *entries: str) -> Mapping[str, Any]:
    """The group of entries at a dotted name.

    Args:
        config: nested plain data.
        name: such as "hp.data"; "" for the config itself.
        entries: what it must have.

    Raises:
        ValueError: it is not there or no group, or lacks one of the entries.
    """
    found = config
    parts = name.split(".") if name else []
    for depth in range(len(parts) + 1):
        here = ".".join(parts[:depth]) or "config"
        if not isinstance(found, Mapping):
            raise ValueError(f"{here}: got {found!r:.80}, wanted a group of entries.")
        if depth < len(parts):
            found = found.get(parts[depth], "nothing")
    missing = [entry for entry in entries if entry not in found]
    if missing:
        raise ValueError(
            f"{name or 'config'}: got no {', '.join(missing)}; wanted {', '.join(entries)}. The "
            "files in configs/ have all of them."
        )
    return found


def entries(name: str, value: Any) -> tuple:
    """A list of a config, as a tuple.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{name}: got {value!r:.80}, wanted a list: [{value!r:.20}]?")
    return tuple(value)


def built(name: str, make: Callable[..., T], settings: Mapping[str, Any]) -> T:
    """make(**settings) of a dataclass or a function.

    Raises:
        ValueError: a setting that it does not have.
    """
    for setting in settings:
        checks.one_of(name, setting, list(inspect.signature(make).parameters))
    return make(**settings)


def checked_settings(
    name: str,
    settings: Mapping[str, Any],
    wanted: Mapping[str, Check],
    optional: Mapping[str, Check] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the settings at a dotted name as their checks give them: all `wanted`, none unknown.

    Raises:
        ValueError: a setting that is unknown, missing, or that its check refuses.
    """
    known, found = {**wanted, **optional}, {}
    for setting, value in settings.items():
        found[setting] = known[checks.one_of(name, setting, known)](f"{name}.{setting}", value)
    missing = wanted.keys() - settings.keys()
    if missing:
        raise ValueError(
            f"{name}: got no {', '.join(sorted(missing))}; wanted each of {', '.join(wanted)}. "
            "The files in configs/ have them all."
        )
    return found


def choice(options: Iterable[str]) -> Check:
    """Return the check that a setting is one of the options."""
    return lambda name, value: checks.one_of(name, value, options)


def each(check: Check) -> Check:
    """Return the check that a setting is a list whose entries pass `check`."""
    return lambda name, values: [check(name, value) for value in entries(name, values)]


def check_plain(value: Any, name: str = "config") -> None:
    """Refuse what is no plain data, and so has no place in a file or a hash.

    Raises:
        ValueError: names the entry.
    """
    if isinstance(value, Mapping):
        for entry, inner in value.items():
            check_plain(inner, str(entry) if name == "config" else f"{name}.{entry}")
    elif isinstance(value, (list, tuple)):
        for inner in value:
            check_plain(inner, name)
    elif type(value) in (int, float):
        checks.number(name, value)
    elif not (value is None or isinstance(value, (str, bool))):
        raise ValueError(
            f"{name}: got {value!r:.80}, wanted a number of Python's own, text, True, False, None "
            "or a list."
        )
