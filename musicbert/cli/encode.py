"""`musicbert encode`: MIDI files to OctupleMIDI."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicbert.cli.inputs import add_inputs, add_policies, midi_files, policies_of, read_all, status

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = "Encode MIDI files as OctupleMIDI: eight numbers a note."
EPILOG = """examples:
  musicbert encode piece.mid                        a line of tokens, as in the training text
  musicbert encode midi/ --windows > all.txt        long pieces in several overlapping lines
  musicbert encode midi/ --format csv --output notes.csv
  musicbert encode midi/ --format npy --output rows/

A line holds bars 0-255: a longer piece fails without --windows. Lines are in the order of the files.

exit status: 0 done; 1 some files failed; 2 all failed, or bad usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert encode`."""
    add_inputs(parser)
    parser.add_argument(
        "--output", "-o", type=Path, help="file (a folder with npy); standard output if missing"
    )
    parser.add_argument(
        "--format",
        choices=("text", "csv", "npy"),
        default="text",
        help="text: a line of tokens; csv: a line a note; npy: an int64 array [notes, 8] (%(default)s)",
    )
    parser.add_argument(
        "--windows", action="store_true", help="text: cut into overlapping lines of 1,000 notes and 256 bars"
    )
    parser.add_argument("--reader", choices=("symusic", "miditoolkit"), default="symusic", help="%(default)s")
    add_policies(parser)


def run(options: argparse.Namespace) -> int:
    """Encode and write; return the exit status."""
    import csv
    import io

    import numpy as np

    from musicbert.atomic import write_text
    from musicbert.corpus.atomic import write_npy
    from musicbert.encoding import FIELDS, encode, rows_to_line

    if options.format == "npy" and options.output is None:
        raise ValueError("--format npy needs --output FOLDER")
    policies = policies_of(options)

    def lines(path: Path) -> list[str]:
        rows = encode(path, policies=policies, reader=options.reader)
        if options.format == "csv":
            stream = io.StringIO()
            csv.writer(stream, lineterminator="\n").writerows([str(path), *row] for row in rows.tolist())
            return stream.getvalue().splitlines()
        if not options.windows:
            return [rows_to_line(rows)]
        from musicbert.predict.spans import cover

        moved = ((rows[span.start : span.stop], span.first_bar) for span in cover(rows[:, 0]))
        return [rows_to_line(part - np.array([bar] + [0] * 7)) for part, bar in moved]

    files = midi_files(options.inputs)
    if options.format == "npy":
        names = [path.stem for path in files]
        if len(set(names)) < len(names):
            raise ValueError("two files have the same name: give their folders one at a time")
        options.output.mkdir(parents=True, exist_ok=True)
        good, rows = read_all(files, lambda path: encode(path, policies=policies, reader=options.reader))
        for path, matrix in zip(good, rows, strict=True):
            write_npy(options.output / f"{path.stem}.npy", matrix)
        return status(len(good), len(files))
    good, texts = read_all(files, lines)
    head = [",".join(("file", *FIELDS))] if options.format == "csv" else []
    if good:
        text = "".join(f"{line}\n" for line in [*head, *(line for part in texts for line in part)])
        if options.output is None:
            sys.stdout.write(text)
        else:
            write_text(options.output, text)
    return status(len(good), len(files))
