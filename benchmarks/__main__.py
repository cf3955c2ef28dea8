"""All benchmarks, each short: python -m benchmarks [name ...]

Every benchmark is a process of its own and prints ratios to a peer or a limit of the same run;
`python -m benchmarks.NAME` takes larger sizes. The last line says which of them failed.
"""

import subprocess
import sys
import time

SHORT = {
    "startup": ["attack_sweep"],
    "first_calls": [],
    "volume": ["500"],
    "multiclass": ["200"],
    "flatness": [],
    "convolutions": [],
    "sampling": ["131072"],
    "training": ["5"],
    "network_checks": [],
    "accuracy": [],
    "load": ["20", "2000"],
    "accelerator": ["--small"],
}


def main(names: list[str]) -> int:
    """Run them; 1 where one fails or is not known."""
    if unknown := [name for name in names if name not in SHORT]:
        print(f"benchmarks: got {', '.join(unknown)}, wanted some of {', '.join(SHORT)}.")
        return 1
    failed = []
    for name in names or SHORT:
        print(f"\n== {name}", flush=True)
        began = time.perf_counter()
        command = [sys.executable, "-m", f"benchmarks.{name}", *SHORT[name]]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
        print(f"== {name}: {time.perf_counter() - began:.0f} s", flush=True)
    print(f"\nfailed: {', '.join(failed) or 'none'}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
