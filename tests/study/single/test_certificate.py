import copy
import json

import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import files
from flatvol_jax.study.single.certificate import certify, check_certificate


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    kernel = fv.nngp_kernel(fv.FCN(), generator.random((40, 6)))
    return kernel, generator.choice([-1, 1], 40)


@pytest.fixture(scope="module")
def certificate(problem):
    return certify(3, *problem, about={"spec": fv.FCN().describe()}, particles=64)


def test_it_says_all_that_was_found(certificate, problem):
    for entry in certificate["log_volume"].values():
        assert entry["verdict"] == "certified given this kernel"
        estimate = entry["estimate"]
        assert abs(estimate["log_volume"] - entry["ep_corrected"]["log_volume"]) < 0.3
        assert estimate["interval"]["low"] < estimate["log_volume"] < estimate["interval"]["high"]
        assert len(estimate["log_replicates"]) == 16
        assert estimate["replicate_spread"] == pytest.approx(4 * estimate["standard_error"])
    heaviside = certificate["log_volume"]["heaviside"]
    assert heaviside["ep"]["log_volume"] == pytest.approx(fv.log_volume(*problem).log_volume)
    assert certificate["environment"]["versions"]["jax"]
    assert certificate["kernel"]["condition_number"] > 1


def test_it_survives_a_file_and_passes_its_check(certificate, problem, tmp_path):
    files.write_json(tmp_path / "certificate.json", certificate)
    read = json.loads((tmp_path / "certificate.json").read_text())
    assert check_certificate(read, 4, *problem) == []


def test_the_same_seed_gives_the_same_certificate(certificate, problem):
    again = certify(3, *problem, about={"spec": fv.FCN().describe()}, particles=64)
    assert again == certificate


def test_a_forged_number_and_another_problem_are_found(certificate, problem):
    kernel, labels = problem
    forged = copy.deepcopy(certificate)
    forged["log_volume"]["probit"]["estimate"]["log_volume"] += 1.0
    (wrong,) = check_certificate(forged, 4, *problem)
    assert wrong.startswith("probit: the certificate says")
    other = labels.copy()
    other[0] *= -1
    assert "The labels are others than the certificate's." in check_certificate(
        certificate, 4, kernel, other
    )
    wrong = check_certificate(certificate, 4, kernel + 1e-3 * np.eye(40), labels)
    assert wrong[0] == "The kernel is another one than the certificate's."
    with pytest.raises(ValueError, match="wanted another one"):
        check_certificate(certificate, 3, *problem)
    with pytest.raises(ValueError, match="got version None"):
        check_certificate({}, 3, *problem)


def test_an_impossible_function_is_certified_as_such():
    x = np.random.default_rng(0).random((5, 3))
    x[4] = x[0]
    kernel, labels = fv.nngp_kernel(fv.FCN(), x), np.array([1, 1, -1, 1, -1])
    found = certify(0, kernel, labels, ("heaviside",), particles=16)
    entry = found["log_volume"]["heaviside"]
    assert entry["verdict"] == "impossible: inputs 0 and 4 are one, their labels two"
    assert entry["estimate"]["log_volume"] is None
    assert check_certificate(found, 1, kernel, labels) == []
