"""Arguments of the commands that let the model fill in notes: how tokens are chosen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from musicbert.command_line import refuse_unused

if TYPE_CHECKING:
    from musicbert.predict import FillOptions

VALUES = """Values of --allow are in units of musicians: pitch=60-72 or pitch=C4-C5, velocity=40-90,
duration=0.25,0.5,1 (quarter notes), position=0-3.75:0.25 (quarter notes after the bar line, here on
sixteenth notes), tempo=90-120, program=violin,cello, time_signature=3/4, bar=5-8 (counted from 1)."""


def add_filling(parser: argparse.ArgumentParser, **defaults: Any) -> Callable[..., Any]:
    """Add the arguments and return what adds further ones; ``defaults``: other ones than `FillOptions`."""
    add = parser.add_argument_group("how to choose").add_argument
    settings = {"order": "once", "temperature": "0", "top_p": 1.0, "repetition_penalty": "1"} | defaults
    add(
        "--order",
        choices=("once", "confident", "notes", "tokens"),
        default=settings["order"],
        help="all at once; most probable first in --steps passes; note by note; token by token (%(default)s)",
    )
    add("--steps", type=int, default=8, help="passes of --order confident (%(default)s)")
    add(
        "--temperature", nargs="+", default=[settings["temperature"]], metavar="T",
        help=f"0: the most probable; a number, FIELD=NUMBER, or both ({settings['temperature']})",
    )  # fmt: skip
    add("--top-k", type=int, default=0, help="among the k most probable; 0: all (%(default)s)")
    add(
        "--top-p",
        type=float,
        default=settings["top_p"],
        help="among those of this probability (%(default)s)",
    )
    add(
        "--repetition-penalty", nargs="+", default=[settings["repetition_penalty"]], metavar="P",
        help="the probability of a value is divided by P for each of the last 8 notes of the instrument that "
        f"have it; a number (for pitch) or FIELD=NUMBER; 1: off ({settings['repetition_penalty']})",
    )  # fmt: skip
    add("--allow", nargs="+", default=[], metavar="FIELD=VALUES", help="only these values (all)")
    add("--scale", metavar="SCALE", help="only pitches of a scale, such as C-major (all); drums have none")
    context = settings.get("context")
    add(
        "--context", type=int, default=context, metavar="NOTES",
        help=f"notes before and after the hidden ones that the model sees ({context or 'all'})",
    )  # fmt: skip
    add("--seed", type=int, default=0, help="%(default)s")
    return add


def filling_of(options: argparse.Namespace, **settings: Any) -> FillOptions:
    """`FillOptions` of a command line; ``settings``: further ones."""
    from musicbert.errors import ConfigError
    from musicbert.predict import FillOptions
    from musicbert.predict.allowed import allowed_values, numbers_by_field, scale_pitches

    if options.order != "confident":
        refuse_unused(options, ["steps"], f"with --order {options.order}")
    allow: dict[str, list[int]] = {}
    for word in options.allow:
        name, _, values = word.partition("=")
        allow[name] = sorted({*allow.get(name, []), *allowed_values(name, values)})
    if options.scale is not None:
        pitches = scale_pitches(options.scale)
        allow["pitch"] = sorted(set(pitches) & set(allow.get("pitch", pitches)))
        if not allow["pitch"]:
            raise ConfigError(
                "bad-value", f"No allowed pitch is in {options.scale}", hint="change --allow or --scale"
            )
    how = FillOptions(
        order=options.order,
        steps=options.steps,
        temperature=numbers_by_field(options.temperature),
        top_k=options.top_k,
        top_p=options.top_p,
        allow=allow,
        context=options.context,
        repetition_penalty=numbers_by_field(options.repetition_penalty, alone=["pitch"]),
        **settings,
    )
    if not draws(how):
        refuse_unused(options, ["top_k", "top_p"], "with --temperature 0, which takes the most probable one")
    return how


def draws(how: FillOptions) -> bool:
    """Whether tokens of any field are drawn, and not the most probable ones taken."""
    from musicbert.encoding import N_FIELDS

    return any(how.heat(number) for number in range(N_FIELDS))


def replaced(text: str) -> tuple[str, str]:
    """Read an instrument and the one that plays in its place (type of an argument)."""
    old, equals, new = text.partition("=")
    if not (equals and old and new):
        raise argparse.ArgumentTypeError(f"{text!r} is not OLD=NEW, such as 0=40 or flute=violin")
    return old, new


def refuse_unhidden(options: argparse.Namespace, fields: list[str]) -> None:
    """Refuse temperatures, penalties and allowed values of fields that are not filled in."""
    from musicbert.errors import ConfigError

    for option in ("temperature", "repetition_penalty", "allow"):
        for word in getattr(options, option):
            name, equals, _ = word.rpartition("=") if option != "allow" else word.partition("=")
            if equals and name not in fields:
                raise ConfigError(
                    "unused-option",
                    f"--{option.replace('_', '-')} {word}: {name} is not filled in",
                    hint=f"fields are chosen with --fields: {' '.join(fields)}",
                )
    if options.scale is not None and "pitch" not in fields:
        refuse_unused(options, ["scale"], "without pitch among --fields")
