"""What a model of `musicbert finetune` says about MIDI files, as lines: a part of `musicbert predict`."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from musicbert.atomic import write_text
from musicbert.cli.inputs import read_all, status

__all__ = ["predict_tags"]

_NOTE_COLUMNS = ("note", "onset", "pitch")


def predict_tags(options: argparse.Namespace, files: Sequence[Path]) -> int:
    """Predict and write; return the exit status."""
    from musicbert.midi import read_score
    from musicbert.predict.tagger import load_tagger_model

    model = load_tagger_model(options.model, device=options.device)
    if options.heads and options.heads != [model.label]:
        raise ValueError(f"the model has one head, {model.label!r}")

    def one(path: Path) -> Any:
        score = read_score(path)
        return score, model.predict([score])[0]

    good, found = read_all(files, one)
    if not good:
        return status(0, len(files))
    named = list(zip(good, found, strict=True))
    if options.output is not None and options.output.suffix == ".csv":
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        notes = model.level == "note"
        places = _NOTE_COLUMNS if notes else ()
        writer.writerow(
            ["file", *places, f"{model.label}:best", *(f"{model.label}:{name}" for name in model.classes)]
        )
        for path, (score, result) in named:
            writer.writerows(_note_lines(path, score, result) if notes else [_line(path, result)])
        text = stream.getvalue()
    else:
        lines = (
            {"file": str(path), model.label: result.as_dict(), "best": result.best}
            for path, (_, result) in named
        )
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    if options.output is None:
        sys.stdout.write(text)
    else:
        write_text(options.output, text)
    return status(len(good), len(files))


def _best(value: Any) -> Any:
    """One cell: several labels are joined, values say nothing more than their columns."""
    return ";".join(value) if isinstance(value, list) else "" if isinstance(value, dict) else value


def _line(path: Path, result: Any) -> list[Any]:
    return [str(path), _best(result.best), *result.scores.tolist()]


def _note_lines(path: Path, score: Any, result: Any) -> Iterator[list[Any]]:
    onsets = (score.onset / score.ticks_per_beat).tolist()
    for note, (best, row) in enumerate(zip(result.best, result.scores, strict=True)):
        values = ["" if value != value else value for value in row.tolist()]
        shown = "" if best is None else _best(best)
        yield [str(path), note, round(onsets[note], 6), int(score.pitch[note]), shown, *values]
