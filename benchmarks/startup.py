"""What a --help and an import cost before anything is computed, against Python's own start.

    python -m benchmarks.startup [main ...]

User CPU seconds of whole processes, the median of five each, and the modules that they import.
"""

import resource
import statistics
import subprocess
import sys
from pathlib import Path

REPEATS = 5
_MAINS = [
    path.stem
    for path in sorted((Path(__file__).parents[1] / "experiments").glob("*.py"))
    if "app.run(" in path.read_text()
]


def cpu_seconds(arguments: list[str]) -> float:
    """Return the user CPU seconds of one Python process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before


def imported_modules(arguments: list[str]) -> int:
    """Return how many modules a Python process imports."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return sum(line.startswith("import time:") for line in done.stderr.splitlines()) - 1


def main(mains: list[str]) -> None:
    """Print a line a process."""
    processes = {
        "python -c pass": ["-c", "pass"],
        "import flatvol_jax": ["-c", "import flatvol_jax"],
        "flatvol --help": ["-m", "flatvol_jax.command.main", "--help"],
        **{f"{name} --help": ["-m", f"experiments.{name}", "--help"] for name in mains},
    }
    for name, arguments in processes.items():
        seconds = statistics.median(cpu_seconds(arguments) for _ in range(REPEATS))
        print(f"{name:24} {seconds:.2f} s, {imported_modules(arguments)} modules", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or _MAINS)
