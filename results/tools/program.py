"""What the programs of this folder share: the command line, errors, and steps that run other programs.

A program is a module with a ``main``; it runs as ``python results/tools/NAME.py`` in an environment where
`musicbert` is installed (``make venv``), and its neighbours import it as the top-level module ``NAME``.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from musicbert.errors import DatasetError, MusicBertError
from musicbert.reuse import hashes_of, made_from, require_same

__all__ = [
    "ROOT",
    "arch_of",
    "check_record",
    "die",
    "environment",
    "full_command",
    "make_parser",
    "need",
    "print_command",
    "record_of",
    "report_errors",
    "run",
    "say",
    "split_extra",
]

#: the checkout
ROOT = Path(__file__).resolve().parents[2]


class _Parser(argparse.ArgumentParser):
    """Options in full, and one line for what is wrong."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ")
        if unknown != message:
            message = f"unknown option {unknown.split()[0].partition('=')[0]} (see --help)"
        die(message)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Adds the default of each option that has one to its help."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        shown = action.help
        without = (None, "", False, [], argparse.SUPPRESS)
        if shown and "default:" not in shown and action.option_strings and action.default not in without:
            shown += " (default: %(default)s)"
        return shown


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """Return a parser for one program; `description` is shown as it is written."""
    return _Parser(description=description, formatter_class=_Help, allow_abbrev=False)


def split_extra(arguments: Sequence[str] | None = None) -> tuple[list[str], list[str] | None]:
    """Split a command line at its first ``--``; the second part is None where there is no ``--``."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if "--" not in words:
        return words, None
    at = words.index("--")
    return words[:at], words[at + 1 :]


def report_errors(action: Callable[[], str]) -> int:
    """Print what an action returns. Returns the exit code: 0, or 2 after an error of bad input."""
    try:
        print(action())
    except (MusicBertError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def record_of(settings: Mapping[str, object], *paths: Path) -> dict[str, Any]:
    """Return a record of settings, and of the files of folders (see `musicbert.reuse.made_from`)."""
    hashes = ((f"{path.name}/{name}", digest) for path in paths for name, digest in hashes_of(path).items())
    return made_from(settings, dict(hashes))


def check_record(before: Any, now: Mapping[str, Any], folder: Path, hint: str) -> None:
    """Exit where a folder was made from something else."""
    try:
        require_same(before, now, folder, hint)
    except DatasetError as error:
        die(str(error))


def die(message: str) -> NoReturn:
    """Print an error and exit with code 2."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(2)


def say(message: str) -> None:
    """Print a line about the progress."""
    print(f"== {message}", flush=True)


def need(path: Path, hint: str) -> None:
    """Exit where a file or folder is missing."""
    if not path.exists():
        die(f"{path} is missing: {hint}")


def run(*command: object, quiet: bool = False) -> None:
    """Run a program of the checkout; exit with its code where it fails.

    Parameters
    ----------
    command
        A path below the checkout (``.sh`` or ``.py``) or ``-m`` and a module, then its arguments.
    quiet
        Drop what it prints on the standard output.
    """
    status = subprocess.run(
        full_command(command), env=environment(), stdout=subprocess.DEVNULL if quiet else None, check=False
    ).returncode
    if status:
        raise SystemExit(status)


def full_command(command: Sequence[object]) -> list[str]:
    """Put the interpreter before a program (see `run`)."""
    first, *rest = map(str, command)
    if first == "-m":
        return [sys.executable, first, *rest]
    return ["bash" if first.endswith(".sh") else sys.executable, str(ROOT / first), *rest]


def environment() -> dict[str, str]:
    """Return the environment of a step: this checkout first on the path of modules."""
    others = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{others}" if others else str(ROOT)}


def print_command(command: Sequence[str]) -> None:
    """Print a command as a shell reads it."""
    print(shlex.join(command), flush=True)


def arch_of(weights: str) -> str:
    """Return the network that the name of weights says, such as ``musicbert-mini``; else the base size."""
    match = re.search(r"musicbert[-_](tiny|mini|small|medium|base|large)", Path(weights).name)
    return f"musicbert_{match[1] if match else 'base'}"
