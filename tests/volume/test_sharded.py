"""A kernel dealt out to devices, and labellings dealt out to devices: what one device gives."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import flatvol_jax as fv
from flatvol_jax.runtime.faults import NumericalFault

N, SYSTEM = 77, 150  # inputs of the kernel, rows of the random matrix


def random_system():
    rng = np.random.default_rng(0)
    x, (root, vector) = rng.normal(size=(SYSTEM, 30)), rng.normal(size=(2, SYSTEM))
    return {"matrix": x @ x.T / 30, "root": root, "vector": vector}


def kernel_with_a_repeated_input():
    x = np.random.default_rng(1).normal(size=(N, 20)).astype(np.float32)
    x[70] = x[3]
    return fv.nngp_kernel(fv.FCN(), x)


def labellings():
    """Two random ones, a constant, and one that contradicts itself."""
    labels = np.where(np.random.default_rng(2).normal(size=(4, N)) > 0, 1, -1)
    labels[2] = 1
    labels[:, 70] = labels[:, 3] * np.array([1, 1, 1, -1])
    return labels


@functools.cache
def one_device(link):
    return fv.log_volume(kernel_with_a_repeated_input(), labellings(), link)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("devices")
    np.savez(folder / "system.npz", **random_system())
    np.save(folder / "kernel.npy", kernel_with_a_repeated_input())
    np.save(folder / "labels.npy", labellings())
    flags = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=4"
    # LAPACK's own threads wait in circles for cores that the devices' threads hold.
    one = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    environment = os.environ | one | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    script = Path(__file__).with_name("on_devices.py")
    root = Path(fv.__file__).parent.parent
    environment["PYTHONPATH"] = f"{root}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    subprocess.run([sys.executable, script, folder], env=environment, check=True)
    with np.load(folder / "found.npz") as results:
        return dict(results)


@pytest.mark.parametrize(("count", "n"), [(1, 61), (3, 61), (4, 61), (4, SYSTEM)])
def test_linear_algebra_agrees_with_numpy(found, count, n):
    matrix, root, vector = (value[..., :n] for value in random_system().values())
    matrix, name = matrix[:n], f"{count}_{n}"
    scaled = root[:, None] * matrix * root + np.eye(n)
    inverse = np.linalg.inv(scaled)
    near = {"rtol": 1e-10, "atol": 1e-10}
    np.testing.assert_allclose(found[f"product_{name}"], matrix @ vector, **near)
    np.testing.assert_allclose(found[f"solved_{name}"], inverse @ vector, **near)
    np.testing.assert_allclose(found[f"inverse_diagonal_{name}"], np.diagonal(inverse), **near)
    half_log_determinant = np.linalg.slogdet(scaled).logabsdet / 2
    np.testing.assert_allclose(
        found[f"half_log_determinant_{name}"], half_log_determinant, rtol=0, atol=1e-10
    )
    # A device has some of the rows: several blocks of eight.
    _, held, block, size = found[f"shape_{name}"]
    assert block == 8
    assert held >= 2
    assert held * block * count == size < n + 8 * count


def test_a_device_holds_its_part_of_two_matrices(found):
    arguments, rest = found["bytes"]
    part = 8 * 1200**2 / 4
    assert part < arguments < 1.1 * part
    # A third matrix, a constant that XLA kept, once made it 2.1.
    assert part < rest < 1.5 * part


@pytest.mark.parametrize(
    ("count", "link"),
    [(3, "heaviside"), (4, "heaviside"), (4, "probit")],
)
def test_log_volume_is_that_of_one_device(found, count, link):
    wanted = one_device(link)

    def values(field):
        return found[f"{field}_{count}_{link}"]

    assert (wanted.log_volume[3] == -np.inf) == (link == "heaviside")
    np.testing.assert_allclose(values("log_volume0"), wanted.log_volume, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(values("iterations0"), wanted.iterations)
    np.testing.assert_array_equal(values("status0"), wanted.status)
    np.testing.assert_allclose(values("increments0"), wanted.increments, atol=1e-9)
    for field in ("sites", "cavities"):
        for i, leaf in enumerate(getattr(wanted, field)):
            np.testing.assert_allclose(values(f"{field}{i}"), leaf, rtol=1e-8, atol=1e-9)
    np.testing.assert_array_equal(values("progress"), [1, 2, 3, 4])


def test_an_indefinite_kernel_is_refused(found):
    # There in the pair alone that is one input: the others would be positive definite.
    assert "indefinite" in str(found["indefinite"])
    mesh = jax.make_mesh((1,), ("rows",))
    kernel = np.eye(5) - 0.3
    with pytest.raises(NumericalFault, match="kernel: got an indefinite.*another prior"):
        fv.log_volume(kernel, np.ones(5), mesh=mesh)
    with pytest.raises(NumericalFault, match="kernel: got an indefinite"):
        fv.log_volume(kernel, np.ones(5), "probit", mesh=mesh)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ep_corrected"}, "mesh: got one with method 'ep_corrected'"),
        ({"method": "certified", "key": jax.random.key(0)}, "mesh.*'certified'"),
        ({"batch_size": 2}, "batch_size: got 2 with a mesh"),
        ({"mesh": jax.make_mesh((1, 1), ("rows", "columns"))}, "wanted a jax.sharding.Mesh"),
        ({"mesh": 2}, "mesh: got 2, wanted a jax.sharding.Mesh"),
    ],
)
def test_what_a_mesh_is_not_for_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        fv.log_volume(np.eye(4), np.ones(4), **{"mesh": jax.make_mesh((1,), ("rows",))} | options)


@pytest.mark.parametrize("method", ["ep", "certified"])
def test_labellings_over_two_devices_give_the_bits_of_one(found, method):
    leaves = [name for name in found if name.startswith(f"{method}_one_")]
    assert leaves
    for name in leaves:
        assert found[name.replace("one", "two")].tobytes() == found[name].tobytes()
    assert found[f"devices_{method}_one"].tolist() == [0]
    assert found[f"devices_{method}_two"].tolist() == [0, 1]
    for where, kernels in (("one", 1), ("two", 2)):
        assert found[f"kernels_{method}_{where}"] == kernels
        np.testing.assert_array_equal(found[f"progress_{method}_{where}"], [1, 2, 3, 4])
