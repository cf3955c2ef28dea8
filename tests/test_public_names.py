"""What a user sees: the names of the package and of its rooms, and nothing else."""

import configparser
import importlib
import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import flatvol_jax as fv

SETUP = Path(__file__).parents[1] / "setup.cfg"
ROOMS = ["data", "flatness", "kernels", "models", "sampling", "study", "training", "volume"]
LAZY = ["paper", *(f"study.{name}" for name in ("sweep", "temporal", "boolean", "audit", "single"))]
CALLS = [
    *("CNN", "FCN", "FlaxModel", "Model", "ResNet", "StaxModel", "alpha_scale", "as_model"),
    *("estimate_log_volume", "hessian_eigenvalues", "hessian_measures", "keep_compiled_programs"),
    *("log_evidence", "log_volume", "marginal_likelihood_bound", "measure"),
    "monte_carlo_estimate",
    *("monte_carlo_kernel", "nngp_kernel", "orthant_probability", "over_devices", "prior_bound"),
    *("sample_functions", "sgd_sharpness", "sharpness", "symmetry_audit"),
]


def test_dir_of_the_package_is_its_calls_its_rooms_and_its_version():
    assert dir(fv) == sorted([*CALLS, *ROOMS, "__version__"])
    assert all(callable(getattr(fv, name)) for name in CALLS)


def test_the_version_is_written_once_and_setup_cfg_reads_it():
    setup = configparser.ConfigParser()
    setup.read(SETUP)
    assert setup["metadata"]["version"] == "attr: flatvol_jax._version.__version__"
    written = (SETUP.parent / "flatvol_jax" / "_version.py").read_text()
    assert f'__version__ = "{fv.__version__}"' in written


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'log_volum'"):
        fv.log_volum  # noqa: B018


@pytest.mark.parametrize("room", [*ROOMS, *LAZY])
def test_no_module_has_the_name_of_a_public_function_beside_it(room):
    """Python sets a package's attribute to a submodule that is imported: it would replace it."""
    if importlib.util.find_spec(f"flatvol_jax.{room}") is None:
        pytest.skip("an experiment whose folder was deleted")
    package = importlib.import_module(f"flatvol_jax.{room}")
    modules = {module.name for module in pkgutil.iter_modules(package.__path__)}
    assert not modules & set(package.__all__)
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) for name in package.__all__)


def test_importing_every_module_of_a_room_replaces_no_public_function():
    program = (
        "import importlib, pkgutil, flatvol_jax.flatness as room\n"
        "before = {name: getattr(room, name) for name in room.__all__}\n"
        "for module in pkgutil.iter_modules(room.__path__):\n"
        "    importlib.import_module(f'flatvol_jax.flatness.{module.name}')\n"
        "assert all(getattr(room, name) is value for name, value in before.items())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_the_package_imports_no_heavy_library():
    program = (
        "import sys, flatvol_jax as fv; dir(fv)\n"
        "assert not {'jax', 'flax', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
