"""A group of a config as a frozen dataclass: each wrong entry is named, with what was wanted."""

import dataclasses
from typing import Any

import pytest

from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.settings import (
    choice,
    each,
    entry,
    group,
    natural,
    or_none,
    plain,
    settings,
    settings_class,
)


@dataclasses.dataclass(frozen=True)
class Inner:
    sizes: tuple[int, ...] = entry(each(natural))


@dataclasses.dataclass(frozen=True)
class Outer:
    method: str = entry(choice(("best", "sign")))
    inner: Inner = entry(lambda name, value: settings(Inner, value, name))
    cap: int | None = entry(or_none(checks.count), None)


WHOLE = {"method": "best", "inner": {"sizes": [0, 3]}}


def test_entries_become_fields_and_the_default_is_what_an_older_config_means():
    found = settings(Outer, {**WHOLE, "cap": 7}, "outer")
    assert found == Outer("best", Inner((0, 3)), 7)
    assert settings(Outer, WHOLE, "outer").cap is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.cap = 8


def test_a_class_made_of_checks_is_the_same_as_one_that_is_written():
    made = settings_class("Made", method=choice(("best", "sign")), cap=entry(natural, 5))
    assert vars(settings(made, {"method": "sign"}, "made")) == {"method": "sign", "cap": 5}
    assert settings(made, {"method": "sign", "cap": 0}, "made") == made(method="sign", cap=0)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (None, "outer: got None, wanted a group of entries"),
        ({**WHOLE, "methd": "best"}, "outer: got 'methd', wanted .*Did you mean 'method'"),
        ({**WHOLE, "method": "sing"}, "outer.method: got 'sing'.*Did you mean 'sign'"),
        ({"method": "best"}, "outer: got no inner; wanted method, inner"),
        ({**WHOLE, "inner": 3}, "outer.inner: got 3, wanted a group of entries"),
        ({**WHOLE, "inner": {"sizes": 3}}, r"outer.inner.sizes: got 3, wanted a list: \[3\]\?"),
        ({**WHOLE, "inner": {"sizes": [1, -1]}}, "outer.inner.sizes: got -1, .* at least 0"),
        ({**WHOLE, "cap": 2.0}, "outer.cap: got 2.0, wanted a whole number"),
    ],
)
def test_what_is_wrong_is_named(entries, message):
    with pytest.raises(ValueError, match=message):
        settings(Outer, entries, "outer")


def test_a_group_is_found_by_its_dotted_name():
    config: dict[str, Any] = {"hp": {"data": {"name": "mnist"}}}
    assert group(config, "hp.data", "name") == {"name": "mnist"}
    assert group(config, "") is config
    with pytest.raises(ValueError, match="hp.model: got 'nothing'"):
        group(config, "hp.model")
    with pytest.raises(ValueError, match="hp.data: got no draws"):
        group(config, "hp.data", "draws")
    with pytest.raises(ValueError, match="hp.data.name: got 'mnist', wanted a group"):
        group(config, "hp.data.name")


@pytest.mark.parametrize("value", [object(), float("nan"), {"a": [1, {"b": set()}]}, 1j])
def test_what_is_no_plain_data_is_refused(value):
    with pytest.raises(ValueError, match="wanted"):
        plain("entry", value)
    assert plain("entry", {"a": [1, "b", None, True, 2.5]}) == {"a": [1, "b", None, True, 2.5]}
