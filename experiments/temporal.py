"""python -m experiments.temporal: sharpness and volume at every epoch, and through alpha-scaling.

The networks, the scaling and the measures are those of configs/temporal.py.
"""

import shlex
import signal
import sys
import time
import warnings

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from flatvol_jax.figures import save_figure, temporal_pictures, write_temporal_report
from flatvol_jax.runtime import files
from flatvol_jax.runtime.progress import progress_bar
from flatvol_jax.study import load_records
from flatvol_jax.study.temporal import run_temporal
from flatvol_jax.study.temporal_summary import branch_table, largest_alpha, temporal_summary
from flatvol_jax.study.workdir import environment

CONFIG = config_flags.DEFINE_config_file("config", "configs/temporal.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")


def main(_) -> None:
    """Do what is missing, draw the figures, write report and tables, say where they are."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    began = time.perf_counter()
    try:
        with progress_bar("epoch") as progress:
            run_temporal(config, workdir, DATA_DIR.value, progress)
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; what is finished is in {workdir}. The same command resumes.")
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")

    frame = load_records(workdir)
    context = {
        **environment(),
        "title": f"Through time: {config['name']}",
        "command": shlex.join(["python", "-m", "experiments.temporal", *sys.argv[1:]]),
        "scale": config["scale"],
        "wall_seconds": time.perf_counter() - began,
        "config": config,
    }
    table = branch_table(frame)
    files.write_text(workdir / "branches.csv", table.to_csv(index=False))
    alphas = largest_alpha(table)
    files.write_text(workdir / "largest_alpha.csv", alphas.to_csv(index=False))
    pictures = temporal_pictures(frame)
    for picture in pictures:
        save_figure(picture.figure, workdir / "figures" / picture.name)
    report = write_temporal_report(workdir, frame, context)
    print("\n".join(temporal_summary(frame)))
    print(f"records: {workdir / 'records.jsonl'}")
    print(f"tables:  {workdir / 'branches.csv'}, largest_alpha.csv")
    for picture in pictures:
        print(f"figure:  {workdir / 'figures' / picture.name}.png, .svg: {picture.shows}")
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main)
