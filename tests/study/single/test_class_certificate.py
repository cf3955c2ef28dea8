"""A certificate of a function of C classes: what it states, and that its check looks at it."""

import json

import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime import files
from flatvol_jax.study.single.certificate import certify, check_certificate

CLASSES = 3


@pytest.fixture(scope="module")
def problem():
    generator = np.random.default_rng(0)
    kernel = fv.nngp_kernel(fv.FCN(outputs=CLASSES), generator.random((10, 6)))
    return kernel, generator.integers(0, CLASSES, 10)


def test_it_states_the_classes_and_passes_its_check(problem, tmp_path):
    kernel, labels = problem
    found = certify(3, *problem, ("heaviside",), particles=64, classes=CLASSES)
    assert found["labels"]["classes"] == CLASSES
    assert found["labels"]["counts"] == [int(np.sum(labels == c)) for c in range(CLASSES)]
    entry = found["log_volume"]["heaviside"]
    assert entry["verdict"] == "certified given this kernel"
    by_ep = fv.log_volume(*problem, classes=CLASSES)
    assert entry["ep"]["log_volume"] == pytest.approx(by_ep.log_volume)
    files.write_json(tmp_path / "certificate.json", found)
    read = json.loads((tmp_path / "certificate.json").read_text())
    assert check_certificate(read, 4, *problem) == []
    read["log_volume"]["heaviside"]["estimate"]["log_volume"] += 3.0
    other = (labels + (np.arange(10) == 5)) % CLASSES
    wrong = check_certificate(read, 4, kernel, other)
    assert wrong[0] == "The labels are others than the certificate's."
    assert wrong[1].startswith("heaviside: the certificate says")


def test_labels_beyond_the_classes_are_refused(problem):
    kernel, labels = problem
    with pytest.raises(ValueError, match=r"got 0 to 2, wanted integers 0\.\.1"):
        certify(3, kernel, labels, classes=2)
    with pytest.raises(ValueError, match="labels"):
        certify(3, kernel, labels)
