"""Every public result prints in a line, whatever the size of its arrays."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import printing

ROOMS = ("data", "training", "kernels", "volume", "flatness", "sampling")
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 4)).astype(np.float32)
Y = np.where(RNG.normal(size=(30,)) > 0, 1, -1)
SPEC = fv.FCN((6,))


def results_of_rooms():
    for room in ROOMS:
        module = importlib.import_module(f"flatvol_jax.{room}")
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and hasattr(value, "_fields"):
                yield value


@pytest.mark.parametrize("result", list(results_of_rooms()), ids=lambda r: r.__name__)
def test_no_result_prints_its_arrays(result):
    big = np.arange(4000.0).reshape(2, -1)
    for values in ([big] * len(result._fields), [1.0] * len(result._fields)):
        text = repr(result(*values))
        assert text.startswith(result.__name__ + "(")
        assert "\n" not in text
        assert len(text) < 900
        assert "1000." not in text


def of_real_calls():
    kernel = fv.nngp_kernel(SPEC, X)
    params = SPEC.init(KEY, (4,))

    def loss(p):
        return jax.nn.softplus(-Y * SPEC.apply(p, X)).mean()

    yield fv.log_volume(kernel, Y)
    yield fv.log_volume(kernel, np.stack([Y, -Y, np.ones(30)]))
    yield fv.log_volume(kernel, Y, method="certified", key=KEY)
    yield fv.estimate_log_volume(KEY, kernel, Y)
    yield fv.monte_carlo_estimate(KEY, SPEC, X, 100)
    yield fv.sharpness(loss, params, 1e-3, method="sign")
    yield fv.hessian_measures(KEY, loss, params, k=3)
    yield fv.sample_functions(KEY, SPEC, X[:3], 64)
    yield fv.data.load("boolean2")


def test_real_results_print_in_a_line():
    for result in of_real_calls():
        assert len(repr(result)) < 600, repr(result)
        assert "array(" not in repr(result)


def test_the_line_of_a_volume_says_its_error_and_status():
    found = fv.log_volume(fv.nngp_kernel(SPEC, X), Y, method="certified", key=KEY)
    value, error = found.log_volume, found.standard_error
    digits = int(1 - np.floor(np.log10(error)))
    assert f"LogVolume({value:.{digits}f} ± {error:.{digits}f} nats, {found.status}; EP " in repr(
        found
    )


def test_values_are_printed_to_the_digits_of_their_error():
    assert printing.with_error(-228.18901, 0.01234) == "-228.189 ± 0.012"
    assert printing.with_error(-228.18901, np.nan) == "-228.189"
    assert printing.with_error(np.array([-3.0, 5.0]), np.array([1.0, 1.0])) == "-3 to 5"
    assert printing.with_error(12.3456, 3.3) == "12.3 ± 3.3"
    assert printing.with_error(-1.3862943611198906, 2e-16) == "-1.386294361 ± 2e-16"
    assert printing.with_error(-1.3862943611198906, 0.0) == "-1.38629"


def test_a_tracer_prints_too():
    from flatvol_jax.volume import Sites

    def traced(x):
        assert "float32" in repr(Sites(x, x))
        return x

    jax.jit(traced)(jnp.ones(3))
