"""`musicbert embed`: MIDI files to vectors."""

import argparse
from pathlib import Path

from musicbert.cli.inputs import (
    add_inputs,
    add_model,
    add_policies,
    csv_text,
    midi_files,
    open_model,
    read_pieces,
    status,
)
from musicbert.command_line import refuse_unused

DESCRIPTION = "Embed MIDI files: a vector of each piece, bar or note. Pieces may have any length."
EPILOG = """examples:
  musicbert embed midi/ --model musicbert-mini --output embeddings.npz
  musicbert embed midi/ --model musicbert-mini --pooling mean --output embeddings.csv
  musicbert embed piece.mid --model checkpoints/mine --level note --layer 2 --output notes.npz

The .npz holds `ids` (the files), `embedding` [vectors, width] float32 and `offsets`: the vectors of file i
are offsets[i] to offsets[i + 1] - 1. For bars and notes, `bar` [vectors] is the bar of each vector.

exit status: 0 done; 1 some files failed; 2 all failed, or bad usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert embed`."""
    add_inputs(parser)
    add_model(parser)
    add = parser.add_argument
    add("--output", "-o", type=Path, required=True, help=".npz, or .csv (pieces only)")
    add("--level", choices=("piece", "bar", "note"), default="piece", help="what gets a vector (%(default)s)")
    add(
        "--pooling",
        choices=("first", "mean"),
        default="first",
        help="of a piece: state of the first token, or mean over the notes (%(default)s)",
    )
    add("--layer", type=int, default=-1, help="block; 0 is before the first, -1 the last (%(default)s)")
    add_policies(parser, whole=True)


def run(options: argparse.Namespace) -> int:
    """Embed and write; return the exit status."""
    from typing import Any

    import numpy as np

    from musicbert.atomic import replacing, write_text

    if options.output.suffix not in (".npz", ".csv"):
        raise ValueError("--output ends in .npz or .csv")
    if options.output.suffix == ".csv" and options.level != "piece":
        raise ValueError("a .csv holds pieces only: give a .npz")
    refuse_unused(options, ["labels"], "by embed: it names the outputs of heads, which embed does not run")
    if options.level != "piece":
        refuse_unused(options, ["pooling"], f"with --level {options.level}")
    files = midi_files(options.inputs)
    model = open_model(options, m2bert=True)
    m2bert = not hasattr(model, "predict")
    if m2bert and options.pooling == "first":
        refuse_unused(options, ["pooling"], "by M2BERT, which has no first token: it takes the mean")
    good, pieces = read_pieces(files, model, options)
    if not good:
        return status(0, len(files))
    more = (
        {} if m2bert else {"pooling": options.pooling}
    )  # M2BERT has no first token and always takes the mean
    vectors = model.embed(pieces, level=options.level, layer=options.layer, **more)
    parts = [np.atleast_2d(vector) for vector in vectors]
    table = np.concatenate(parts)
    ids = [str(path) for path in good]
    if options.output.suffix == ".csv":
        header = ["file", *(f"d{number}" for number in range(table.shape[1]))]
        rows = ([name, *row.tolist()] for name, row in zip(ids, table, strict=True))
        write_text(options.output, csv_text([header, *rows]))
        return status(len(good), len(files))
    arrays: dict[str, Any] = {
        "ids": np.array(ids),
        "embedding": table,
        "offsets": np.cumsum([0, *map(len, parts)]),
    }
    if options.level != "piece":
        bars = [model.fields.bars(piece.rows) if m2bert else piece.rows[:, 0] for piece in pieces]
        arrays["bar"] = np.concatenate(bars if options.level == "note" else [np.unique(bar) for bar in bars])
    with replacing(options.output) as file:
        np.savez_compressed(file, **arrays)
    return status(len(good), len(files))
