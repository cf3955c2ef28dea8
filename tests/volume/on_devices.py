"""What test_sharded.py has computed on four simulated devices: python on_devices.py FOLDER."""

import sys
import threading
from functools import partial
from pathlib import Path

import jax
import numpy as np

import flatvol_jax as fv
from flatvol_jax.volume import function_volume, sharded_inputs
from flatvol_jax.volume.ep import expectation_propagation, prior_cavities
from flatvol_jax.volume.sharded_cholesky import SHARDED, multiply, solve
from flatvol_jax.volume.sharded_kernel import shard_kernel

FIELDS = ("log_volume", "iterations", "status", "increments", "sites", "cavities")


def mesh_of(count):
    return jax.make_mesh((count,), ("rows",), devices=jax.devices()[:count])


def algebra(found, system):
    matrix, root, vector = system
    for count, n in ((1, 61), (3, 61), (4, 61), (4, 150)):
        kernel = shard_kernel(lambda rows, n=n: matrix[rows, :n], n, mesh_of(count), 8)
        name = f"{count}_{n}"
        found[f"shape_{name}"] = kernel.blocks.addressable_shards[-1].data.shape
        found[f"product_{name}"] = jax.jit(multiply)(kernel, vector[:n])
        solution = jax.jit(solve)(kernel, root[:n], 1.0, vector[:n])
        for field, value in solution._asdict().items():
            found[f"{field}_{name}"] = value


def bytes_of_ep(found, n):
    kernel = shard_kernel(lambda rows: np.eye(n)[rows], n, mesh_of(4), 8)
    start = prior_cavities(kernel, SHARDED)
    program = expectation_propagation.lower(kernel, np.ones(n), start, 1e-10, 200, SHARDED)
    used = program.compile().memory_analysis()
    found["bytes"] = used.argument_size_in_bytes, used.temp_size_in_bytes


def volumes(found, folder):
    sharded_inputs.shard_kernel = partial(shard_kernel, block=8)
    labels = np.load(folder / "labels.npy")
    kernel = np.load(folder / "kernel.npy", mmap_mode="r")
    for count, link in ((3, "heaviside"), (4, "heaviside"), (4, "probit")):
        mesh = jax.sharding.Mesh(np.array(jax.devices()[:count]), "rows")
        counts = []
        with jax.set_mesh(mesh_of(2)):  # the caller's, of other devices
            volume = fv.log_volume(kernel, labels, link, mesh=mesh, progress=counts.append)
        for field in FIELDS:
            for i, leaf in enumerate(jax.tree.leaves(getattr(volume, field))):
                found[f"{field}{i}_{count}_{link}"] = leaf
        found[f"progress_{count}_{link}"] = counts
    try:
        fv.log_volume(kernel - 1e-5 * np.eye(len(kernel)), labels, mesh=mesh_of(4))
    except ValueError as error:
        found["indefinite"] = str(error)


def labellings(found, folder):
    labels = np.load(folder / "labels.npy")
    kernel = np.load(folder / "kernel.npy")
    caller, kernels, counts = threading.get_ident(), [], []
    run = function_volume.expectation_propagation_on_host

    def recorded(matrix, *rest):
        kernels.append(matrix)
        return run(matrix, *rest)

    def progress(count):
        assert threading.get_ident() == caller
        counts.append(count)

    function_volume.expectation_propagation_on_host = recorded
    jax.local_devices = lambda: jax.devices()[:2]
    options = {"key": jax.random.key(3), "particles": 16, "replicates": 4}
    for method in ("ep", "certified"):
        for where in ("two", "one"):
            kernels.clear(), counts.clear()
            with jax.default_device(None if where == "two" else jax.devices()[0]):
                volume = fv.log_volume(kernel, labels, method=method, progress=progress, **options)
            for i, leaf in enumerate(jax.tree.leaves(volume)):
                found[f"{method}_{where}_{i}"] = leaf
            found[f"progress_{method}_{where}"] = counts[:]
            found[f"devices_{method}_{where}"] = sorted(
                device.id for device in set().union(*(matrix.devices() for matrix in kernels))
            )
            found[f"kernels_{method}_{where}"] = len({id(matrix) for matrix in kernels})


if __name__ == "__main__":
    folder, found = Path(sys.argv[1]), {}
    with np.load(folder / "system.npz") as system, jax.enable_x64(True):
        algebra(found, [system[name] for name in ("matrix", "root", "vector")])
        bytes_of_ep(found, 1200)
    volumes(found, folder)
    labellings(found, folder)
    np.savez(folder / "found.npz", **found)
