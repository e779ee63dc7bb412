"""Options as fields of a frozen dataclass, each with a default, its source, and a help text."""

import argparse
from collections.abc import Sequence
from dataclasses import Field, field, fields
from typing import Any, NoReturn, TypeVar

from musicbert.command_line import unknown_option
from musicbert.errors import ConfigError, nearest

Options = TypeVar("Options")


def option(
    default: Any,
    text: str,
    *,
    source: str = "",
    choices: Sequence[str] = (),
    alias: str = "",
    number: bool = False,
) -> Any:
    """Declare an option ``--some-name`` for the field ``some_name``; a False default makes a switch.

    The type of ``default`` is that of the option. ``source`` of the default: ``published``, or empty for a
    choice of this project. ``choices``: allowed values; empty: any. ``alias``: a second name with its dashes.
    ``number``: a decimal number, kept as written because names of save folders repeat it.
    """
    about = {"help": text, "source": source, "choices": choices, "alias": alias, "number": number}
    return field(default=default, metadata=about)


def published(default: Any, text: str, **more: Any) -> Any:
    """Declare an option whose default is the published hyper-parameter."""
    return option(default, text, source="published", **more)


def number(default: str, text: str) -> Any:
    """Declare a published decimal number."""
    return published(default, text, number=True)


def place(text: str, *, choices: Sequence[str] = (), several: bool = False) -> Any:
    """Declare a positional argument, which may be left out; ``several``: any number of them."""
    return field(default=() if several else "", metadata={"help": text, "choices": choices, "place": True})


class _Parser(argparse.ArgumentParser):
    """A parser that raises `ConfigError` instead of ending the process."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError("bad-option", message, hint="see --help")


def _number(text: str) -> str:
    float(text)
    return text


_number.__name__ = "number"  # argparse names it in errors


def make_parser(recipe: type[Any], *, prog: str, description: str = "", epilog: str = "") -> _Parser:
    """Build the command line of a dataclass of options."""
    parser = _Parser(
        prog=prog,
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for entry in fields(recipe):
        if entry.metadata:
            _add(parser, entry)
    return parser


def _add(parser: argparse.ArgumentParser, entry: Field[Any]) -> None:
    about, default = entry.metadata, entry.default
    text = about["help"].replace("%", "%%")
    if about.get("place"):
        several = isinstance(default, tuple)
        parser.add_argument(
            entry.name, nargs="*" if several else "?", default=default, metavar=entry.name.upper(), help=text
        )
        return
    names = [name for name in (f"--{entry.name.replace('_', '-')}", about["alias"]) if name]
    if default is False:
        parser.add_argument(*names, action="store_true", help=text)
        return
    if default != "" and "default:" not in text:
        source = f", {about['source']}" if about["source"] else ""
        text += f" (default: {default}{source})".replace("%", "%%")
    kind = _number if about.get("number") else type(default)
    metavar = "|".join(about["choices"]) or kind.__name__.replace("str", "value").upper()
    parser.add_argument(*names, default=default, type=kind, metavar=metavar, help=text)


def parse(recipe: type[Options], words: Sequence[str], *, parser: _Parser) -> tuple[Options, tuple[str, ...]]:
    """Read options of a recipe with the parser of `make_parser`.

    Returns the recipe, and the words after ``--``, which are for fairseq-train.
    Raises `ConfigError` (``bad-option``).
    """
    end = list(words).index("--") if "--" in words else len(words)
    given, unknown = parser.parse_known_intermixed_args(list(words[:end]))
    if unknown:
        raise ConfigError(
            "bad-option",
            unknown_option(parser, unknown[0]),
            hint="see --help; options of fairseq-train go after --",
        )
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in vars(given).items()}
    for entry in fields(recipe):  # type: ignore[arg-type]
        choices = entry.metadata.get("choices", ())
        if choices and values[entry.name] not in (*choices, entry.default):
            name = entry.name if entry.metadata.get("place") else f"--{entry.name.replace('_', '-')}"
            raise ConfigError(
                "bad-option",
                f"{name} is one of {', '.join(choices)}, not {values[entry.name]}",
                hint=nearest(str(values[entry.name]), choices),
            )
    return recipe(**values), tuple(words[end + 1 :])
