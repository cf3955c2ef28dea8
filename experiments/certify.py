"""python -m experiments.certify --npz=labelling.npz --out=certificate.json: log V(f), certified.

The .npz holds `y`, (n,) labels ±1, or 0..C-1 with --config.classes=C, and `x`, (n, ...) inputs as
the network sees them, or `kernel`, (n, n) float64, in place of x. `--check` holds a certificate
against the same .npz with other random numbers.
"""

import json
import math
import sys
from collections.abc import Iterator
from typing import Any

from absl import app, flags, logging
from etils import epath

import flatvol_jax as fv
from experiments.flag_help import define_config, parse_flags
from flatvol_jax import runtime
from flatvol_jax.study import measures, single

CONFIG = define_config("configs/certify.py", "Network and effort.")
NPZ = flags.DEFINE_string("npz", None, "Labels and inputs, or labels and kernel.", required=True)
OUT = flags.DEFINE_string("out", "certificate.json", "Where the certificate goes.")
CHECK = flags.DEFINE_bool("check", False, "Check the certificate at --out, write nothing.")


def main(_) -> None:
    """Make the certificate, or check it, and say in a few lines what it says."""
    logging.set_verbosity(logging.WARNING)
    config, out = CONFIG.value.to_dict(), epath.Path(OUT.value)
    try:
        kernel, labels, about = _problem(runtime.files.read_arrays(NPZ.value), config)
        jitter = 0.0
        if config["jitter"]:
            kernel, jitter = fv.kernels.add_jitter(kernel, config["jitter"])
        if CHECK.value:
            certificate = json.loads(out.read_text())
            wrong = single.check_certificate(certificate, config["seed"], kernel, labels)
            if wrong:
                sys.exit("\n".join(wrong))
            print(f"{out}: kernel, labels and new estimates agree with it.")
            return
        effort = {name: config[name] for name in ("links", "particles", "replicates")}
        with runtime.progress.progress_bar("link") as progress:
            certificate = single.certify(
                config["seed"],
                kernel,
                labels,
                **effort,
                classes=config["classes"],
                jitter=jitter,
                about=about,
                progress=progress,
            )
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    runtime.files.write_json(out, certificate)
    print("\n".join(_lines(certificate)))
    print(f"certificate: {out}")


def _lines(certificate: dict) -> Iterator[str]:
    for link, entry in certificate["log_volume"].items():
        yield f"log V ({link}): {entry['verdict']}"
        value, error = entry["estimate"]["log_volume"], entry["estimate"]["standard_error"]
        if value is not None:
            yield f"  {value:.4f} ± {error:.2g} nats; log10 V = {value / math.log(10):.4f}"
            yield "  EP {:.4f}, corrected EP {:.4f}".format(
                *(entry[name]["log_volume"] for name in ("ep", "ep_corrected"))
            )


def _problem(arrays: dict[str, Any], config: dict) -> tuple[Any, Any, dict]:
    """Kernel, labels, and what determines them."""
    if "y" not in arrays or not {"x", "kernel"} & arrays.keys():
        raise ValueError(
            f"{NPZ.value}: got the arrays {', '.join(arrays) or 'none'}; wanted y, (n,) labels ±1, "
            "and x, (n, ...) inputs, or kernel, (n, n) float64."
        )
    if "kernel" in arrays:
        return arrays["kernel"], arrays["y"], {"kernel": "given"}
    spec = measures.study_config.model_spec(config["model"])
    with runtime.progress.progress_bar("block") as progress:
        kernel = fv.nngp_kernel(
            spec, arrays["x"], progress=lambda done, total: progress(done, total, "kernel")
        )
    inputs = runtime.hashing.array_hash(arrays["x"])
    return kernel, arrays["y"], {"spec": spec.describe(), "inputs": inputs}


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
