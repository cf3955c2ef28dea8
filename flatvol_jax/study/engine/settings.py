"""Groups of a config -> frozen dataclasses; a missing, unknown or malformed entry is named."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from flatvol_jax.runtime import checks

T = TypeVar("T")
Check = Callable[[str, Any], Any]  # check(dotted name, value) -> the value, or a ValueError


def entry(check: Check, default: Any = dataclasses.MISSING) -> Any:
    """Declare a field of settings: its check, and what a config means that has no such entry."""
    return dataclasses.field(default=default, metadata={"check": check})


def settings_class(name: str, **entries: Any) -> type[Any]:
    """Make the frozen dataclass of a group from the check of each entry, or its `entry`."""
    fields = [(key, Any, entry(e) if callable(e) else e) for key, e in entries.items()]
    return dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)


def settings(kind: type[T], entries: Any, name: str) -> T:
    """Return a group of a config as the dataclass `kind`, whose fields are made by `entry`.

    Args:
        kind: the dataclass.
        entries: the group, plain data.
        name: its dotted name, such as "measures.hessian"; "" for the config itself.

    Raises:
        ValueError: no group; an entry that is unknown, missing, or that its check refuses.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]  # a dataclass
    prefix, found = f"{name}." if name else "", {}
    for key, value in group(entries, "", here=name).items():
        field = fields[checks.one_of(name or "config", key, fields)]
        found[key] = field.metadata["check"](prefix + key, value)
    wanted = [key for key, field in fields.items() if field.default is dataclasses.MISSING]
    _check_all_there(name, entries, wanted)
    return kind(**found)


def group(config: Any, name: str, *wanted: str, here: str = "") -> Mapping[str, Any]:
    """Return the entries at a dotted name.

    Args:
        config: nested plain data.
        name: such as "hp.data"; "" for the config itself.
        wanted: what it must have.
        here: what the config is called, if it is a part of one.

    Raises:
        ValueError: it is not there or no group, or lacks one of the entries.
    """
    found = config
    for part in (None, *filter(None, name.split("."))):
        if part is not None:
            found, here = found.get(part, "nothing"), f"{here}.{part}".lstrip(".")
        if not isinstance(found, Mapping):
            raise ValueError(f"{here or 'config'}: got {found!r:.80}, wanted a group of entries.")
    _check_all_there(here, found, wanted)
    return found


def _check_all_there(name: str, entries: Mapping[str, Any], wanted: Iterable[str]) -> None:
    if missing := [key for key in wanted if key not in entries]:
        raise ValueError(
            f"{name or 'config'}: got no {', '.join(missing)}; wanted {', '.join(wanted)}. The "
            "files in configs/ have all of them."
        )


def built(name: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """Return make(**options) of a class or a function; an unknown option is a ValueError."""
    for option in options:
        checks.one_of(name, option, list(inspect.signature(make).parameters))
    return make(**options)


def choice(options: Iterable[str]) -> Check:
    """Return the check that an entry is one of the options."""
    return lambda name, value: checks.one_of(name, value, options)


def or_none(check: Check) -> Check:
    """Return the check that an entry is None or passes `check`."""
    return lambda name, value: None if value is None else check(name, value)


def each(check: Check) -> Check:
    """Return the check that an entry is a list whose items pass `check`; it becomes a tuple."""

    def check_each(name: str, values: Any) -> tuple:
        if not isinstance(values, (list, tuple)):
            raise ValueError(f"{name}: got {values!r:.80}, wanted a list: [{values!r:.20}]?")
        return tuple(check(name, value) for value in values)

    return check_each


def natural(name: str, value: Any) -> int:
    """Return a whole number of at least zero."""
    return checks.count(name, value, least=0)


def plain(name: str, value: Any) -> Any:
    """Return plain data, which can be in a file and a hash.

    Raises:
        ValueError: something else in it; names the entry.
    """
    if isinstance(value, Mapping):
        for key, inner in value.items():
            plain(str(key) if name == "config" else f"{name}.{key}", inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            plain(name, inner)
    elif type(value) in (int, float):
        checks.number(name, value)
    elif not (value is None or isinstance(value, (str, bool))):
        raise ValueError(
            f"{name}: got {value!r:.80}, wanted a number of Python's own, text, True, False, None "
            "or a list."
        )
    return value
