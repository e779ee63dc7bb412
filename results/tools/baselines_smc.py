r"""Measure the simple baselines of the benchmark tasks whose data are given.

Example: python results/tools/baselines_smc.py --source tnua=vf_tnua.tar.xz \
    --source pop909=me_ve_pop909.tar.xz --source emopia=er_emopia_vgmidi.tar.xz#VGMIDI_as_EMOPIA_1.0 \
    --output results/baselines_smc

Writes OUTPUT.json and OUTPUT.md. Sources and their layouts: docs/benchmark.md.
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
from musicbert.corpus.readers.benchmark import DataSet, load_data_set, parse_source, tasks_of
from musicbert.corpus.readers.tasks import BENCHMARK, OBJECTIVES
from musicbert.errors import MusicBertError
from musicbert.evaluation.baselines.benchmark import baselines_of, note_order
from musicbert.evaluation.benchmark_scores import predict_all, rounds
from musicbert.provenance import command_line, provenance

__all__ = ["markdown", "measure"]

#: further scores of a record, and what is said of them
_EXTRA = {"published": ", as the published program counts", "pieces": ", by piece"}


def measure(
    data: DataSet, published_order: DataSet | None = None, *, say: Callable[[str], None] = lambda _: None
) -> list[dict[str, Any]]:
    """Score all baselines of a source's tasks on both splits.

    Parameters
    ----------
    data
        The pieces.
    published_order
        POP909 as published (``compatible=True``), for the rule that reads the melody off the order of notes.
    say
        Told about each row.

    Returns
    -------
    One record a task, split and baseline: means over rounds.
    """
    records = []
    for row in tasks_of(data.source):
        for split in ("published", "clean"):
            fits = dict(baselines_of(row.task))
            jobs = [(name, fit, data) for name, fit in fits.items()]
            if row.task.name == "melody" and published_order is not None:
                jobs.append(("order (published notes)", note_order, published_order))
            for name, fit, source in jobs:
                if not any(split in piece.splits for piece in source.pieces):
                    continue
                round_scores = [predict_all(fit, row, parts) for parts in rounds(row, source.pieces, split)]
                means = {key: float(np.mean([part[key] for part in round_scores])) for key in round_scores[0]}
                means["n"] = int(sum(part["n"] for part in round_scores))
                records.append({"task": row.abbreviation, "split": split, "baseline": name, **means})
                say(f"{row.abbreviation} {split} {name}: {means['score']:.3f}")
    return records


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
            values = [cells.get((name, split), {}).get(key) for split, key in columns]
            shown = " | ".join("–" if value is None else f"{value:.3f}" for value in values)
            lines.append(f"| {name} | {shown} |")
        lines.append("")
    return "\n".join(lines)


def main() -> int:
    """Parse the arguments, measure and write both files. Exit code 2 for bad input."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--source", action="append", required=True, metavar="NAME=PATH[#FOLDER]", help="a data set"
    )
    parser.add_argument("--output", type=Path, required=True, help="without a suffix")
    given = parser.parse_args()
    records, files = [], {}
    try:
        for text in given.source:
            name, path, inside = parse_source(text)
            progress = partial(tqdm, desc=name, unit="file")
            data = load_data_set(name, path, inside=inside, progress=progress)
            for outcome in data.failed:
                print(f"left out: {outcome.detail}", file=sys.stderr)
            ordered = (
                load_data_set(name, path, compatible=True, progress=progress) if name == "pop909" else None
            )
            records += measure(data, ordered, say=print)
            files[text.partition("=")[0] + (f"#{inside}" if inside else "")] = path
    except MusicBertError as error:
        die(str(error))
    published = {row.abbreviation: row.published for row in BENCHMARK.values()}
    record = {"made_by": provenance(sys.argv, inputs=files, seed=0), "rows": records}
    write_json(given.output.with_suffix(".json"), record)
    heading = f"# Simple baselines of the benchmark tasks\n\n`{command_line(sys.argv)}`\n\n"
    write_text(given.output.with_suffix(".md"), heading + markdown(records, published))
    return 0


if __name__ == "__main__":
    sys.exit(main())
