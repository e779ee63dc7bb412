"""`musicbert predict`: the heads of a fine-tuned model on MIDI files or labelled pieces."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicbert.cli.inputs import (
    add_inputs,
    add_model,
    add_policies,
    csv_text,
    midi_files,
    open_model,
    policies_of,
    read_all,
    read_pieces,
    read_said,
    refuse_policies,
    status,
)
from musicbert.command_line import refuse_unused

if TYPE_CHECKING:
    from musicbert.arrays import Singles
    from musicbert.weights import Head

DESCRIPTION = "Run the heads of a fine-tuned model on MIDI files or a labelled data set."
EPILOG = """examples:
  musicbert predict piece.mid --model checkpoints/mine
  musicbert predict midi/ --model checkpoint_best.pt --labels classes.json --output scores.csv
  musicbert predict midi/ --model runs/moods/model --output moods.csv
  musicbert predict xai_data_bin/0 --model runs/xai/fold0/seed1/model --output test.npz

Without --output, or with .jsonl, the output is one JSON object for each file:
{"file": ..., "head": {"name": score, ...}}. A .csv has a line for each file and a column `head:name` for each
score. Where a checkpoint knows the poles and the scale of ratings, "details" has them for each name, with the
score on that scale ("rating") and the range of the training labels ("trained"); a .csv has one more column
for each rating, `head:name (1 low pole, 7 high pole)`. A model of `musicbert finetune` also writes the best
label (`"best"`). If it labels notes, a .jsonl has a list of scores for each name (notes in the order of the
file), and a .csv has a line for each note.

INPUT may also be one labelled data set: shards, or one fold of a data-bin. The predictions and labels are
then written to --output, a .npz, and the scores are printed.

exit status: 0 done; 1 some files failed; 2 all failed, or bad usage."""

_NOTE_COLUMNS = ("note", "onset", "pitch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `musicbert predict`."""
    add_inputs(parser)
    add_model(parser)
    add = parser.add_argument
    add("--heads", nargs="+", metavar="NAME", help="heads to run (all)")
    add("--output", "-o", type=Path, help=".jsonl or .csv (default: standard output); .npz of a data set")
    add(
        "--part", default="", help="of a data set: train, valid, test, a fold number or all (data-bins: test)"
    )
    add("--split", default="", help="of shards, whose --part is predicted (the first split)")
    add_policies(parser, whole=True)


def run(options: argparse.Namespace) -> int:
    """Predict and write; return the exit status."""
    from musicbert.weights import resolve
    from musicbert.weights.tagger_folder import is_tagger_folder

    if len(options.inputs) == 1 and _is_labelled(Path(options.inputs[0])):
        return _predict_labelled(options)
    if options.output is not None and options.output.suffix not in (".jsonl", ".csv"):
        raise ValueError("--output ends in .jsonl or .csv")
    refuse_unused(options, ["part", "split"], "with MIDI files: they choose pieces of a labelled data set")
    files = midi_files(options.inputs)
    if is_tagger_folder(resolve(options.model)):
        return _predict_tags(options, files)
    model = open_model(options)
    good, pieces = read_pieces(files, model, options)
    if not good:
        return status(0, len(files))
    predictions = list(zip(good, model.predict(pieces, heads=options.heads), strict=True))
    heads = [entry.head for entry in predictions[0][1].values()]
    _write(
        options.output,
        (
            {
                "file": str(path),
                **{name: entry.as_dict() for name, entry in piece.items()},
                **_details({name: entry.details() for name, entry in piece.items()}),
            }
            for path, piece in predictions
        ),
        ["file", *(f"{head.name}:{name}" for head in heads for name in (*head.all_names, *_ratings(head)))],
        (
            [str(path), *(cell for entry in piece.values() for cell in _cells(entry.head, entry.scores))]
            for path, piece in predictions
        ),
    )
    return status(len(good), len(files))


def _details(heads: dict[str, Any]) -> dict[str, Any]:
    """Entry of a JSON object with what is known of the outputs, if anything is."""
    known = {name: details for name, details in heads.items() if details}
    return {"details": known} if known else {}


def _ratings(head: Head) -> tuple[str, ...]:
    """Names of the columns of ratings: with both poles, on the scale of the questionnaire."""
    return head.shown_names() if head.poles or head.scale else ()


def _cells(head: Head, scores: Singles) -> list[float]:
    """Cells of the columns of a head: its scores, and ratings."""
    values: list[float] = scores.tolist()
    return [*values, *(head.rating(value) for value in values if _ratings(head))]


def _write(
    output: Path | None, objects: Iterable[dict[str, Any]], header: Sequence[str], rows: Iterable[list[Any]]
) -> None:
    """Write a JSON object a line, or a table if the output is a ``.csv``."""
    from musicbert.atomic import write_text

    if output is not None and output.suffix == ".csv":
        write_text(output, csv_text([header, *rows]))
        return
    text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in objects)
    if output is None:
        sys.stdout.write(text)
    else:
        write_text(output, text)


# -- models of `musicbert finetune`


def _predict_tags(options: argparse.Namespace, files: Sequence[Path]) -> int:
    from musicbert.predict import from_pretrained

    refuse_unused(options, ["labels"], f"with {options.model}, which names its outputs itself")
    model = from_pretrained(options.model, device=options.device, precision=options.precision)
    policies, codec = policies_of(options), model.codec.name
    refuse_policies(options, codec)
    heads = [model.heads[name] for name in options.heads or model.heads if name in model.heads]
    if unknown := set(options.heads or ()) - set(model.heads):
        raise ValueError(f"no head {', '.join(unknown)}; the model has {', '.join(model.heads)}")

    def one(path: Path) -> Any:
        score = read_said(path, options, codec)
        return score, model.predict_labels([score], policies=policies)[0]

    good, results = read_all(files, one)
    if not good:
        return status(0, len(files))
    notes = model.level == "note"
    named = list(zip(good, results, strict=True))
    _write(
        options.output,
        (
            {
                "file": str(path),
                **{head.name: results[head.name].as_dict() for head in heads},
                "best": _bests(results, heads),
                **_details({head.name: results[head.name].details() for head in heads}),
            }
            for path, (_, results) in named
        ),
        [
            "file",
            *(_NOTE_COLUMNS if notes else ()),
            *(f"{head.name}:{name}" for head in heads for name in ("best", *head.names, *_ratings(head))),
        ],
        (
            row
            for path, (score, results) in named
            for row in (
                _note_rows(path, score, [results[head.name] for head in heads])
                if notes
                else [
                    [
                        str(path),
                        _best(results[model.label].best),
                        *_cells(model.head, results[model.label].scores),
                    ]
                ]
            )
        ),
    )
    return status(len(good), len(files))


def _bests(results: dict[str, Any], heads: Sequence[Head]) -> Any:
    """Best label; by head where there are several."""
    bests = {head.name: results[head.name].best for head in heads}
    return bests if len(bests) > 1 else next(iter(bests.values()))


def _best(value: Any) -> Any:
    """Content of one cell: several labels are joined; for values it is empty, as they have columns."""
    return ";".join(value) if isinstance(value, list) else "" if isinstance(value, dict) else value


def _note_rows(path: Path, score: Any, results: Sequence[Any]) -> Iterator[list[Any]]:
    onsets = (score.onset / score.ticks_per_beat).tolist()
    best_of = [result.best for result in results]
    for note, onset in enumerate(onsets):
        cells: list[Any] = []
        for bests, result in zip(best_of, results, strict=True):
            values = ["" if value != value else value for value in _cells(result.head, result.scores[note])]
            cells += ["" if bests[note] is None else _best(bests[note]), *values]
        yield [str(path), note, round(onset, 6), int(score.pitch[note]), *cells]


# -- labelled data sets


def _is_labelled(path: Path) -> bool:
    return any((path / name).exists() for name in ("rows.bin", "input0")) or any(path.glob("*/input0"))


def _predict_labelled(options: argparse.Namespace) -> int:
    from musicbert.corpus.labelled import open_labelled
    from musicbert.encoding.policies import WHOLE
    from musicbert.evaluation.predictions import save_predictions
    from musicbert.evaluation.rows import metrics_of
    from musicbert.predict.labelled import pieces_of_part, predict_labelled

    if options.output is None or options.output.suffix != ".npz":
        raise ValueError("predictions of a data set need an --output that ends in .npz")
    reads = policies_of(options) != WHOLE or (options.channel_programs, options.repeats) != ("track", "once")
    if options.labels is not None or options.precision == "bfloat16" or reads:
        raise ValueError(
            "a data set is encoded, has names of its own and is predicted in float32: leave out --labels, "
            "--precision and the options for music that cannot be represented"
        )
    data = open_labelled(options.inputs[0])
    if options.part in ("", "all"):
        refuse_unused(options, ["split"], "without --part: all pieces are predicted")
    pieces = pieces_of_part(data, options.part, options.split)
    predictions = predict_labelled(options.model, data, pieces, heads=options.heads, device=options.device)
    save_predictions(options.output, predictions)
    for label, part in predictions.items():
        for metric, value in metrics_of(part).items():
            if ":" not in metric:
                print(f"{label}: {metric} {value:.3f}")
    print(f"{len(pieces)} pieces: {options.output}")
    return 0
