"""Our EP against GPy's, an independent implementation with sequential updates."""

import importlib.util
import json
import pathlib

import numpy as np
import pytest

import flatvol_jax as fv

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
STORED = json.loads((FIXTURES / "gpy_ep.json").read_text())["cases"]
# nats: ten times the largest difference between GPy's values in two orders of its updates. Ours
# is asked for a residual of 1e-12, as log Z can be some hundred residuals from the fixed point.
TOLERANCE = 1e-9


def load_script():
    spec = importlib.util.spec_from_file_location("fixtures", FIXTURES / "make_gpy_fixtures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = load_script()
CASES = SCRIPT.cases()


def test_the_cases_are_those_gpy_was_given():
    assert CASES.keys() == STORED.keys()
    for name, (kernel, labels) in CASES.items():
        assert SCRIPT.signs(labels) == STORED[name]["labels"]
        np.testing.assert_allclose(np.linalg.norm(kernel), STORED[name]["kernel_norm"], rtol=1e-12)


@pytest.mark.parametrize("link", SCRIPT.LINKS)
@pytest.mark.parametrize("name", CASES)
def test_the_fixed_point_is_gpys(name, link):
    gpy = STORED[name][link]
    assert gpy["converged"]
    assert gpy["order_spread"] < TOLERANCE / 10
    ours = fv.log_volume(*CASES[name], link, tolerance=1e-12)
    assert ours.converged
    np.testing.assert_allclose(ours.log_volume, gpy["log_volume"], rtol=0, atol=TOLERANCE)
