"""`musicbert encode`: MIDI files to OctupleMIDI or compound words."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from musicbert.cli.inputs import (
    add_inputs,
    add_policies,
    csv_text,
    midi_files,
    policies_of,
    read_all,
    read_said,
    refuse_policies,
    status,
)
from musicbert.command_line import refuse_unused

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from musicbert.encoding import Policies


DESCRIPTION = "Encode MIDI files as OctupleMIDI (eight numbers a note) or compound words (four)."
EPILOG = """examples:
  musicbert encode piece.mid                        a line of tokens, as in the training text
  musicbert encode midi/ --windows > all.txt        long pieces in several overlapping lines
  musicbert encode midi/ --format csv --output notes.csv
  musicbert encode midi/ --format npy --output rows/
  musicbert encode midi/ --encoding cp --format npy --chunk 1024 --output compound_words/

With npy, no file is ever half-written under its name. When the command has ended, all are on the disk; after
a power cut before that, some may be empty: run it again.

A line of octuples holds bars 0-255: a longer piece fails without --windows. Lines are in the order of the
files.

encodings: octuple; cp: compound words (bar, position, pitch, duration), corrected; cp-m2bert and cp-midibert:
as the programs of M2BERT and MidiBERT make them, bugs included.

exit status: 0 done; 1 some files failed; 2 all failed, or bad usage."""
OCTUPLE = "octuple"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert encode`."""
    from musicbert.encoding.codecs import CODECS

    add_inputs(parser)
    add = parser.add_argument
    add("--output", "-o", type=Path, help="file (a folder with npy); standard output if missing")
    add("--encoding", choices=CODECS, default=OCTUPLE, help="see below (%(default)s)")
    add(
        "--format",
        choices=("text", "csv", "npy"),
        default="text",
        help="text: a line of tokens; csv: a line a note; npy: an int64 array [notes, fields] (%(default)s)",
    )
    add(
        "--windows",
        action="store_true",
        help="octuples as text: cut into overlapping lines of 1,000 notes and 256 bars",
    )
    add(
        "--chunk",
        type=int,
        metavar="N",
        help="compound words as npy: cut into chunks of N: an int64 array [chunks, N, 4], padded with PAD",
    )
    add("--reader", choices=("symusic", "miditoolkit"), default="symusic", help="%(default)s")
    add_policies(parser)


def run(options: argparse.Namespace) -> int:
    """Encode and write; return the exit status."""
    policies = policies_of(options)
    _check(options)
    files = midi_files(options.inputs)
    if options.format == "npy":
        return _write_arrays(files, options, policies)
    return _write_lines(files, options, policies)


def _check(options: argparse.Namespace) -> None:
    """Refuse combinations of arguments that make no sense."""
    if options.format == "npy" and options.output is None:
        raise ValueError("--format npy needs --output FOLDER")
    refuse_policies(options, options.encoding)
    if options.encoding != OCTUPLE or options.format != "text":
        refuse_unused(options, ["windows"], "unless --encoding is octuple and --format is text")
    if options.encoding == OCTUPLE or options.format != "npy":
        refuse_unused(options, ["chunk"], "unless --encoding is one of compound words and --format is npy")
    if options.chunk is not None and options.chunk < 1:
        raise ValueError("--chunk is a number from 1")


def _rows(path: Path, options: argparse.Namespace, policies: Policies) -> NDArray[np.int64]:
    """Rows of a file."""
    from musicbert.encoding import encode
    from musicbert.encoding.codecs import get_codec

    score = read_said(path, options, options.encoding)
    if options.encoding == OCTUPLE:
        return encode(score, policies=policies)
    return get_codec(options.encoding).encode(score)[0]


def _write_arrays(files: list[Path], options: argparse.Namespace, policies: Policies) -> int:
    """A file of rows for each piece."""
    from musicbert.atomic import flush_all
    from musicbert.corpus.files.folders import write_npy
    from musicbert.reuse import hold_folder

    names = [path.stem for path in files]
    if len(set(names)) < len(names):
        raise ValueError("two files have the same name: encode their folders one at a time")
    with hold_folder(options.output):
        good, arrays = read_all(files, lambda path: _rows(path, options, policies))
        for path, rows in zip(good, arrays, strict=True):
            if options.chunk is not None:
                from musicbert.encoding.compound_word import chunk_rows

                rows = chunk_rows(rows, options.chunk)
            write_npy(options.output / f"{path.stem}.npy", rows, sync=False)
        flush_all()
    return status(len(good), len(files))


def _write_lines(files: list[Path], options: argparse.Namespace, policies: Policies) -> int:
    """One text of all pieces."""
    from musicbert.atomic import write_text
    from musicbert.encoding.codecs import get_codec

    good, texts = read_all(files, lambda path: _lines(path, _rows(path, options, policies), options))
    fields = (field.name for field in get_codec(options.encoding).fields)
    head = [",".join(("file", *fields))] if options.format == "csv" else []
    if good:
        text = "".join(f"{line}\n" for line in [*head, *(line for part in texts for line in part)])
        if options.output is None:
            sys.stdout.write(text)
        else:
            write_text(options.output, text)
    return status(len(good), len(files))


def _lines(path: Path, rows: NDArray[np.int64], options: argparse.Namespace) -> list[str]:
    """Lines of a piece."""
    import numpy as np

    from musicbert.encoding import compound_word, rows_to_line

    if options.format == "csv":
        return csv_text([str(path), *row] for row in rows.tolist()).splitlines()
    if options.encoding != OCTUPLE:
        return [compound_word.rows_to_line(rows)]
    if not options.windows:
        return [rows_to_line(rows)]
    from musicbert.encoding.covering import cover

    moved = ((rows[span.start : span.stop], span.first_bar) for span in cover(rows[:, 0]))
    return [rows_to_line(part - np.array([bar] + [0] * 7)) for part, bar in moved]
