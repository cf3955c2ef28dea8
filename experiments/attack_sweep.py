"""python -m experiments.attack_sweep --config=configs/mnist_fcn.py: train, measure, report."""

import shlex
import signal
import sys
import time
import warnings

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from flatvol_jax.figures import save_figure, sweep_pictures, write_report
from flatvol_jax.runtime.progress import progress_bar
from flatvol_jax.study import claims_table, load_records, records_summary
from flatvol_jax.study.attack_sweep import run_attack_sweep
from flatvol_jax.study.experiment_tables import function_movement_table
from flatvol_jax.study.records import at_zero_error
from flatvol_jax.study.workdir import environment

CONFIG = config_flags.DEFINE_config_file("config", "configs/mnist_fcn.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
CACHE = flags.DEFINE_string("cache", None, "Where kernels are kept; default WORKDIR/cache.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")


def main(_) -> None:
    """Run what is missing, draw the figure, write the report, say where they are."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    began = time.perf_counter()
    try:
        with progress_bar() as progress:
            run_attack_sweep(config, workdir, DATA_DIR.value, progress, CACHE.value)
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; what is finished is in {workdir}. The same command resumes.")
    except ValueError as error:
        sys.exit(f"error: {error}")

    records = load_records(workdir)
    frame, movement = at_zero_error(records), function_movement_table(records)
    context = {
        **environment(),
        "title": f"Attack-set sweep {config['name']}",
        "command": shlex.join(["python", "-m", "experiments.attack_sweep", *sys.argv[1:]]),
        "scale": config["scale"],
        "wall_seconds": time.perf_counter() - began,
    }
    pictures = sweep_pictures(frame, workdir)
    for picture in pictures:
        save_figure(picture.figure, workdir / "figures" / picture.name)
    claims = claims_table(frame, config["scale"])
    more = {picture.shows: picture.figure for picture in pictures[1:]}
    write_report(workdir / "report.html", frame, config, context, claims, more, movement)
    print("\n".join(records_summary(frame, config["scale"], claims=claims)))
    print(f"records: {workdir / 'records.jsonl'}")
    for picture in pictures:
        print(f"figure:  {workdir / 'figures' / picture.name}.png, .svg: {picture.shows}")
    print(f"report:  {workdir / 'report.html'}")


def parse_flags(arguments: list[str]) -> list[str]:
    """As absl does; a mistyped --config.key ends with the suggestion alone."""
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
