"""How a study computes its kernels: `config.kernel`."""

from collections.abc import Mapping
from typing import Any

from flatvol_jax.runtime import checks
from flatvol_jax.study.engine.config_entries import group

METHODS = ("analytic", "monte_carlo")


def kernel_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Samples and groups of a Monte Carlo kernel, checked; nothing for the analytic one.

    Raises:
        ValueError: an unknown method, a setting that is missing or not a count.
    """
    settings = {"method": "analytic"}
    if "kernel" in group(config, ""):
        settings = dict(group(config, "kernel", "method"))
    method = checks.one_of("kernel.method", settings.pop("method", None), METHODS)
    wanted = {"samples": 1, "groups": 2} if method == "monte_carlo" else {}
    if settings.keys() != wanted.keys():
        raise ValueError(
            f"kernel: got {', '.join(settings) or 'nothing'} beside method = {method!r}, wanted "
            f"{', '.join(wanted) or 'nothing'}."
        )
    return {
        name: checks.count(f"kernel.{name}", settings[name], least=wanted[name]) for name in wanted
    }
