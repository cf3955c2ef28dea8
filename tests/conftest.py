import os
from pathlib import Path

if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    # A core to each process, before JAX starts its threads: two of them that share two cores wait
    # for each other.
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

# A program is compiled once for all processes, those that tests start included.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent / ".compiled"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")

import jax
import psutil
import pytest

from flatvol_jax.runtime import memory
from flatvol_jax.runtime.compiled_programs import release_programs

# What is tested here does not depend on how fast a program runs: the order of work, what is kept,
# how a network is read. XLA may compile for these tests without its expensive passes; volume,
# flatness and sampling are tested as users run them.
ROUGH = ("command", "experiments", "kernels", "models", "paper", "study", "training", "tutorials")
DISABLE = "JAX_DISABLE_MOST_OPTIMIZATIONS"


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """Leave a process its memory maps."""
    yield
    release_programs(share=0.4)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Compile rough programs for the tests of `ROUGH` and in the processes that they start.

    This comes before any fixture. A program that was compiled the other way is used by neither
    kind.
    """
    rough = str(int(item.path.relative_to(Path(__file__).parent).parts[0] in ROUGH))
    if os.environ.get(DISABLE, "0") != rough:
        os.environ[DISABLE] = rough
        jax.config.update(DISABLE.lower(), rough == "1")
        jax.clear_caches()


@pytest.fixture
def free(monkeypatch):
    """Pretend that so many bytes of memory are free, beside those that the compiler takes."""

    def pretend(number):
        little = psutil.virtual_memory()._replace(available=number + memory.COMPILER_BYTES)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: little)

    return pretend
