"""The memory that a volume takes: refused when it is not there, and predicted as measured."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import memory
from flatvol_jax.volume import inputs
from flatvol_jax.volume.ep import expectation_propagation, prior_cavities

N = 100


@pytest.mark.parametrize(
    ("matrices", "options"),
    [
        (5.3, {}),
        (6.3, {"link": "probit"}),
        (9.4, {"batch_size": 2}),
        (15.6, {"batch_size": 4}),
    ],
)
def test_matrices_that_do_not_fit_are_refused_before_ep_starts(free, matrices, options):
    free(matrices * 8 * N**2 + 1)
    fv.log_volume(np.eye(N), np.ones(N), **options)
    free(matrices * 8 * N**2 - 1)
    with pytest.raises(ValueError, match="kernel: got n = 100.*n = 99.*batch_size"):
        fv.log_volume(np.eye(N), np.ones(N), **options)


def test_repeated_inputs_cost_a_copy_of_the_others(free):
    kernel = np.eye(N + 1)
    kernel[-1, :2] = kernel[:2, -1] = [1, 0]
    free(6.3 * 8 * N**2 - 1)
    with pytest.raises(ValueError, match="kernel: got n = 100"):
        fv.log_volume(kernel, np.ones(N + 1))


def test_particles_count(free):
    options = {"method": "certified", "key": jax.random.key(0), "particles": 5000, "replicates": 2}
    free(3 * 8 * N**2 + 2.4 * 8 * N * 10_000 - 1)
    with pytest.raises(ValueError, match="fewer particles"):
        fv.log_volume(np.eye(N), np.ones(N), **options)


def test_a_sweep_hears_of_ep_when_it_checks_its_kernel(free):
    free(6.3 * 8 * N**2 - 1)
    with pytest.raises(ValueError, match="kernel: got n = 100"):
        fv.volume.checked_kernel(np.eye(N))


def test_the_number_of_matrices_is_at_least_the_compilers():
    n = 500
    with jax.enable_x64(True):
        kernel = np.eye(n)
        start = prior_cavities(kernel)
        lowered = expectation_propagation.lower(kernel, np.ones(n), start, 1e-10, 200)
        compiler = lowered.compile().memory_analysis().temp_size_in_bytes / (8 * n**2)
    assert 1 <= inputs.ep_matrices(noise=False) / (1 + compiler) < 1.25


MEASURE = """
import json, resource, sys
import jax, numpy as np
import flatvol_jax as fv
n, labellings, options = json.loads(sys.argv[1])
kernel = np.subtract.outer(np.arange(n) / 300, np.arange(n) / 300)
np.abs(kernel, out=kernel)
np.negative(kernel, out=kernel)
np.exp(kernel, out=kernel)
labels = np.random.default_rng(0).choice([-1, 1], (labellings, n))
peak = lambda: 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
resting = peak()
fv.log_volume(kernel, labels, key=jax.random.key(0), max_iterations=2, **options)
print(peak() - resting)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labellings", "options"),
    [
        (1, {"method": "ep"}),
        (1, {"method": "ep_corrected"}),
        (1, {"method": "certified"}),
        (1, {"method": "ep", "link": "probit"}),
        (2, {"method": "ep", "batch_size": 2}),
        (4, {"method": "ep", "batch_size": 4}),
    ],
)
def test_what_is_predicted_is_what_is_measured(labellings, options):
    n = 3000
    arguments = json.dumps([n, labellings, options])
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, arguments], check=True, capture_output=True, text=True
    ).stdout
    matrices = inputs.ep_matrices(options.get("batch_size", 1), options.get("link") == "probit")
    predicted = memory.COMPILER_BYTES + 8 * n**2 * matrices
    assert 1 <= predicted / int(out) < 1.2
