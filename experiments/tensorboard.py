"""python -m experiments.tensorboard --workdir=runs/mnist_fcn_small: event files for TensorBoard.

Loss and errors by epoch, measures and hyperparameters of every network, or the courses of a
temporal study. Needs tensorboardX (extra `tensorboard`), no TensorFlow. Again after more work.
"""

import sys

from absl import app, flags

from experiments.flag_help import parse_flags
from flatvol_jax.study import engine

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a sweep or a study.", required=True)


def main(_) -> None:
    """Write the files, say how to look at them."""
    try:
        folder, runs = engine.event_files.write_events(WORKDIR.value)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(f"{runs} runs: tensorboard --logdir={folder}")


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
