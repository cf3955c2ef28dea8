"""python -m experiments.boolean: volumes counted and computed, minima, P_SGD against P_B."""

import shlex
import signal
import sys
import time
import warnings

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from flatvol_jax.figures import boolean_pictures, save_figure, write_boolean_report
from flatvol_jax.runtime.progress import progress_bar
from flatvol_jax.study import load_records
from flatvol_jax.study.boolean import run_boolean
from flatvol_jax.study.boolean_summary import boolean_summary
from flatvol_jax.study.boolean_system import make_system
from flatvol_jax.study.workdir import environment

CONFIG = config_flags.DEFINE_config_file("config", "configs/boolean.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")


def main(_) -> None:
    """Do what is missing, draw the figures, write the report, say where they are."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    began = time.perf_counter()
    try:
        with progress_bar() as progress:
            run_boolean(config, workdir, progress)
    except KeyboardInterrupt:
        sys.exit(f"Interrupted; what is finished is in {workdir}. The same command resumes.")
    except ValueError as error:
        sys.exit(f"error: {error}")

    frame = load_records(workdir)
    context = {
        **environment(),
        "title": f"Boolean functions of {config['hp']['bits']} inputs",
        "command": shlex.join(["python", "-m", "experiments.boolean", *sys.argv[1:]]),
        "scale": config["scale"],
        "wall_seconds": time.perf_counter() - began,
        "notes": [note for note in (config["note"], *make_system(config).notes) if note],
        "config": config,
    }
    pictures = boolean_pictures(frame)
    for picture in pictures:
        save_figure(picture.figure, workdir / "figures" / picture.name)
    report = write_boolean_report(workdir, frame, context)
    print("\n".join(boolean_summary(frame)))
    print(f"records: {workdir / 'records.jsonl'}")
    for picture in pictures:
        print(f"figure:  {workdir / 'figures' / picture.name}.png, .svg: {picture.shows}")
    print(f"report:  {report}")


if __name__ == "__main__":
    app.run(main)
