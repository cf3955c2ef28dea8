"""python -m experiments.certify --npz=labelling.npz --out=certificate.json: log V(f), certified.

The .npz holds `y`, (n,) labels ±1, or 0..C-1 with --config.classes=C, and `x`, (n, ...) inputs as
the network sees them, or `kernel`, (n, n) float64, in place of x. `--check` holds a certificate
against the same .npz with other random numbers.
"""

import json
import sys

from absl import app, flags, logging
from etils import epath

from experiments.flag_help import define_config, parse_flags
from flatvol_jax import runtime
from flatvol_jax.study import single

CONFIG = define_config("configs/certify.py", "Network and effort.")
NPZ = flags.DEFINE_string("npz", None, "Labels and inputs, or labels and kernel.", required=True)
OUT = flags.DEFINE_string("out", "certificate.json", "Where the certificate goes.")
CHECK = flags.DEFINE_bool("check", False, "Check the certificate at --out, write nothing.")


def main(_) -> None:
    """Make the certificate, or check it, and say in a few lines what it says."""
    logging.set_verbosity(logging.WARNING)
    config, out = CONFIG.value.to_dict(), epath.Path(OUT.value)
    progress_bar = runtime.progress.progress_bar
    try:
        with progress_bar("block") as progress:
            given = single.read_labelling(NPZ.value, config["model"], config["jitter"], progress)
        if CHECK.value:
            certificate = json.loads(out.read_text())
            wrong = single.check_certificate(
                certificate, config["seed"], given.kernel, given.labels
            )
            if wrong:
                sys.exit("\n".join(wrong))
            print(f"{out}: kernel, labels and new estimates agree with it.")
            return
        effort = {name: config[name] for name in ("links", "particles", "replicates")}
        with progress_bar("link") as progress:
            certificate = single.certify(
                config["seed"],
                given.kernel,
                given.labels,
                **effort,
                classes=config["classes"],
                jitter=given.jitter,
                about=given.about,
                progress=progress,
            )
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
    runtime.files.write_json(out, certificate)
    print("\n".join(single.certificate_lines(certificate)))
    print(f"certificate: {out}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
