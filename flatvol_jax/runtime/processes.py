"""Processes of one job on several hosts, by jax.distributed: who begins, waits, and leaves."""

import contextlib
import os
import sys
from typing import Any

import jax
from orbax.checkpoint import multihost

_WEEK = 7 * 24 * 3600
_LEAVING = 600  # seconds in which the others should end what they are at


def started_together() -> bool:
    """Tell whether Slurm (srun) or MPI started this process as one of several.

    A TPU pod does not say so in the environment: there ask for it.
    """
    sizes = (os.environ.get(name, "1") for name in ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE"))
    return any(size.isdigit() and int(size) > 1 for size in sizes)


def connect() -> None:
    """Connect this process to the others, before any JAX computation.

    jax.distributed finds them by itself on Slurm, MPI, Kubernetes and TPU pods; elsewhere
    JAX_COORDINATOR_ADDRESS (host:port of process 0), JAX_NUM_PROCESSES and JAX_PROCESS_ID say it.

    Raises:
        ValueError: the coordinator was not found, or a process did not come.
    """
    if jax.distributed.is_initialized():
        return
    variables = {"num_processes": "JAX_NUM_PROCESSES", "process_id": "JAX_PROCESS_ID"}
    try:
        given: dict[str, Any] = {
            name: int(os.environ[variable])
            for name, variable in variables.items()
            if variable in os.environ
        }
        jax.distributed.initialize(**given, shutdown_timeout_seconds=_LEAVING)
    except (ValueError, RuntimeError) as error:
        raise ValueError(
            f"multihost: the processes did not find each other ({error}). Start them by srun, "
            "mpirun or on every worker of a TPU pod, or set JAX_COORDINATOR_ADDRESS, "
            "JAX_NUM_PROCESSES and JAX_PROCESS_ID for each; for jobs that need not talk: "
            "--shard=I/N."
        ) from error


def place() -> tuple[int, int]:
    """Return this process's number and how many there are."""
    return jax.process_index(), jax.process_count()


def wait_for_all(name: str) -> None:
    """Return when every process has come to this point; names are used once."""
    if jax.process_count() > 1:
        barrier = multihost.get_barrier_sync_fn(processes=set(range(jax.process_count())))
        barrier(key=name, timeout_ms=1000 * _WEEK)


def leave(code: int) -> None:
    """End this process early; one of several waits for the others to leave, ten minutes at most."""
    if not jax.distributed.is_initialized():
        return
    with contextlib.suppress(Exception):
        jax.distributed.shutdown()
    sys.stderr.flush()
    os._exit(code)
