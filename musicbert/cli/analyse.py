"""`musicbert analyse`: what one piece of music answers, offline."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicbert.cli.inputs import (
    add_channel_programs,
    add_inputs,
    add_repeats,
    midi_files,
    read_all,
    read_channels,
    status,
)
from musicbert.command_line import refuse_unused

if TYPE_CHECKING:
    from musicbert.analysis import Analysis

DESCRIPTION = """Answer what is known of a piece: how its playing is heard (piano performances: 19 scales of
PercePiano, with ranges), and its melody, chords, keys and beats. Nothing is downloaded."""
EPILOG = """examples:
  musicbert analyse piece.mid
  musicbert analyse piece.mid --output piece.html
  musicbert analyse midi/ --format csv --output answers.csv
  musicbert analyse piece.mid --output marked.mid
  musicbert analyse piece.mid --model runs/moods/model --format json

Where a profile would mean nothing (a score without expression, another instrument, too few notes, music
unlike all that was rated), the answer says so, with the measure behind it.

exit status: 0 done; 1 some files failed; 2 all failed, or bad usage."""

#: format -> suffixes of --output that choose it
FORMATS = {
    "text": (".txt",),
    "json": (".json",),
    "csv": (".csv",),
    "html": (".html", ".htm"),
    "midi": (".mid", ".midi"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert analyse`."""
    add_inputs(parser)
    add = parser.add_argument
    add(
        "--model",
        help="a model of your own: folder of musicbert finetune, checkpoint with heads, committee (.npz)",
    )
    add("--device", help="of a network of your own: cpu, cuda, ...")
    add(
        "--coverage",
        type=float,
        choices=(0.8, 0.9),
        default=0.8,
        help="share of music that ranges hold (%(default)s)",
    )
    add("--format", choices=tuple(FORMATS), help="default: by the suffix of --output, else text")
    add(
        "--output",
        "-o",
        type=Path,
        help="file; a folder for MIDI files of several pieces (default: standard output)",
    )
    add_channel_programs(parser)
    add_repeats(parser)


def run(options: argparse.Namespace) -> int:
    """Analyse and write; return the exit status."""
    kind = _format(options)
    files = midi_files(options.inputs)
    if kind == "midi" and options.output is None:
        raise ValueError("--format midi needs --output")
    if kind == "midi" and len(files) > 1 and options.output.suffix:
        raise ValueError("--output is a folder for MIDI files of several pieces")
    if options.model is None:
        refuse_unused(options, ["device"], "without --model: the profile needs no network")
    from musicbert.analysis import analyse
    from musicbert.analysis.model import find_profile, load_profile_model

    model: Any = options.model
    if model is None or find_profile(model) is not None:
        model = load_profile_model() if model is None else load_profile_model(model)

    def one(path: Path) -> Analysis:
        score = read_channels(path, options)
        return analyse(score, name=str(path), model=model, coverage=options.coverage, device=options.device)

    good, analyses = read_all(files, one)
    if good:
        _write(analyses, kind, options.output)
    return status(len(good), len(files))


def _format(options: argparse.Namespace) -> str:
    suffix = "" if options.output is None else options.output.suffix.lower()
    by_suffix = next((name for name, suffixes in FORMATS.items() if suffix in suffixes), None)
    if options.format is None:
        if suffix and by_suffix is None:
            raise ValueError(
                f"--output ends in {', '.join(s for each in FORMATS.values() for s in each)}; or give "
                "--format"
            )
        return by_suffix or ("midi" if options.output is not None else "text")
    return str(options.format)


def _write(analyses: Sequence[Analysis], kind: str, output: Path | None) -> None:
    from musicbert.analysis.page import page_of
    from musicbert.analysis.tables import csv_of
    from musicbert.atomic import write_text

    if kind == "midi" and output is not None:
        if output.suffix:
            analyses[0].to_midi(output)
            return
        output.mkdir(parents=True, exist_ok=True)
        for name, analysis in zip(_names(analyses), analyses, strict=True):
            analysis.to_midi(output / name)
        return
    texts: dict[str, Callable[[], str]] = {
        "text": lambda: "\n".join(each.to_text() for each in analyses),
        "json": lambda: _json(analyses),
        "csv": lambda: csv_of(analyses),
        "html": lambda: page_of(analyses),
    }
    text = texts[kind]()
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)


def _json(analyses: Sequence[Analysis]) -> str:
    """An object, or a list of several."""
    content = [each.to_dict() for each in analyses]
    return json.dumps(content if len(content) > 1 else content[0], ensure_ascii=False, indent=1) + "\n"


def _names(analyses: Sequence[Analysis]) -> list[str]:
    """Names of MIDI files in one folder; equal ones are numbered."""
    names: list[str] = []
    for each in analyses:
        stem, number = Path(each.name).stem, 1
        while f"{stem}.mid" in names:
            number += 1
            stem = f"{Path(each.name).stem}-{number}"
        names.append(f"{stem}.mid")
    return names
