"""The config of the Boolean experiment, checked before any work."""

from collections.abc import Mapping
from typing import Any

from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.settings import (
    each,
    group,
    natural,
    or_none,
    plain,
    settings,
    settings_class,
)
from flatvol_jax.study.measures.registry import MEASURES
from flatvol_jax.study.measures.study_config import check_entries, train_settings

MEASURED = ("sharpness", "sgd_sharpness", "hessian")  # at each minimum


def _counts(*names: str) -> dict[str, Any]:
    return dict.fromkeys(names, checks.count)


def _width(name: str, value: Any) -> tuple[int | None, int]:
    """Return a width, None for the Gaussian process, and samples."""
    if not isinstance(value, (list, tuple)) or len(value) != 2:
        raise ValueError(f"{name}: got {value!r:.80}, wanted pairs: width or None, samples.")
    return or_none(checks.count)(name, value[0]), checks.count(name, value[1])


def _measure(stage: str) -> Any:
    return lambda name, value: settings(MEASURES[stage].settings, value, name)


def _optimizers(name: str, value: Any) -> dict[str, Any]:
    """Return the settings of training by name of the optimizer."""
    return {key: train_settings(entries, f"{name}.{key}") for key, entries in value.items()}


MeasureSettings = settings_class("MeasureSettings", **{s: _measure(s) for s in MEASURED})
_COMPARISON = {"on": checks.boolean, "optimizers": each(plain), "train": _optimizers}
GROUPS = {
    "sampling": settings_class(
        "Sampling", **_counts("samples", "chunk_size", "readouts", "functions")
    ),
    "widths": settings_class("Widths", functions=checks.count, samples=each(_width)),
    "minima": settings_class(
        "Minima",
        **_counts("functions", "networks"),
        overtrain=each(natural),
        train=lambda name, value: train_settings(value, name),
        measures=lambda name, value: settings(MeasureSettings, value, name),
    ),
    "posterior": settings_class(
        "Posterior",
        **_COMPARISON,
        **_counts("train_size", "seeds", "functions", "least_matching"),
        targets=each(plain),
        least_probability=checks.non_negative,
    ),
    "posterior_mnist": settings_class(
        "PosteriorMnist", **_COMPARISON, **_counts("train_size", "test_size", "seeds")
    ),
}


def check_config(config: Mapping[str, Any], inputs: int) -> None:
    """Refuse before any work what would end it later.

    Args:
        config: plain data, as configs/boolean.py makes it.
        inputs: of the system.

    Raises:
        ValueError: names the entry.
    """
    check_entries(config, *GROUPS)
    plain("config", group(config, "", "hp", "sweep", "ensemble", *GROUPS))
    natural("sweep.seed", group(config, "sweep", "seed")["seed"])
    found = {name: settings(kind, config[name], name) for name, kind in GROUPS.items()}
    for name in ("posterior", "posterior_mnist"):
        for optimizer in found[name].optimizers if found[name].on else ():
            checks.one_of(f"{name}.optimizers", optimizer, found[name].train)
    batch = found["minima"].measures.sgd_sharpness.batch_size
    checks.count("minima.measures.sgd_sharpness.batch_size", batch, most=inputs)
    readouts = found["sampling"].readouts
    if found["posterior"].on and readouts > 1:
        raise ValueError(
            f"sampling.readouts: got {readouts} with posterior.on, wanted 1: the posterior's "
            "errors are those of independent samples. Set posterior.on to False."
        )
