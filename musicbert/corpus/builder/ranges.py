"""A large part, written by several workers of one machine at once, each into its own range of the files.

Where the tokens of each file go follows from the plan of the part, so ranges are independent and the bytes do
not depend on who writes them. The files have their final names only when all ranges are there; a run that was
killed in between writes the part anew. On a cluster a part is written by one worker: several machines that
write into one file are not safe on every network file system.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import write_json
from musicbert.corpus.bins.databin import ID_LIMIT, write_index
from musicbert.corpus.builder.assemble import Part, PartDone, part_pieces, performance_header, write_inputs
from musicbert.encoding import PERFORMANCE_INPUTS

__all__ = ["Range", "RangeDone", "finish_part", "plan_ranges", "write_range"]

#: Fewest tokens of a range: less is not worth a task.
RANGE_TOKENS = 1 << 21
#: Ranges for each worker, so that none waits long for the last.
RANGES_PER_WORKER = 4
_TOKEN_BYTES = 2


@dataclass(frozen=True)
class Range:
    """Files ``begin`` to ``end`` (rows of the plan) of a part.

    ``token`` and ``note`` count what comes before.
    """

    part: Part
    begin: int
    end: int
    token: int
    note: int


@dataclass(frozen=True)
class RangeDone:
    """What was written: plan of the part, first file, lengths of the sequences [shape=(n,), int32]."""

    plan: str
    begin: int
    lengths: NDArray[np.int32]


def plan_ranges(part: Part, workers: int) -> list[Range]:
    """Cut a part into ranges, and make room for them in its files; none if it is better written whole."""
    options = part.options
    if workers < 2 or options.output != "bin" or part.note.exists():
        return []
    plan = np.load(part.plan)
    notes = plan["window_rows"].astype(np.int64)
    tokens = options.width * (notes + options.special_rows * plan["n_windows"].astype(np.int64))
    total = int(tokens.sum())
    count = min(RANGES_PER_WORKER * workers, total // RANGE_TOKENS)
    if count < 2:
        return []
    ends = np.cumsum(tokens)
    cuts = np.searchsorted(ends, np.arange(1, count) * (total / count)) + 1
    borders = np.unique(np.concatenate([[0], np.minimum(cuts, len(plan)), [len(plan)]])).tolist()
    before = np.concatenate([[0], ends]), np.concatenate([[0], np.cumsum(notes)])
    files = _files(part)
    with files["tokens"].open("wb") as stream:
        stream.truncate(total * _TOKEN_BYTES)
    if options.performance:
        with files["inputs"].open("wb") as stream:
            header = performance_header(stream, int(notes.sum()))
            stream.truncate(header + _input_bytes(int(notes.sum())))
    return [
        Range(part, begin, end, int(before[0][begin]), int(before[1][begin]))
        for begin, end in pairwise(borders)
    ]


def write_range(task: Range) -> RangeDone:
    """Write the files of a range into their places; `ValueError` for an id that does not fit."""
    part, files = task.part, _files(task.part)
    lengths: list[int] = []
    with ExitStack() as stack:
        tokens = _at(stack, files["tokens"], task.token * _TOKEN_BYTES)
        inputs = None
        if part.options.performance:
            notes = int(np.load(part.plan)["window_rows"].sum())
            header = files["inputs"].stat().st_size - _input_bytes(notes)
            inputs = _at(stack, files["inputs"], header + _input_bytes(task.note))
        for piece in part_pieces(part, np.load(part.plan)[task.begin : task.end]):
            if len(piece.ids) and int(piece.ids.max()) >= ID_LIMIT:
                raise ValueError(f"a sequence holds an id outside 0..{ID_LIMIT - 1}")
            tokens.write(np.ascontiguousarray(piece.ids, "<u2").data)
            lengths += piece.lengths
            if inputs is not None:
                write_inputs(inputs, piece)
    return RangeDone(part.plan, task.begin, np.asarray(lengths, np.int32))


def finish_part(part: Part, ranges: Sequence[RangeDone]) -> PartDone:
    """Give the files their names once all ranges are written."""
    plan, files = np.load(part.plan), _files(part)
    lengths = np.concatenate([each.lengths for each in sorted(ranges, key=lambda each: each.begin)])
    if part.options.performance:
        files["inputs"].replace(Path(part.folder) / f"{part.split}.performance.npy")
    files["tokens"].replace(Path(part.folder) / f"{part.split}.bin")
    write_index(lengths, Path(part.folder) / part.split)
    notes = int(plan["window_rows"].sum())
    done = PartDone(part.folder, part.split, len(plan), len(lengths), notes)
    write_json(part.note, vars(done))
    return done


def _files(part: Part) -> dict[str, Path]:
    folder = Path(part.folder)
    return {
        "tokens": folder / f".{part.split}.bin.partial",
        "inputs": folder / f".{part.split}.performance.npy.partial",
    }


def _at(stack: ExitStack, path: Path, offset: int) -> IO[bytes]:
    stream: IO[bytes] = stack.enter_context(path.open("r+b"))
    stream.seek(offset)
    return stream


def _input_bytes(notes: int) -> int:
    return notes * len(PERFORMANCE_INPUTS) * np.dtype(np.float32).itemsize
