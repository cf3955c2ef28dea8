"""Which parts a user asked for, of all that can be measured, and their settings."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

from flatvol_jax.runtime import checks
from flatvol_jax.study.measures import invariants
from flatvol_jax.study.measures.registry import MEASURES, checked_measure, default_settings

_QUICK: Mapping[str, Mapping[str, Any]] = {
    "log_volume": {"estimator": "ep_corrected"},
    "hessian": {"k": 10},
    "invariants": {"samples": 16},
}


def chosen_parts(
    default: Iterable[str],
    known: Iterable[str],
    measures: Any,
    leave_out: Any,
    quick: bool,
    own_defaults: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, dict[str, Any]]:
    """Return the parts to measure, in their order, each with its settings.

    Args:
        default: the parts where `measures` names none.
        known: all parts.
        measures: names, or settings by name that change those of the default parts and add parts.
        leave_out: names.
        quick: whether the settings are to be those of less work.
        own_defaults: settings, by name, in place of those of `default_settings`.

    Raises:
        ValueError: an unknown part, an unknown setting, or one that is not what it must be.
    """
    changes = dict(measures) if isinstance(measures, Mapping) else {}
    asked = default if measures is None else listed_names("measures", measures)
    names = list(dict.fromkeys([*default, *asked] if changes else asked))
    left_out = listed_names("leave_out", leave_out)
    for name in (*names, *left_out):
        checks.one_of("measures", name, known)
    settings: dict[str, Mapping[str, Any]] = {
        **default_settings(),
        "invariants": invariants.DEFAULTS,
    }
    found = {}
    for name in names:
        if name in left_out:
            continue
        changed = changes.get(name, {})
        if not isinstance(changed, Mapping):
            raise ValueError(
                f"measures.{name}: got {checks.shown(changed)}, wanted its settings by name, as "
                f"{settings.get(name, {})}."
            )
        less = _QUICK.get(name, {}) if quick else {}
        own = {**settings.get(name, {}), **less, **own_defaults.get(name, {}), **changed}
        for setting in own:
            checks.one_of(f"measures.{name}", setting, settings.get(name, {}))
        found[name] = checked_measure(name, own) if name in MEASURES else own
    return found


def listed_names(name: str, value: Any) -> list[str]:
    """Return a list of names.

    Raises:
        ValueError: what is none.
    """
    try:
        names = None if isinstance(value, str | bytes) else list(value)
    except TypeError:
        names = None
    if names is None or not all(isinstance(entry, str) for entry in names):
        raise ValueError(f"{name}: got {checks.shown(value)}, wanted a list of names.")
    return names
