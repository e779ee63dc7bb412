"""The command `musicbert`: finds the module of a sub-command, reads its arguments and runs it.

A sub-command ``NAME`` is the module ``musicbert.cli.NAME`` with ``DESCRIPTION``, ``EPILOG``,
``add_arguments(parser)`` and ``run(options) -> int``. Only the module of the given command is imported, and
heavy packages only when it runs, so help is fast.
"""

import argparse
import importlib
import io
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec

import musicbert
from musicbert.cli.inputs import add_action
from musicbert.command_line import BAD_INPUT, Parser, exit_status
from musicbert.errors import ConfigError, MusicBertError, nearest

#: an option in a hint
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*[a-z0-9]")

#: sub-command -> what it does; those without a module are left out
COMMANDS = {
    "encode": "MIDI files to OctupleMIDI: text, tables or arrays",
    "build": "MIDI files to a corpus for pre-training",
    "train": "pre-train or fine-tune with a recipe of the papers",
    "finetune": "train a head on labelled MIDI files",
    "evaluate": "score a fine-tuned model",
    "benchmark": "score a checkpoint on M2BERT's twelve tasks",
    "analyse": "how a piece is played, and its melody, chords, keys and beats",
    "embed": "MIDI files to vectors of pieces, bars or notes",
    "predict": "run the heads of a fine-tuned model on MIDI files",
    "index": "describe a folder of MIDI files, to be searched by likeness",
    "similar": "find the pieces or bars of an index that are most like some music",
    "explain": "give the reasons of a prediction: what each factor of the playing contributes",
    "fill": "hide parts of a MIDI file and let a model fill them in",
    "plot": "draw music, what a network reads and finds in it, and trainings",
    "render": "play a MIDI file into a WAV file",
    "remix": "let a model write parts of a MIDI file anew, in several versions",
    "serve": "start the page: a MIDI file heard, explained, changed and written anew",
    "checkpoint": "inspect, convert and verify checkpoints",
    "data": "fetch and prepare data sets",
    "completion": "print a script with which a shell completes commands and options",
}
EPILOG = """examples:
  musicbert encode piece.mid
  musicbert embed midi/ --model musicbert-mini --output embeddings.npz
  musicbert fill piece.mid --model musicbert-mini --fields pitch --bars 5-8 --output filled.mid
  musicbert checkpoint convert checkpoint_last_musicbert_small.pt checkpoints/musicbert_small

`musicbert COMMAND --help` describes a command.

exit status: 0 done; 1 done, but some inputs failed; 2 bad usage or input; 130 stopped by Ctrl-C."""


def available() -> list[str]:
    """Names of the installed sub-commands."""
    return [name for name in COMMANDS if find_spec(f"musicbert.cli.{name}") is not None]


def make_parser(command: str | None = None) -> Parser:
    """Build the parser; only the sub-command ``command`` gets arguments."""
    parser = Parser(
        prog="musicbert",
        description="Symbolic music understanding with MusicBERT.",
        epilog=EPILOG,
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return the exit status."""
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files that cannot be shown are escaped
    given = sys.argv[1:] if arguments is None else list(arguments)
    command = next((word for word in given if not word.startswith("-")), None)
    return _run(given, command)


@exit_status
def _run(given: list[str], command: str | None) -> int:
    parser = make_parser(command)
    if not given:
        parser.print_help()
        return BAD_INPUT
    if given[0] == command and command not in available():
        hint = nearest(command, available()) or f"commands are {', '.join(available())}"
        raise ConfigError("unknown-command", f"there is no command {command!r}", hint=hint)
    try:
        options = parser.parse_args(given)
    except SystemExit as stop:  # argparse ends the process itself: 0 after help, 2 after an error
        return int(stop.code or 0)
    try:
        return int(options.run(options))
    except MusicBertError as error:
        error.hint = _of_this_command(error.hint, parser, str(command))
        raise


def _of_this_command(hint: str | None, parser: argparse.ArgumentParser, command: str) -> str | None:
    """Add to a hint which of its options this command does not have: others have them."""
    known: set[str] = set()
    parsers = [parser]
    while parsers:
        for action in parsers.pop()._actions:
            known.update(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    missing = [name for name in dict.fromkeys(_OPTION.findall(hint or "")) if name not in known]
    if not missing or re.search(
        r"pip |musicbert \w|\.(sh|py)\b", hint or ""
    ):  # options of what is named there
        return hint
    return f"{hint}; `musicbert {command}` has no {' and no '.join(missing)}"
