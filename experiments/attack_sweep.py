"""python -m experiments.attack_sweep --config=configs/mnist_fcn.py: train, measure, report."""

import shlex
import signal
import sys
import time
import warnings

from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags
from tqdm import tqdm

from flatvol_jax.figures import attack_sweep_figure, save_figure, write_report
from flatvol_jax.study import load_records, records_summary
from flatvol_jax.study.attack_sweep import run_attack_sweep
from flatvol_jax.study.workdir import environment

CONFIG = config_flags.DEFINE_config_file("config", "configs/mnist_fcn.py", "What to run.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")


def main(_) -> None:
    """Run what is missing, draw the figure, write the report, say where they are."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    logging.set_verbosity(logging.WARNING)
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    began = time.perf_counter()
    bar = tqdm(total=1, unit="unit", dynamic_ncols=True, smoothing=0.05)

    def progress(done: float, total: int, text: str) -> None:
        if bar.total != total:  # what an earlier call did counts as done, not as speed
            bar.reset(total)
            bar.initial = bar.n = bar.last_print_n = int(done)
        bar.set_description(text, refresh=False)
        bar.update(int(done) - bar.n)

    try:
        run_attack_sweep(config, workdir, DATA_DIR.value, progress)
    except KeyboardInterrupt:
        bar.close()
        sys.exit(f"Interrupted; what is finished is in {workdir}. The same command resumes.")
    except ValueError as error:
        bar.close()
        sys.exit(f"error: {error}")
    bar.close()

    frame = load_records(workdir)
    context = {
        **environment(),
        "title": f"Attack-set sweep {config['name']}",
        "command": shlex.join(["python", "-m", "experiments.attack_sweep", *sys.argv[1:]]),
        "scale": config["scale"],
        "wall_seconds": time.perf_counter() - began,
    }
    png, svg = save_figure(attack_sweep_figure(frame), workdir / "figures" / "attack_sweep")
    write_report(workdir / "report.html", frame, config, context)
    print("\n".join(records_summary(frame, config["scale"])))
    print(f"records: {workdir / 'records.jsonl'}\nfigure:  {png}, {svg}")
    print(f"report:  {workdir / 'report.html'}")


if __name__ == "__main__":
    app.run(main)
