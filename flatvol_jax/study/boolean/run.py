"""The Boolean system: volumes counted and computed, minima, and whether SGD samples the prior."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from etils import epath

from flatvol_jax.sampling import Draws
from flatvol_jax.sampling.packing import function_ids
from flatvol_jax.study.boolean import volumes
from flatvol_jax.study.boolean.minima import find_minima, minima_columns
from flatvol_jax.study.boolean.mnist_posterior import mnist_posterior_rows
from flatvol_jax.study.boolean.posterior import boolean_posterior_rows
from flatvol_jax.study.boolean.settings import boolean_config
from flatvol_jax.study.boolean.system import make_system
from flatvol_jax.study.boolean.work import Work
from flatvol_jax.study.engine.progress import Bar, Progress
from flatvol_jax.study.engine.records import write_records
from flatvol_jax.study.engine.store import Stage, Store, jsonable
from flatvol_jax.study.engine.workdir import open_workdir

MINIMA, POSTERIOR = Stage("minima", 2), Stage("posterior", 1)
POSTERIOR_MNIST = Stage("posterior_mnist", 1)


def run_boolean(
    config: Mapping[str, Any],
    workdir: epath.PathLike,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Do what is missing, write records.jsonl, return its rows.

    The rows are of several parts, named by `meta.part`:

    - "function": one of the most frequent functions, at one epoch of its minima (`overtrain`
      after zero error): its volume by direct sampling and by the NNGP (EP, and sampled), its
      complexity, the flatness of the minima.
    - "frequency": how many functions occurred a given number of times.
    - "width": the volume of a function by direct sampling of a network of another width, or
      of the Gaussian process (`hp.model.width` null).
    - "posterior", "posterior_summary": what an optimizer finds that sees a part S of a target,
      P_optimizer(f|S), against P_B(f|S) (eq. 3); on request also on MNIST.

    Args:
        config: plain data, as configs/boolean.py makes it.
        workdir: folder of samples, units, records and config; an earlier run's work is reused.
        progress: called as progress(pieces done, pieces of the stage, what is being done).

    Raises:
        ValueError: a config that does not fit; a folder of another config.
    """
    system = make_system(config)
    typed = boolean_config(config, len(system.x))
    with open_workdir(workdir, config):
        work = Work(typed, Store(workdir, Bar(progress)), system)
        rows: list[dict[str, Any]] = []
        try:
            draws = volumes.draw_sample(work)
            table = volumes.function_table(work, draws)
            rows += volumes.frequency_rows(table)
            rows += _width_rows(work, table)
            rows += _function_rows(work, table)
            rows += _posterior_rows(work, draws)
        finally:
            stated = [{"meta.experiment": "boolean", **jsonable(row)} for row in rows]
            rows = write_records(work.store.workdir, stated)
    return rows


def _function_rows(work: Work, table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a function and epoch of its minima."""
    settings, functions = work.config.minima, table["functions"]
    work.store.bar.begin(1 + min(settings.functions, len(functions)))
    theory = volumes.nngp_volumes(work, functions)
    rows = []
    for rank, function in enumerate(functions):
        row = {"meta.part": "function", **work.origin(table)}
        row |= volumes.function_columns(function, rank)
        row |= volumes.direct_columns(table, rank) | volumes.nngp_columns(theory, rank)
        if rank >= settings.functions:
            rows.append(row | {"overtrain": settings.overtrain[0]})
            continue
        found = _minima(work, function, row["function.id"])
        rows += [
            row
            | {"overtrain": epochs, "meta.commit": found.get("meta.commit")}
            | minima_columns(found, place)
            for place, epochs in enumerate(settings.overtrain)
        ]
    return rows


def _minima(work: Work, function: np.ndarray, name: str) -> dict[str, Any]:
    settings, key, cache = work.config.minima, work.key("minima"), work.store.workdir / "cache"
    compute = functools.partial(find_minima, key, work.system, function, settings, cache)
    named = {n: value for n, value in work.config.plain["minima"].items() if n != "functions"}
    determined_by = [name, named | {"overtrain": list(settings.overtrain)}]
    return work.unit(MINIMA, determined_by, "minima", compute)


def _width_rows(work: Work, table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a function and width; the width of the sample itself is one of them."""
    settings = work.config.widths
    functions = table["functions"][: settings.functions]
    own = work.system.spec.width[0]
    work.store.bar.begin(len(settings.samples))
    found: dict[int | None, Mapping[str, Any]] = {own: table}
    for width, samples in settings.samples:
        found[width] = volumes.width_counts(work, functions, width, samples)
    return [
        {
            "meta.part": "width",
            "function.id": name,
            "function.rank": rank,
            "hp.model.width": width,
            **work.origin(counted),
            **volumes.direct_columns(counted, rank),
        }
        for width, counted in found.items()
        for rank, name in enumerate(function_ids(functions))
    ]


def _posterior_rows(work: Work, draws: Draws) -> list[dict[str, Any]]:
    """Return P_optimizer(f|S) against P_B(f|S): rows of functions and of summaries."""
    config, system, key, pieces = work.config, work.system, work.key("posterior"), []
    boolean, mnist, plain = config.posterior, config.posterior_mnist, config.plain
    pairs = itertools.product(boolean.targets, boolean.optimizers)
    for target, optimizer in pairs if boolean.on else ():
        sample = draws, system.x, system.spec, system.kernel
        options = boolean, config.ensemble, *sample, target, optimizer, key
        compute = functools.partial(boolean_posterior_rows, *options)
        named = [_of_one(plain["posterior"], optimizer), plain["sampling"], target, optimizer]
        pieces.append((POSTERIOR, named, f"{optimizer} on a part of {target}", compute))
    for optimizer in mnist.optimizers if mnist.on else ():
        compute = functools.partial(mnist_posterior_rows, mnist, config.ensemble, optimizer, key)
        named = [_of_one(plain["posterior_mnist"], optimizer), optimizer]
        pieces.append((POSTERIOR_MNIST, named, f"{optimizer} on MNIST", compute))
    work.store.bar.begin(len(pieces))
    rows = []
    for stage, determined_by, text, compute in pieces:

        def whole(compute=compute, text=text) -> dict[str, Any]:
            return {"rows": compute(progress=functools.partial(work.say, text))}

        found = work.unit(stage, determined_by, text, whole)
        rows += [row | work.origin(found) for row in found["rows"]]
    return rows


def _of_one(entries: Mapping[str, Any], optimizer: str) -> dict[str, Any]:
    """Return what determines the comparison with one optimizer: not which others there are."""
    others = ("on", "targets", "optimizers", "train")
    return {name: value for name, value in entries.items() if name not in others} | {
        "train": entries["train"][optimizer]
    }
