r"""Measure the simple baselines of the benchmark tasks whose data are given.

Example: python results/tools/baselines_smc.py --source tnua=vf_tnua.tar.xz \
    --source pop909=me_ve_pop909.tar.xz --source emopia=er_emopia_vgmidi.tar.xz#VGMIDI_as_EMOPIA_1.0 \
    --output results/baselines_smc

Writes OUTPUT.json, OUTPUT.md and the classes predicted for whole pieces, OUTPUT.predictions.npz, from which
``--again`` scores without fitting. Sources and their layouts: docs/benchmark.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from program import die, make_parser
from tqdm import tqdm

from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.corpus.labelled.pieces import LabelledPiece
from musicbert.corpus.readers.benchmark import DataSet, load_data_set, parse_source, tasks_of
from musicbert.corpus.readers.tasks import BENCHMARK, OBJECTIVES
from musicbert.errors import DatasetError, MusicBertError
from musicbert.evaluation.baselines.benchmark import baselines_of, note_order, piece_features, rule
from musicbert.evaluation.benchmark_scores import rounds, score_pieces, share_interval
from musicbert.evaluation.tables import interval_cell
from musicbert.provenance import command_line, provenance

__all__ = ["markdown", "measure"]

#: further scores of a record, and what is said of them
_EXTRA = {"published": ", as the published program counts", "pieces": ", by piece"}


def measure(
    data: DataSet,
    published_order: DataSet | None = None,
    *,
    kept: dict[str, Any] | None = None,
    fit: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> list[dict[str, Any]]:
    """Score all baselines of a source's tasks on both splits.

    Parameters
    ----------
    data
        The pieces.
    published_order
        POP909 as published (``compatible=True``), for the rule that reads the melody off the order of notes.
    kept
        Predicted classes of whole pieces, which are added: ``<task>/<split>/<baseline>`` and the names of the
        pieces and their rounds, ``<task>/<split>/ids`` and ``round``.
    fit
        False: score the predictions in `kept` in place of fitting models again.
    say
        Told about each row.

    Returns
    -------
    One record a task, split and baseline: means over rounds, with the scores of each in ``folds``; of whole
    pieces the interval of the score over groups.
    """
    records = []
    kept = {} if kept is None else kept
    for row in tasks_of(data.source):
        pieces_only = row.task.level == "sequence"
        table = piece_features(data.pieces) if pieces_only and fit else {}
        for split in ("published", "clean"):
            jobs = [(name, baseline, data) for name, baseline in baselines_of(row.task, table).items()]
            if row.task.name == "melody" and published_order is not None:
                jobs.append(("order (published notes)", rule(note_order), published_order))
            for name, baseline, source in jobs:
                if not any(split in piece.splits for piece in source.pieces):
                    continue
                parts, key = rounds(row, source.pieces, split), f"{row.abbreviation}/{split}"
                tests = [part["test"] for part in parts]
                if pieces_only and not fit:
                    guesses = _kept_of(kept, key, name, tests)
                else:
                    guesses = [baseline(part["train"], part["test"], row.task) for part in parts]
                folds = [score_pieces(row, *each) for each in zip(tests, guesses, strict=True)]
                record = {"task": row.abbreviation, "split": split, "baseline": name}
                record |= {key: float(np.mean([fold[key] for fold in folds])) for key in folds[0]}
                record |= {"n": int(sum(fold["n"] for fold in folds)), "folds": folds}
                if pieces_only:
                    sizes = [len(test) for test in tests]
                    kept[f"{key}/round"] = np.repeat(np.arange(len(tests), dtype=np.uint8), sizes)
                    kept[f"{key}/ids"] = np.array([piece.name for test in tests for piece in test], np.str_)
                    kept[f"{key}/{name}"] = np.concatenate(guesses).astype(np.uint8)
                    ends = share_interval(tests, guesses, row)
                    record |= {"low": ends.low, "high": ends.high}
                records.append(record)
                say(f"{row.abbreviation} {split} {name}: {record['score']:.3f}")
    return records


def _kept_of(
    kept: Mapping[str, Any], key: str, name: str, tests: Sequence[Sequence[LabelledPiece]]
) -> list[list[int]]:
    """Return the kept classes of a baseline, by round."""
    names = [piece.name for test in tests for piece in test]
    if f"{key}/{name}" not in kept or kept[f"{key}/ids"].tolist() != names:
        raise DatasetError("no-match", f"there are no predictions of {name} for the pieces of {key}")
    return [
        part.tolist() for part in np.split(kept[f"{key}/{name}"], np.cumsum([len(t) for t in tests])[:-1])
    ]


def markdown(records: Sequence[dict[str, Any]], published: Mapping[str, Sequence[float]]) -> str:
    """Return the records as tables, one a task, beside the published scores of M2BERT."""
    lines = []
    for task in dict.fromkeys(record["task"] for record in records):
        task_records = [record for record in records if record["task"] == task]
        cells = {(record["baseline"], record["split"]): record for record in task_records}
        columns = [
            (split, key)
            for split in ("published", "clean")
            for key in ("score", *_EXTRA)
            if any(record["split"] == split and key in record for record in task_records)
        ]
        heads = [f"{split} split{_EXTRA.get(key, '')}" for split, key in columns]
        scores = ", ".join(
            f"{name} {value:.3f}" for name, value in zip(OBJECTIVES, published[task], strict=True)
        )
        lines += [f"## {task}", "", f"M2BERT, published: {scores}.", ""]
        lines += [f"| baseline | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
        for name in dict.fromkeys(record["baseline"] for record in task_records):
            shown = [_cell(cells.get((name, split), {}), key) for split, key in columns]
            lines.append(f"| {name} | {' | '.join(shown)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(record: Mapping[str, Any], key: str) -> str:
    entry = {"value": record.get(key)}
    return interval_cell(
        entry | ({end: record.get(end) for end in ("low", "high")} if key == "score" else {})
    )


def main() -> int:
    """Parse the arguments, measure and write both files. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--source", action="append", required=True, metavar="NAME=PATH[#FOLDER]", help="a data set"
    )
    parser.add_argument("--output", type=Path, required=True, help="without a suffix")
    parser.add_argument(
        "--again", type=Path, metavar="FILE", help="score the predictions of whole pieces in this file"
    )
    given = parser.parse_args()
    records, files, kept = [], {}, {}
    try:
        kept = {} if given.again is None else read_npz(given.again)
        for text in given.source:
            name, path, inside = parse_source(text)
            progress = partial(tqdm, desc=name, unit="file")
            data = load_data_set(name, path, inside=inside, progress=progress)
            for outcome in data.failed:
                print(f"left out: {outcome.detail}", file=sys.stderr)
            ordered = (
                load_data_set(name, path, compatible=True, progress=progress) if name == "pop909" else None
            )
            records += measure(data, ordered, kept=kept, fit=given.again is None, say=print)
            files[text.partition("=")[0] + (f"#{inside}" if inside else "")] = path
    except (MusicBertError, OSError) as error:
        die(str(error))
    published = {row.abbreviation: row.published for row in BENCHMARK.values()}
    record = {"made_by": provenance(sys.argv, inputs=files, seed=0), "rows": records}
    write_json(given.output.with_suffix(".json"), record)
    heading = f"# Simple baselines of the benchmark tasks\n\n`{command_line(sys.argv)}`\n\n"
    write_text(given.output.with_suffix(".md"), heading + markdown(records, published))
    if kept:
        write_npz(given.output.with_suffix(".predictions.npz"), kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
