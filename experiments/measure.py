"""python -m experiments.measure --checkpoint=DIR: log V, sharpness, Hessian of a network of yours.

A checkpoint is a folder that Orbax wrote (the parameters, by themselves or under "params"), or an
.npz with W1, b1, W2, b2, ... What network it is, and which data it was trained on, the config says.
"""

from absl import app, flags
from etils import epath

from experiments.flag_help import define_config, parse_flags
from experiments.running import long_work
from flatvol_jax import runtime
from flatvol_jax.study import single

CONFIG = define_config("configs/measure.py", "Network and data.")
CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "Folder or .npz of the network.", required=True
)
STEP = flags.DEFINE_integer("step", None, "Of a folder with several steps; default the latest.")
DATA = flags.DEFINE_string("data", None, "Your own .npz: train_x, train_y, test_x, test_y.")
DATA_DIR = flags.DEFINE_string("data_dir", None, "Where TFDS data sets are prepared.")
WORKDIR = flags.DEFINE_string("workdir", None, "Where results go; default runs/<config.name>.")


def main(_) -> None:
    """Measure what is missing, print a table, say where the record is."""
    config = CONFIG.value.to_dict()
    workdir = epath.Path(WORKDIR.value or f"runs/{config['name']}")
    with long_work(workdir, "measure") as job:
        arrays = runtime.files.read_arrays(DATA.value) if DATA.value else None
        row = single.measure_network(
            config,
            CHECKPOINT.value,
            workdir,
            DATA_DIR.value,
            arrays,
            STEP.value,
            job.progress,
        )
    print("\n".join(single.network_summary(row)))
    print(f"record: {workdir / 'records.jsonl'}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
