"""python -m experiments.temporal: sharpness and volume at every epoch, and through alpha-scaling.

The networks, the scaling and the measures are those of configs/temporal.py.
"""

import signal
import sys
import warnings

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from flatvol_jax.runtime import files
from flatvol_jax.runtime.progress import progress_bar
from flatvol_jax.study import load_records
from flatvol_jax.study.temporal import run_temporal
from flatvol_jax.study.temporal_summary import branch_table, largest_alpha, temporal_summary

CONFIG = config_flags.DEFINE_config_file("config", "configs/temporal.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")


def main(_) -> None:
    """Do what is missing, write the tables, say where they are."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    try:
        with progress_bar("epoch") as progress:
            run_temporal(config, workdir, DATA_DIR.value, progress)
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; what is finished is in {workdir}. The same command resumes.")
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")

    frame = load_records(workdir)
    table = branch_table(frame)
    print("\n".join(temporal_summary(frame)))
    print(f"records: {workdir / 'records.jsonl'}")
    if len(table):
        files.write_text(workdir / "branches.csv", table.to_csv(index=False))
        print(f"table:   {workdir / 'branches.csv'}")
        if table["alpha"].notna().any():
            alphas = largest_alpha(table).to_csv(index=False)
            files.write_text(workdir / "largest_alpha.csv", alphas)
            print(f"table:   {workdir / 'largest_alpha.csv'}")


if __name__ == "__main__":
    app.run(main)
