"""`musicbert predict`: what the heads of a fine-tuned model say about MIDI files."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from musicbert.cli.inputs import (
    add_inputs,
    add_model,
    add_policies,
    midi_files,
    open_model,
    read_pieces,
    status,
)

__all__ = ["DESCRIPTION", "EPILOG", "add_arguments", "run"]

DESCRIPTION = "Run the heads of a fine-tuned model on MIDI files: classes, labels or ratings on 0-1."
EPILOG = """examples:
  musicbert predict piece.mid --model checkpoints/mine
  musicbert predict midi/ --model checkpoint_best.pt --labels classes.json --output scores.csv
  musicbert predict midi/ --model runs/moods/model --output moods.csv

Without --output, or with .jsonl, there is one JSON object a file:
{"file": ..., "head": {"name": score, ...}}. A .csv has one line a file and a column `head:name` a score.
A model of `musicbert finetune` also says what is best (`"best"`); of a model of notes, a .jsonl has a list of
scores (of the notes, as the file has them) for each name, and a .csv one line a note.

exit status: 0 done; 1 some files failed; 2 all failed, or bad usage."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert predict`."""
    add_inputs(parser)
    add_model(parser)
    parser.add_argument("--heads", nargs="+", metavar="NAME", help="heads to run (all)")
    parser.add_argument("--output", "-o", type=Path, help=".jsonl or .csv; standard output if missing")
    add_policies(parser)


def run(options: argparse.Namespace) -> int:
    """Predict and write; return the exit status."""
    import csv
    import io
    import json

    from musicbert.atomic import write_text
    from musicbert.weights.tagger_folder import is_tagger_folder

    if options.output is not None and options.output.suffix not in (".jsonl", ".csv"):
        raise ValueError("--output ends in .jsonl or .csv")
    files = midi_files(options.inputs)
    if is_tagger_folder(options.model):
        from musicbert.cli.tags import predict_tags

        return predict_tags(options, files)
    model = open_model(options)
    good, pieces = read_pieces(files, model, options)
    if not good:
        return status(0, len(files))
    found = model.predict(pieces, heads=options.heads)
    scores = [{name: entry.as_dict() for name, entry in piece.items()} for piece in found]
    if options.output is not None and options.output.suffix == ".csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        columns = [(head, name) for head, table in scores[0].items() for name in table]
        writer.writerow(["file", *(f"{head}:{name}" for head, name in columns)])
        for path, piece in zip(good, scores, strict=True):
            writer.writerow([str(path), *(piece[head][name] for head, name in columns)])
        write_text(options.output, stream.getvalue())
        return status(len(good), len(files))
    lines = [
        json.dumps({"file": str(path), **piece}, ensure_ascii=False)
        for path, piece in zip(good, scores, strict=True)
    ]
    text = "".join(f"{line}\n" for line in lines)
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_text(options.output, text)
    return status(len(good), len(files))
