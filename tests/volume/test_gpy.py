"""Our EP against GPy's, an independent implementation with sequential updates."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

import flatvol_jax as fv

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
STORED = json.loads((FIXTURES / "gpy_ep.json").read_text())["log_volume"]


def load_cases():
    spec = importlib.util.spec_from_file_location("fixtures", FIXTURES / "make_gpy_fixtures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.cases()


CASES = load_cases()


@pytest.mark.parametrize("name", STORED)
def test_the_fixed_point_is_gpys(name):
    case, _, link = name.rpartition(", ")
    kernel, labels = CASES[case]
    ours = fv.log_volume(kernel, labels, link)
    assert ours.converged
    np.testing.assert_allclose(ours.log_volume, STORED[name], atol=1e-6)
