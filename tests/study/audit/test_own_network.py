"""fv.symmetry_audit: one's own network in many parametrisations of its function."""

import jax
import numpy as np
import pytest
from twin_networks import TWINS, X, Y

import flatvol_jax as fv

SPEC = fv.FCN((4, 3))
PARAMS = SPEC.init(jax.random.key(0), (3,))
CHEAP = {"sharpness": {"method": "sign"}}
NO_OTHER = ("hessian", "invariants")


@pytest.fixture(scope="module")
def audit():
    data = X[:8], Y[:8], X[8:], Y[8:]
    return fv.symmetry_audit(SPEC, PARAMS, *data, measures=CHEAP, leave_out=NO_OTHER)


def test_the_function_stays_and_so_does_its_volume(audit):
    records = audit.records
    assert len(records) == 1 + 2 * 2 * 2 + 2
    assert records["is.function_unchanged"].all()
    assert records["measure.log_volume.heaviside"].nunique() == 1
    of_layers = records[records["transform.symmetry"] == "layer"]
    assert of_layers["is.output_identical"].all()  # powers of two
    f = np.where(np.asarray(SPEC.apply(PARAMS, X)) > 0, 1, -1)
    volume = fv.log_volume(fv.nngp_kernel(SPEC, X), f).log_volume
    assert records["measure.log_volume.heaviside"][0] == pytest.approx(volume, abs=1e-3)


def test_sharpness_is_that_of_the_rescaled_network(audit):
    x, y = X[:8].astype(np.float64), Y[:8]

    def loss(params):
        return jax.nn.softplus(-y * SPEC.apply(params, x)).mean()

    scaled = fv.alpha_scale(SPEC, PARAMS, 1, 4.0)
    wanted = fv.sharpness(loss, scaled, 1e-4, method="sign").value
    records = audit.records.set_index("transform")
    found = records.loc["layer 1, alpha 4", "measure.sharpness.best"]
    assert found == pytest.approx(wanted, rel=1e-6)
    assert found != pytest.approx(records.loc["none", "measure.sharpness.best"], rel=1e-2)


def test_it_prints_the_table(audit):
    text = repr(audit)
    assert "11 of 11 forms have the same function" in text
    assert "your 8 training inputs S and 4 test inputs E1; kernel: analytic" in text
    (line,) = [line for line in text.splitlines() if "log V (Heaviside)" in line]
    assert line.split()[3:] == ["unchanged"] * 6
    assert audit._repr_html_().startswith("<pre>")
    assert set(audit.to_frame()["verdict"]) <= {"unchanged", "changes", "within error"}


def test_a_network_of_a_framework_needs_its_layers():
    model, params = TWINS["linen"]()
    with pytest.raises(ValueError, match="does not know where its rectifiers are"):
        fv.symmetry_audit(model, params, X, Y)
    names = [f"Dense_{i}" for i in range(3)]
    layers = [
        ([(names[i], "kernel"), (names[i], "bias")], [(names[i + 1], "kernel")]) for i in range(2)
    ]
    found = fv.symmetry_audit(
        model,
        params,
        X,
        Y,
        layers=layers,
        alphas=[2.0],
        symmetries=["layer", "permutation"],
        kernel=np.eye(12),
        measures=["baselines"],
    )
    assert len(found.records) == 5
    assert found.records["is.function_unchanged"].all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symmetries": ["rotation"]}, "audit.symmetries: got 'rotation'"),
        ({"alphas": [0.0]}, "audit.alphas: got 0"),
        ({"measures": ["sharp"]}, "measures: got 'sharp'"),
        ({"y": np.arange(12)}, "y: got labels 0, 1, 2"),
    ],
)
def test_bad_input_says_what_to_pass(options, message):
    with pytest.raises(ValueError, match=message):
        fv.symmetry_audit(**{"model": SPEC, "params": PARAMS, "x": X, "y": Y, **options})
