"""Volumes of the most frequent functions: counted, and by the theory of infinite width."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from flatvol_jax.sampling import (
    Draws,
    count_of,
    draw_functions,
    draw_gaussian_functions,
    most_frequent,
)
from flatvol_jax.sampling.packing import function_ids
from flatvol_jax.study.boolean.complexity import lempel_ziv_complexity
from flatvol_jax.study.boolean.work import Work
from flatvol_jax.study.engine.store import Stage
from flatvol_jax.volume import estimate_log_volume, log_volume

FUNCTIONS, NNGP, WIDTH = Stage("functions", 1), Stage("nngp", 1), Stage("width", 1)


def draw_sample(work: Work) -> Draws:
    """Return the direct sample, its chunks kept in WORKDIR/samples."""
    settings = work.config.sampling
    samples, size = settings.samples, settings.chunk_size
    work.store.bar.begin(-(-samples // size) + 1)
    draws = draw_functions(
        work.key("sample"),
        work.system.spec,
        work.system.x,
        samples,
        readouts=settings.readouts,
        chunk_size=size,
        workdir=work.store.workdir / "samples",
        progress=lambda done: work.say(f"sampling: {done:,} functions", done / size),
    )
    work.store.bar.done = work.store.bar.total - 1
    return draws


def function_table(work: Work, draws: Draws) -> dict[str, Any]:
    """Return the most frequent functions with their volumes, and how many occurred how often."""

    def compute():
        sample = most_frequent(draws, work.config.sampling.functions)
        names = ("functions", "counts", "log_volume", "standard_error", "frequencies")
        return {name: getattr(sample, name) for name in ("samples", "distinct", *names)}

    return work.unit(
        FUNCTIONS, work.config.plain["sampling"], "the most frequent functions", compute
    )


def nngp_volumes(work: Work, functions: np.ndarray) -> dict[str, np.ndarray]:
    """Return log V by EP and by sampling of the Gaussian process, Heaviside, a row a function."""

    def compute():
        kernel = work.system.kernel
        ep = log_volume(kernel, functions)
        sampled = estimate_log_volume(work.key("nngp"), kernel, functions)
        return {
            "ep": ep.log_volume,
            "converged": ep.converged,
            "estimate": sampled.log_volume,
            "standard_error": sampled.standard_error,
        }

    determined_by = [work.config.plain["sampling"], len(functions)]
    return work.unit(NNGP, determined_by, "volumes by the Gaussian process", compute)


def width_counts(
    work: Work, functions: np.ndarray, width: int | None, samples: int
) -> dict[str, Any]:
    """Return counts of given functions among networks of another width, all hidden layers the same.

    Width None is the Gaussian process itself, drawn directly.
    """
    name = "infinite" if width is None else str(width)
    system = work.system

    def compute():
        def progress(done):
            work.say(f"width {name}: {done:,} of {samples:,} functions", done / samples)

        key = work.key("width", 0 if width is None else width)
        kept = {
            "chunk_size": min(work.config.sampling.chunk_size, samples),
            "workdir": work.store.workdir / "samples",
            "progress": progress,
        }
        if width is None:
            draws = draw_gaussian_functions(key, system.kernel, samples, **kept)
        else:
            spec = dataclasses.replace(system.spec, width=(width,) * len(system.spec.width))
            draws = draw_functions(key, spec, system.x, samples, **kept)
        found = count_of(draws, functions)
        names = ("samples", "counts", "log_volume", "standard_error")
        return {name: getattr(found, name) for name in names}

    determined_by = [work.config.plain["sampling"], len(functions), width, samples]
    return work.unit(WIDTH, determined_by, f"width {name}", compute)


def function_columns(function: np.ndarray, rank: int) -> dict[str, Any]:
    """Return what a function is: its name, its place, its labels in short, its complexity."""
    positive = int((function > 0).sum())
    return {
        "function.id": function_ids(function[None])[0],
        "function.rank": rank,
        "meta.inputs": len(function),
        "function.positive": positive,
        "function.minority": min(positive, len(function) - positive),
        "measure.complexity.lempel_ziv": lempel_ziv_complexity(function),
    }


def direct_columns(table: Mapping[str, Any], rank: int) -> dict[str, Any]:
    """Return volume and count of one function of a sample."""
    return {
        "measure.count": int(table["counts"][rank]),
        "measure.log_volume.direct": float(table["log_volume"][rank]),
        "measure.log_volume.direct.se": float(table["standard_error"][rank]),
        "meta.samples": table["samples"],
    }


def nngp_columns(volumes: Mapping[str, np.ndarray], rank: int) -> dict[str, Any]:
    """Return the theory's volumes of one function."""
    return {
        "measure.log_volume.heaviside": float(volumes["ep"][rank]),
        "is.ep_converged": bool(volumes["converged"][rank]),
        "measure.log_volume.estimate": float(volumes["estimate"][rank]),
        "measure.log_volume.estimate.se": float(volumes["standard_error"][rank]),
    }


def frequency_rows(table: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return how many functions occurred how often, for the plot of probability against rank."""
    return [
        {
            "meta.part": "frequency",
            "frequency.count": int(count),
            "frequency.functions": int(functions),
            "meta.samples": table["samples"],
            **Work.origin(table),
        }
        for count, functions in table["frequencies"]
    ]
