"""The command `musicbert`: finds the module of a sub-command, reads its arguments and runs it.

A sub-command ``NAME`` is the module ``musicbert.cli.NAME`` with ``DESCRIPTION``, ``EPILOG``,
``add_arguments(parser)`` and ``run(options) -> int``. Only the module of the given command is imported, and
heavy packages only when it runs, so help is fast.

Exit status: 0 done; 1 done, but some inputs failed (they are named on the standard error); 2 bad usage or
input, nothing was done; 130 stopped by Ctrl-C; 141 the reader of its output stopped reading.
"""

import argparse
import importlib
import io
import os
import select
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.util import find_spec

import musicbert
from musicbert.cli.inputs import add_action
from musicbert.errors import MusicBertError

#: sub-command -> what it does; those without a module are left out
COMMANDS = {
    "encode": "MIDI files to OctupleMIDI: text, tables or arrays",
    "build": "MIDI files to a corpus for pre-training",
    "train": "pre-train or fine-tune with a recipe of the papers",
    "finetune": "train a head on labelled MIDI files",
    "evaluate": "score a fine-tuned model",
    "benchmark": "score a checkpoint on M2BERT's twelve tasks",
    "embed": "MIDI files to vectors of pieces, bars or notes",
    "predict": "run the heads of a fine-tuned model on MIDI files",
    "fill": "hide parts of a MIDI file and let a model fill them in",
    "checkpoint": "inspect, convert and verify checkpoints",
    "data": "fetch and prepare data sets",
}
EPILOG = """examples:
  musicbert encode piece.mid
  musicbert embed midi/ --model musicbert-mini --output embeddings.npz
  musicbert fill piece.mid --model musicbert-mini --fields pitch --bars 4 7 --output filled.mid
  musicbert checkpoint convert checkpoint_last_musicbert_small.pt checkpoints/musicbert_small

`musicbert COMMAND --help` describes a command.

exit status: 0 done; 1 done, but some inputs failed; 2 bad usage or input; 130 stopped by Ctrl-C."""
BAD_INPUT, STOPPED, CLOSED_PIPE = 2, 130, 141  # 128 + SIGINT and 128 + SIGPIPE, as shells count
#: package -> how to install it where `pip install NAME` is not right
INSTALL = {
    "torch": "see https://pytorch.org/get-started, then run pip install musicbert again",
    "fairseq": "pip install 'musicbert[fairseq]'",
}


def available() -> list[str]:
    """Names of the installed sub-commands."""
    return [name for name in COMMANDS if find_spec(f"musicbert.cli.{name}") is not None]


def make_parser(command: str | None = None) -> argparse.ArgumentParser:
    """Build the parser; only the sub-command ``command`` gets arguments."""
    parser = argparse.ArgumentParser(
        prog="musicbert",
        description="Symbolic music understanding with MusicBERT.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"musicbert {musicbert.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in available():
        if name != command:
            commands.add_parser(name, help=COMMANDS[name], add_help=False)
            continue
        module = importlib.import_module(f"musicbert.cli.{name}")
        text = COMMANDS[name]
        below = add_action(commands, name, text, description=module.DESCRIPTION, examples=module.EPILOG)
        module.add_arguments(below)
        below.set_defaults(run=module.run)
    return parser


def _reader_is_gone() -> bool:
    """Whether the standard output is a pipe that nobody reads any more (on Windows: taken for granted)."""
    if not hasattr(select, "poll"):
        return True
    look = select.poll()
    look.register(sys.stdout.fileno(), 0)
    return any(state & select.POLLERR for _, state in look.poll(0))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that cannot be shown are escaped
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = next((word for word in given if not word.startswith("-")), None)
    parser = make_parser(command)
    if not given:
        parser.print_help()
        return BAD_INPUT
    if given[0] == command and command not in available():
        close = get_close_matches(command, available(), 1)
        hint = f"did you mean {close[0]}?" if close else f"commands are {', '.join(available())}"
        print(f"musicbert: There is no command {command!r} ({hint})", file=sys.stderr)
        return BAD_INPUT
    try:
        options = parser.parse_args(given)
    except SystemExit as stop:  # argparse ends the process itself: 0 after help, 2 after an error
        return int(stop.code or 0)
    try:
        done = int(options.run(options))
        sys.stdout.flush()  # a closed pipe shows here, not when Python ends
        return done
    except BrokenPipeError as error:
        if not _reader_is_gone():  # another pipe than the standard output
            print(f"musicbert {options.command}: {error}", file=sys.stderr)
            return BAD_INPUT
        # the reader, such as `head`, has what it wanted; Python must not flush into the pipe again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "musicbert"):
            raise
        print(
            f"musicbert {options.command}: This needs the package {package}, which is not installed: "
            f"{INSTALL.get(package, f'pip install {package}')}",
            file=sys.stderr,
        )
        return BAD_INPUT
    except (MusicBertError, ValueError, OSError) as error:
        print(f"musicbert {options.command}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return STOPPED
    return BAD_INPUT
