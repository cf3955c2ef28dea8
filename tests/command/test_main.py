"""The command on files: the numbers of the library, and sentences for what does not fit."""

import json
import struct

import numpy as np
import pytest
from twin_networks import WEIGHTS, X, Y, outputs

import flatvol_jax as fv
from flatvol_jax.command.main import LINKS, METHODS, main
from flatvol_jax.study.measures.named_arrays import tree_of_names
from flatvol_jax.study.measures.safetensors_file import read_safetensors

F = np.where(outputs(WEIGHTS, X)[:, 0] > 0, 1, -1)
CHEAP = ["--measures=baselines", "--quiet", "--data=data.npz"]
BY_NAME = {
    f"Dense_{i}.{part}": array
    for i, layer in enumerate(WEIGHTS)
    for part, array in zip(("kernel", "bias"), layer, strict=True)
}


def safetensors(path, arrays):
    """Write the format by its description."""
    header, body = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        data = np.ascontiguousarray(array, "<f4").tobytes()
        offsets = [len(body), len(body) + len(data)]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        body += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with data, a network's weights in three forms, and its module."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    np.savez("data.npz", x=X[:8], y=Y[:8], x_test=X[8:], y_test=Y[8:])
    numbered = {f"W{i + 1}": weight for i, (weight, _) in enumerate(WEIGHTS)}
    np.savez("weights.npz", **numbered, **{f"b{i + 1}": b for i, (_, b) in enumerate(WEIGHTS)})
    np.savez("named.npz", **{name.replace(".", "/"): a for name, a in BY_NAME.items()})
    safetensors(tmp_path / "named.safetensors", BY_NAME)
    (tmp_path / "my_nets.py").write_text("from twin_networks import Linen\n")
    return tmp_path


def gp_disagreement(capsys):
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if "disagreement with the GP mean" in line]
    return float(line.split()[-1])


def test_a_network_is_measured_from_its_files(folder, capsys):
    network = ["--fcn=8,6", "--sigma-w=1", "--sigma-b=0.1"]
    arguments = ["measure", *network, "--checkpoint=weights.npz", "--json=found.json", *CHEAP]
    assert main(arguments) == 0
    spec = fv.FCN((8, 6), 1.0, 0.1)
    kernel = fv.nngp_kernel(spec, X)
    mean = kernel[8:, :8] @ np.linalg.solve(kernel[:8, :8], Y[:8])
    wanted = np.mean(np.where(mean > 0, 1, -1) != F[8:])
    assert gp_disagreement(capsys) == pytest.approx(wanted)
    found = json.loads((folder / "found.json").read_text())
    assert found["measure.baseline.gp_disagreement"] == wanted
    assert found["measure.error.train"] == np.mean(F[:8] != Y[:8])


@pytest.mark.parametrize("checkpoint", ["named.npz", "named.safetensors"])
def test_a_module_of_ones_own_takes_its_arrays_by_name(folder, capsys, checkpoint):
    network = ["--module=my_nets:Linen", f"--checkpoint={checkpoint}", "--samples=40"]
    assert main(["measure", *network, "--json=found.json", *CHEAP]) == 0
    found = json.loads((folder / "found.json").read_text())
    assert found["measure.error.test"] == np.mean(F[8:] != Y[8:])
    signed = Y[:8] * np.asarray(outputs(WEIGHTS, X))[:8, 0]
    margin = signed.min() / np.abs(signed).mean()
    assert found["measure.baseline.margin"] == pytest.approx(margin, rel=1e-5)


def test_an_audit_of_files(folder, capsys):
    network = ["--fcn=8,6", "--checkpoint=weights.npz"]
    assert main(["audit", *network, *CHEAP]) == 0
    out = capsys.readouterr().out
    assert "11 of 11 forms have the same function" in out
    assert "parameter norm" in out


def test_log_volume_of_labels(folder, capsys):
    np.save("kernel.npy", np.eye(6))
    np.save("labels.npy", np.array([1.0, -1, 1, 1, -1, 1]))
    assert main(["log-volume", "--matrix=kernel.npy", "--labels=labels.npy", "--method=ep"]) == 0
    assert f"LogVolume({-6 * np.log(2):.5f}" in capsys.readouterr().out  # 2^-6
    np.save("classes.npy", np.array([0, 2, 1, 1, 2, 0]))
    classes = ["--labels=classes.npy", "--classes=3", "--method=ep_corrected"]
    assert main(["log-volume", "--matrix=kernel.npy", *classes]) == 0
    value = float(capsys.readouterr().out.split("(")[1].split(" ")[0])
    assert value == pytest.approx(-6 * np.log(3), abs=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["measure", "--fcn=8,x", *CHEAP], "--fcn: got 'x'"),
        (["measure", "--fcn=8,6", *CHEAP], "params: got None"),
        (["measure", "--fcn=8,7", "--checkpoint=weights.npz", *CHEAP], "layer 2: got W2 (8, 6)"),
        (["measure", "--module=my_nets:Nothing", *CHEAP], "--module: got 'my_nets:Nothing'"),
        (["measure", "--fcn=8", "--data=weights.npz"], "weights.npz: got the arrays W1"),
        (["measure", "--fcn=8", "--data=data.npz", "--checkpoint=none"], "wanted a folder"),
        (["log-volume", "--matrix=data.npz", "--labels=data.npz"], "got the arrays x, y"),
    ],
)
def test_what_does_not_fit_is_a_sentence(folder, capsys, arguments, message):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("measure", "audit", "log-volume"))


def test_names_become_a_tree():
    one = np.ones(1)
    assert tree_of_names({"a.b": one, "a/c": one, "l.0.w": one, "l.1.w": one}) == {
        "a": {"b": one, "c": one},
        "l": [{"w": one}, {"w": one}],
    }
    assert tree_of_names({"params['a']['b']": one}) == {"params": {"a": {"b": one}}}
    with pytest.raises(ValueError, match="below another array"):
        tree_of_names({"a": one, "a.b": one})


def test_damaged_safetensors_are_refused(tmp_path):
    path = tmp_path / "file.safetensors"
    safetensors(path, {"a": np.arange(6.0).reshape(2, 3)})
    whole = path.read_bytes()
    np.testing.assert_array_equal(read_safetensors(path)["a"], np.arange(6.0).reshape(2, 3))
    for data in (b"", b"abc", struct.pack("<Q", 99) + b"{}", whole[:-4], whole[:30], b"PK" + whole):
        path.write_bytes(data)
        with pytest.raises(ValueError, match="cannot be read as safetensors"):
            read_safetensors(path)


def test_the_help_names_the_links_and_methods_that_there_are():
    assert tuple(fv.volume.LINK_VARIANCE) == LINKS
    assert fv.volume.METHODS == METHODS
