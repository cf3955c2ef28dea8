"""Pieces of work dealt out to the local devices, each whole on one of them."""

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import jax

from flatvol_jax.runtime.precision import jax_config

T = TypeVar("T")


def usable_devices() -> list[jax.Device]:
    """Return the devices that work may use: all local ones, or that of `jax.default_device`."""
    chosen = jax_config.jax_default_device
    if chosen is None:
        return jax.local_devices()
    return jax.local_devices(backend=chosen) if isinstance(chosen, str) else [chosen]


def spread(tasks: Sequence[Callable[[], T]], done: Callable[[T], None]) -> None:
    """Do every task on whichever device is free next.

    A task runs the program of a single device and knows no other: its result does not depend on
    how many there are. With one device tasks follow one another in the caller's thread.

    Args:
        tasks: each is called in a thread where `jax.default_device` is its device.
        done: called in the caller's thread with each result, in the order in which they come.

    Raises:
        Exception: the first that a task raised; tasks under way end by themselves, no other
            begins.
    """
    devices = usable_devices()
    if len(devices) == 1:
        for task in tasks:
            done(task())
        return
    free: queue.SimpleQueue[jax.Device] = queue.SimpleQueue()
    for device in devices:
        free.put(device)

    def on_a_device(task):
        device = free.get()
        try:
            with jax.default_device(device):
                return task()
        finally:
            free.put(device)

    with ThreadPoolExecutor(len(devices)) as pool:
        try:
            for future in as_completed([pool.submit(on_a_device, task) for task in tasks]):
                done(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
