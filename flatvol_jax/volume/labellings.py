"""Labellings of one kernel: each whole on one device, the kernel once on each device in use."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import numpy as np

from flatvol_jax.runtime.precision import float64_scope
from flatvol_jax.runtime.spread import spread, usable_devices
from flatvol_jax.volume.ep import EP

T = TypeVar("T")


def on_each_device(make: Callable[[], T]) -> Callable[[], T]:
    """Return a function that gives what `make` made on the device of the task that calls it.

    It is made at the first call on each device; `spread` has one task at a time on a device.
    """
    made: dict[jax.Device, T] = {}

    def held():
        device = usable_devices()[0]
        if device not in made:
            made[device] = make()
        return made[device]

    return held


def in_order(
    tasks: Sequence[Callable[[], list[T]]],
    progress: Callable[[int], None] | None,
    one_after_another: bool = False,
) -> list[T]:
    """Do every task in float64 and join what they return, in the order of the tasks.

    Args:
        tasks: each returns the results of some labellings.
        progress: called in the caller's thread with the number of labellings done.
        one_after_another: a task takes all devices, so that nothing is to be dealt out.
    """
    results: list[list[T]] = [[] for _ in tasks]
    count = 0

    @float64_scope  # which holds in the thread that enters it, and no other
    def numbered(index):
        return index, tasks[index]()

    def done(found):
        nonlocal count
        index, results[index] = found
        for _ in results[index]:
            count += 1
            if progress is not None:
                progress(count)

    work = [lambda index=index: numbered(index) for index in range(len(tasks))]
    if one_after_another:
        for task in work:
            done(task())
    else:
        spread(work, done)
    return [result for batch in results for result in batch]


def batched(run: Callable[[np.ndarray], EP], rows: np.ndarray, batch_size: int) -> list[EP]:
    """Run EP on each row, all in one batch; the last batch is filled up: one program serves all."""
    if batch_size == 1:
        return [run(row) for row in rows]
    filler = np.repeat(rows[-1:], batch_size - len(rows), axis=0)
    ep = jax.vmap(run)(np.concatenate([rows, filler]))
    return [jax.tree.map(lambda leaf, i=i: leaf[i], ep) for i in range(len(rows))]
