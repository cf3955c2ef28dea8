"""flatvol measure | audit | log-volume: the volume of a network's function, from files."""

import argparse
import json
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import flatvol_jax as fv
from flatvol_jax import runtime
from flatvol_jax.study import engine

# What the help says before the library is imported.
LINKS, METHODS = ("heaviside", "probit"), ("ep", "ep_corrected", "certified")
_NETWORK = """\
The network:
  --fcn 40,40 --checkpoint W.npz          W1, b1, W2, b2, ... in the convention x @ W + b
  --module package.nets:Net --checkpoint  what is called to build it, a class or a function, of
                                          Flax, Equinox, Haiku or PyTorch
A checkpoint is a folder that Orbax wrote, an .npz or .safetensors of its parameters by their
names, an .eqx, or a state_dict in a .pt. The data are an .npz with x, y and, if there are any,
x_test, y_test: inputs as the network sees them, labels -1 and +1.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says; an error is a sentence, and the code 1."""
    options = _parser().parse_args(arguments)
    if "" not in sys.path:
        sys.path.insert(0, "")  # modules of one's own are found where one is
    warnings.formatwarning = lambda message, *_: f"warning: {message}\n"
    runtime.compiled_programs.keep_compiled_programs()
    try:
        options.run(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("flatvol", description=__doc__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for name, run, text in (
        ("measure", _measure, "everything on one network, as a table"),
        ("audit", _audit, "which measures move while its function stays"),
    ):
        command = commands.add_parser(
            name, help=text, epilog=_NETWORK, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        command.set_defaults(run=run)
        _add_network(command)
        command.add_argument("--data", required=True, metavar="NPZ", help="x, y, x_test, y_test")
        command.add_argument("--kernel", choices=("analytic", "monte_carlo"))
        command.add_argument("--samples", type=int, help="networks of a Monte Carlo kernel")
        command.add_argument("--measures", metavar="A,B", help="only these parts")
        command.add_argument("--leave-out", metavar="A,B", default="", help="not these parts")
        command.add_argument("--quick", action="store_true", help="fewer samples, no sampling")
        command.add_argument("--cache", metavar="DIR", help="where the kernel is kept")
        command.add_argument("--json", metavar="FILE", help="write the numbers there, too")
        _add_common(command)
        if name == "measure":
            command.add_argument("--noise", type=float, help="regression: variance of the noise")
    command = commands.add_parser("log-volume", help="log V of labels under a kernel")
    command.set_defaults(run=_log_volume)
    command.add_argument("--labels", required=True, metavar="NPY", help="-1 and +1, or 0..C-1")
    command.add_argument("--matrix", required=True, metavar="NPY", help="K, (n, n) float64")
    command.add_argument("--link", choices=LINKS, default="heaviside")
    command.add_argument("--method", choices=METHODS, default="certified")
    command.add_argument("--classes", type=int, help="C, of labels 0..C-1")
    _add_common(command)
    return parser


def _add_network(command: argparse.ArgumentParser) -> None:
    command.add_argument("--checkpoint", metavar="PATH", help="of the trained parameters")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("--fcn", metavar="40,40", help="widths of a fully connected ReLU network")
    which.add_argument("--module", metavar="PACKAGE:NAME", help="what builds the network")
    command.add_argument("--arguments", type=json.loads, default={}, metavar="JSON", help="its own")
    command.add_argument("--sigma-w", type=float, default=2**0.5, help="of --fcn; default √2")
    command.add_argument("--sigma-b", type=float, default=1.0, help="of --fcn; default 1")
    command.add_argument("--step", type=int, help="of a folder with several steps")


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--quiet", action="store_true", help="no progress bar")


def _measure(options: argparse.Namespace) -> None:
    found = fv.measure(*_network_and_data(options), noise=options.noise, **_shared(options))
    print(found)
    if options.json:
        runtime.files.write_json(options.json, engine.store.jsonable(found.to_dict()))


def _audit(options: argparse.Namespace) -> None:
    found = fv.symmetry_audit(*_network_and_data(options), **_shared(options))
    print(found)
    if options.json:
        runtime.files.write_json(
            options.json, engine.store.jsonable(found.to_frame().to_dict("records"))
        )


def _network_and_data(options: argparse.Namespace) -> tuple[Any, ...]:
    """Return the network, its parameters and the data; a state stands among the shared options."""
    from flatvol_jax.command.files import read_data, read_own_network

    x, y, x_test, y_test = read_data(options.data)
    if options.fcn:
        widths = tuple(_whole(part) for part in options.fcn.split(","))
        network = fv.FCN(widths, options.sigma_w, options.sigma_b)
    else:
        network = options.module
    spec, params, options.state = read_own_network(
        network, options.arguments, options.checkpoint, x, options.step
    )
    return spec, params, x, y, x_test, y_test


def _shared(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "state": options.state,
        "kernel": options.kernel,
        "samples": options.samples,
        "measures": options.measures.split(",") if options.measures else None,
        "leave_out": options.leave_out.split(",") if options.leave_out else (),
        "quick": options.quick,
        "key": _key(options),
        "cache": options.cache,
        "progress": not options.quiet,
    }


def _log_volume(options: argparse.Namespace) -> None:
    from flatvol_jax.command.files import read_array

    labels = read_array(options.labels, "labels")
    kernel = read_array(options.matrix, "kernel")
    found = fv.log_volume(
        kernel.astype("float64"),
        labels.astype(int) if (labels % 1 == 0).all() else labels,
        options.link,
        options.method,
        _key(options),
        classes=options.classes,
    )
    print(found)


def _key(options: argparse.Namespace) -> Any:
    import jax

    return jax.random.key(options.seed)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"--fcn: got {text!r}, wanted widths such as 40,40.") from None


if __name__ == "__main__":
    sys.exit(main())
