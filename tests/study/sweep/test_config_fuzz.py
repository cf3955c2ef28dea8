"""Malformed configs: refused by name before anything is trained."""

import contextlib
import copy
import json

import pytest
from hypothesis import strategies as st
from malformed import MANY, SCALARS, outcome, run

from configs.mnist_fcn import get_config
from flatvol_jax.study.engine.plan import plan_runs
from flatvol_jax.study.measures.registry import chosen_measures
from flatvol_jax.study.sweep.run import run_attack_sweep

CONFIG = json.loads(get_config("smoke").to_json())


def entries(tree, at=()):
    for name, value in tree.items():
        yield (*at, name)
        if isinstance(value, dict):
            yield from entries(value, (*at, name))


ENTRIES = list(entries(CONFIG))


class Accepted(BaseException):
    """Ends a sweep that got beyond its checks."""


def accepted(done, total, text):
    raise Accepted


def mutated(path, value):
    config = copy.deepcopy(CONFIG)
    inner = config
    for name in path[:-1]:
        inner = inner[name]
    if value == "missing":
        del inner[path[-1]]
    elif value == "unknown":
        inner[f"{path[-1]}_"] = 1
    else:
        inner[path[-1]] = value
    return config


def check_config(folder, config):
    outcome(lambda: chosen_measures(config))
    outcome(lambda: plan_runs(config))
    with contextlib.suppress(Accepted):
        outcome(lambda: run_attack_sweep(config, folder / "w", progress=accepted))


CHANGES = st.one_of(SCALARS, st.sampled_from(["missing", "unknown", [0], [0, 0], {"on": True}]))


@pytest.mark.parametrize("examples", [150, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_config_with_one_wrong_entry(tmp_path_factory, examples):
    def check(path, value):
        check_config(tmp_path_factory.mktemp("fuzz"), mutated(path, value))

    run(check, (st.sampled_from(ENTRIES), CHANGES), examples)


@pytest.mark.parametrize("config", [None, {}, [], "config", {"hp": 3}, {"sweep": {}}, 3])
def test_what_is_no_config_is_refused(tmp_path, config):
    for call in (chosen_measures, plan_runs, lambda it: run_attack_sweep(it, tmp_path / "w")):
        assert outcome(lambda call=call: call(config)) is None


def test_every_group_may_miss_each_of_its_entries(tmp_path):
    for number, path in enumerate(ENTRIES):
        check_config(tmp_path / str(number), mutated(path, "missing"))
