"""MIDI files on the command line: which they are, and what became of those that cannot be used."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_type_hints

from musicbert.errors import CheckpointError, MidiError, MusicBertError

if TYPE_CHECKING:
    from musicbert.encoding import Policies


T = TypeVar("T")
_SUFFIXES = (".mid", ".midi")


def add_action(
    actions: Any, name: str, text: str, *, description: str = "", examples: str | None = None
) -> argparse.ArgumentParser:
    """Add a sub-command, whose examples are printed as they are."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name,
        help=text,
        description=description or text,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_inputs(parser: argparse.ArgumentParser) -> None:
    """Add the MIDI files."""
    parser.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="MIDI file, or folder (all .mid and .midi files in it)"
    )


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that choose a model."""
    add = parser.add_argument
    add("--model", required=True, help="folder, checkpoint file, or name such as musicbert_small")
    add("--labels", metavar="JSON", help="classes.json that names the outputs of the heads")
    add("--device", help="cpu, cuda, ... (a GPU if there is one)")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="auto: float32 on a CPU, bfloat16 on a GPU",
    )


def add_policies(parser: argparse.ArgumentParser) -> None:
    """Add a flag for each choice of `Policies`."""
    from musicbert.encoding.policies import COMPATIBLE, Policies

    group = parser.add_argument_group("music that the encoding cannot hold (the default is as published)")
    for name, hint in get_type_hints(Policies).items():
        if name != "bar_overflow":  # of training text only
            default = getattr(COMPATIBLE, name)
            flag = "--" + name.replace("_", "-")
            group.add_argument(flag, choices=get_args(hint), default=default, help="%(default)s")


def share(text: str) -> float:
    """Read a share in 0-1, as the type of an argument: 5, meant as per cent, would allow everything."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share in 0-1, such as 0.05")
    return value


def policies_of(options: argparse.Namespace) -> Policies:
    """`Policies` that the arguments say."""
    from musicbert.encoding.policies import Policies

    given: dict[str, Any] = {
        name: getattr(options, name) for name in get_type_hints(Policies) if hasattr(options, name)
    }
    return Policies(**given)


def midi_files(inputs: Sequence[str]) -> list[Path]:
    """Files of the arguments, those of a folder sorted by path, each once.

    Raises `MidiError` (``no-files`` where a folder holds none); `ValueError` (for an empty argument, which
    would mean the current folder).
    """
    if "" in inputs:
        raise ValueError("an input is empty: is a variable of the shell not set?")
    found: dict[Path, None] = {}
    for given in map(Path, inputs):
        if not given.is_dir():
            found[given] = None
            continue
        inside = sorted(
            path for path in given.rglob("*") if path.suffix.lower() in _SUFFIXES and path.is_file()
        )
        if not inside:
            raise MidiError("no-files", "The folder does not contain a .mid or .midi file", path=given)
        found.update(dict.fromkeys(inside))
    return list(found)


def read_all(files: Sequence[Path], read: Callable[[Path], T]) -> tuple[list[Path], list[T]]:
    """Read files, and name those that cannot be read on the standard error.

    Returns ``files``, ``results``: of those that could be read.
    """
    good, results = [], []
    for path in files:
        try:
            results.append(read(path))
            good.append(path)
        except MusicBertError as error:
            text = str(error)
            print(text if text.startswith(str(path)) else f"{path}: {text}", file=sys.stderr)
    return good, results


def open_model(options: argparse.Namespace, *, m2bert: bool = False) -> Any:
    """Open the model that the arguments of `add_model` say; what was loaded is told on the standard error.

    Raises `CheckpointError` (``other-model`` for an M2BERT, unless ``m2bert``).
    """
    from musicbert.predict import M2BertModel, from_pretrained

    model = from_pretrained(
        options.model, labels=options.labels, device=options.device, precision=options.precision
    )
    if isinstance(model, M2BertModel) and not m2bert:
        raise CheckpointError(
            "other-model",
            "This is an M2BERT that is only pre-trained: it has no sentence heads and cannot fill in notes",
            path=options.model,
            hint="embed with it, or fine-tune it",
        )
    print(f"{options.model}: {model.report}", file=sys.stderr)
    return model


def read_pieces(
    files: Sequence[Path], model: Any, options: argparse.Namespace
) -> tuple[list[Path], list[Any]]:
    """Read files as a model wants them (see `read_all`)."""
    policies = policies_of(options)
    return read_all(files, lambda path: model.read(path, policies=policies))


def status(done: int, wanted: int) -> int:
    """Exit status: 0 if all inputs were used, 1 if some were, 2 if none."""
    return 0 if done == wanted else 1 if done else 2
