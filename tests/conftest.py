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

MAPS = Path("/proc/self/maps")
MOST_MAPS = 25_000


@pytest.fixture(autouse=True, scope="module")
def _few_compiled_programs():
    """Every compiled program holds maps of memory; Linux ends a process at 65,530 of them."""
    yield
    if MAPS.exists() and MAPS.read_text().count("\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture
def free(monkeypatch):
    """Pretend that so many bytes of memory are free, beside those that the compiler takes."""

    def pretend(number):
        little = psutil.virtual_memory()._replace(available=number + memory.COMPILER_BYTES)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: little)

    return pretend
