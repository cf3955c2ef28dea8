"""What --help prints: the main's own words, its flags a line each, what its config file says."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from absl import app, flags
from ml_collections import config_flags

HELP = ("-h", "--help", "-help")
WIDTH = 22
_files: dict[str, str] = {}  # flag -> the config file that is its default
_SHARED = ("experiments.flag_help", "experiments.running")  # define flags of several mains


def define_config(path: str, text: str) -> flags.FlagHolder:
    """Define --config and a flag for each entry, which are read now; for --help no file is run."""
    _files["config"] = path
    if _help_is_asked(sys.argv):
        return flags.DEFINE_string("config", path, text)
    try:
        return config_flags.DEFINE_config_file("config", path, text)
    except (AttributeError, KeyError) as error:
        sys.exit(_no_entry(error))


def parse_flags(arguments: list[str]) -> list[str]:
    """As absl does, with a --help that fits a screen; a mistyped flag ends with the suggestion."""
    if _help_is_asked(arguments):
        print("\n".join(help_lines(sys.modules["__main__"], arguments)))
        sys.exit(0)
    try:
        return app.parse_flags_with_usage(arguments)
    except (AttributeError, KeyError) as error:
        sys.exit(_no_entry(error))


def _help_is_asked(arguments: list[str]) -> bool:
    return any(argument in HELP for argument in arguments[1:])


def _no_entry(error: Exception) -> str:
    while isinstance(error.args[0], Exception):
        error = error.args[0]
    name, *hint = str(error.args[0]).strip("'").splitlines()
    said = " ".join([f"error: --config has no entry '{name.strip(chr(39))}'.", *hint])
    return f"{said} --help names the file that has them all."


def help_lines(main, arguments: list[str]) -> Iterator[str]:
    """The help of a main.

    Args:
        main: its module.
        arguments: of the command line; a --config among them is the one that is explained.
    """
    yield (main.__doc__ or "").strip()
    yield ""
    yield "Flags:"
    own = flags.FLAGS.get_key_flags_for_module(main)
    by_module = flags.FLAGS.flags_by_module_dict()
    shared = [flag for module in _SHARED for flag in by_module.get(module, [])]
    for flag in {flag.name: flag for flag in (*shared, *own)}.values():
        default = _files.get(flag.name, flag.default)
        said = "" if default in (None, False) else f" (default {default})"
        yield f"  --{flag.name:{WIDTH}} {flag.help}{said}"
    if "config" in flags.FLAGS:
        yield f"  --{'config.ENTRY=VALUE':{WIDTH}} Change any entry of the config."
        yield from _config_lines(arguments)
    yield ""
    yield "--helpfull lists the flags of the libraries as well."


def _config_lines(arguments: list[str]) -> Iterator[str]:
    """The docstring of the config file, read and not run."""
    chosen = [a.partition("=")[2] for a in arguments if a.startswith("--config=")]
    path = Path([_files["config"], *chosen][-1].partition(":")[0])
    if path.exists():
        yield ""
        yield f"{path}:"
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        yield from (f"  {line}".rstrip() for line in text.splitlines())
