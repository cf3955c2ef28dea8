"""python -m experiments.design --claims=26 --designs=27x5x8,10x5x8: what a design would decide.

Simulates sweeps of known correlations, judges them by the project's statistics, prints half-widths
and how often a claim is decided, and trains nothing. docs/design.md has the tables.
"""

import sys

from absl import app, flags

from experiments.flag_help import parse_flags
from flatvol_jax import runtime
from flatvol_jax.study import analysis

DESIGNS = flags.DEFINE_list("designs", ["27x5x8"], "DRAWSxLEVELSxNETWORKS (a level), by commas.")
CLAIMS = flags.DEFINE_integer("claims", 26, "Primary claims of a reading, judged together.")
SIMULATIONS = flags.DEFINE_integer("simulations", 300, "Simulated sweeps of each design.")
POWER = flags.DEFINE_bool("power", False, "Verdicts by the true correlation instead.")
SEED = flags.DEFINE_integer("seed", 0, "Fixes them.")


def main(_) -> None:
    """Simulate and print."""
    design = analysis.design
    try:
        designs = [design.Design.parse(text) for text in DESIGNS.value]
        make = design.power_table if POWER.value else design.design_table
        with runtime.progress.progress_bar("sweep") as progress:
            table = make(designs, CLAIMS.value, SIMULATIONS.value, SEED.value, progress=progress)
    except ValueError as error:
        sys.exit(f"error: {error}")
    print(design.markdown(table))


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
