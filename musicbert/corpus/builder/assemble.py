"""From shards of the work folder to the parts of the corpus.

A part is one split of one output shard; its files come in the order of their keys, which is a seeded shuffle.
Each part is a pure function of the index and the work folder, so parts may be written by any worker, and one
that a kill left half-done is written anew.

A large part is written by several workers of one machine at once, each into its own range of the files. Where
the tokens of a file go follows from the plan of the part, so the bytes do not depend on who writes them. On a
cluster one worker writes a part: several machines that write one file are not safe on every network file
system.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Ints, Singles
from musicbert.atomic import read_json, write_json
from musicbert.corpus.bins.databin import ID_LIMIT, write_index, write_indexed_blocks
from musicbert.corpus.builder.index import Index
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.shards import shard_file
from musicbert.encoding import BOS, EOS, N_FIELDS
from musicbert.encoding.vocabulary import TOKENS

#: Most files of shards that are open at a time.
_OPEN_FILES = 32
#: What a part needs of each file.
_PLAN = ["chunk", "row", "n_rows", "window", "n_windows", "window_rows"]


@dataclass(frozen=True)
class Part:
    """One split of one output shard.

    ``plan`` is the ``.npy`` of its files in order, ``shards`` the work shards.
    """

    folder: str
    split: str
    plan: str
    shards: str
    options: BuildOptions

    @property
    def note(self) -> Path:
        """Note of completion."""
        return Path(self.plan).with_suffix(".done")


@dataclass(frozen=True)
class PartDone:
    """Its size."""

    folder: str
    split: str
    files: int
    sequences: int
    notes: int


def plan_parts(index: Index, work: Path, output: Path, options: BuildOptions) -> Iterator[Part]:
    """Cut the splits into parts and write the plan of each.

    Without several shards all parts lie in `output`; with several in ``shard0``, ``shard1``, ..., valid and
    test in the first, where fairseq looks for them.
    """
    table = index.files
    (work / "parts").mkdir(exist_ok=True)
    groups: list[tuple[int, str, Ints]] = []
    for number, split in enumerate(PARTS):
        chosen = np.flatnonzero(table["split"] == number)
        chosen = chosen[np.lexsort((chosen, table["key"][chosen]))]
        pieces = _cut(table[chosen], options.shard_tokens if split == "train" else 0, options)
        groups += [(shard, split, chosen[piece]) for shard, piece in enumerate(pieces)]
    several = any(shard for shard, _, _ in groups)
    for shard, split, files in groups:
        folder = output / f"shard{shard}" if several else output
        folder.mkdir(parents=True, exist_ok=True)
        plan = work / "parts" / f"{shard}.{split}.npy"
        np.save(plan, table[files][_PLAN])
        yield Part(str(folder), split, str(plan), str(work / "shards"), options)


def _cut(files: NDArray[Any], tokens: int, options: BuildOptions) -> list[slice]:
    """Cut files into runs of at most so many tokens, at least one file each; none where there are none."""
    if len(files) == 0:
        return []
    if tokens == 0:
        return [slice(0, len(files))]
    rows = files["window_rows"].astype(np.int64)
    sizes = options.width * (rows + options.special_rows * files["n_windows"].astype(np.int64))
    ends = np.cumsum(sizes)
    cuts, begin = [], 0
    while begin < len(files):
        before = int(ends[begin - 1]) if begin else 0
        stop = max(int(np.searchsorted(ends, before + tokens, side="right")), begin + 1)
        cuts.append(slice(begin, stop))
        begin = stop
    return cuts


def write_part(part: Part) -> PartDone:
    """Write one part, unless its note of completion is there."""
    if part.note.exists():
        return PartDone(**read_json(part.note))
    plan = np.load(part.plan)
    folder, options = Path(part.folder), part.options
    notes = int(plan["window_rows"].sum())
    sequences = int(plan["n_windows"].sum())
    with ExitStack() as stack:
        consumers: list[Callable[[Piece], None]] = []
        if options.output != "bin":
            lines = stack.enter_context((folder / f"midi_{part.split}.txt").open("wb"))
            consumers.append(lambda piece: _write_lines(lines, piece))
        if options.performance:
            inputs = stack.enter_context((folder / f"{part.split}.performance.npy").open("wb"))
            performance_header(inputs, notes, options.inputs)
            consumers.append(lambda piece: write_inputs(inputs, piece))

        def blocks() -> Iterator[tuple[NDArray[np.uint16], list[int]]]:
            for piece in part_pieces(part, plan):
                for consume in consumers:
                    consume(piece)
                yield piece.ids, piece.lengths

        if options.output == "text":
            for _ in blocks():
                pass
        else:
            write_indexed_blocks(blocks(), folder / part.split)
    done = PartDone(part.folder, part.split, len(plan), sequences, notes)
    write_json(part.note, vars(done))
    return done


def performance_header(stream: IO[bytes], notes: int, width: int) -> int:
    """Write the header of an array of performance inputs; return its length in bytes."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (notes, width)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()


@dataclass
class Piece:
    """The sequences of one file.

    ``ids`` [shape=(sum of lengths,), uint16] with specials, ``windows`` [shape=(w, 3)], ``performance``
    [shape=(notes, P), float32] or None.
    """

    ids: NDArray[np.uint16]
    lengths: list[int]
    windows: NDArray[np.int32]
    performance: Singles | None


def part_pieces(part: Part, plan: NDArray[Any]) -> Iterator[Piece]:
    """Yield the files of a part, or of some rows of its plan."""
    with ExitStack() as opened:
        streams: dict[tuple[int, str], IO[bytes]] = {}

        def load(chunk: int, name: str, dtype: Any, width: int, first: int, count: int) -> Any:
            stream = streams.get((chunk, name))
            if stream is None:
                if len(streams) == _OPEN_FILES:
                    opened.close()
                    streams.clear()
                stream = shard_file(part.shards, chunk, name).open("rb", buffering=0)
                streams[chunk, name] = opened.enter_context(stream)
            size = width * np.dtype(dtype).itemsize
            content = os.pread(stream.fileno(), count * size, first * size)
            return np.frombuffer(content, dtype).reshape(-1, width)

        for chunk, row, n_rows, window, n_windows, _ in plan.tolist():
            rows = load(chunk, "rows", np.uint16, part.options.width, row, n_rows)
            windows = load(chunk, "windows", np.int32, 3, window, n_windows)
            inputs = None
            if part.options.performance:
                inputs = load(chunk, "performance", np.float32, part.options.inputs, row, n_rows)
            lengths = part.options.width * (windows[:, 1] - windows[:, 0] + part.options.special_rows)
            octuples = part.options.encoding == "octuple"
            ids = _sequences(rows, windows, lengths) if octuples else rows.reshape(-1)
            yield Piece(ids, lengths.tolist(), windows, inputs)


def _sequences(
    rows: NDArray[np.uint16], windows: NDArray[np.int32], lengths: NDArray[np.int32]
) -> NDArray[np.uint16]:
    """Lay out the windows in turn, each between its specials [shape=(sum of lengths,), uint16]."""
    ids = np.empty((int(lengths.sum()) // N_FIELDS, N_FIELDS), np.uint16)
    at = 0
    for start, stop, offset in windows.tolist():
        ids[at] = BOS
        end = at + 1 + stop - start
        ids[at + 1 : end] = rows[start:stop]
        ids[at + 1 : end, 0] += np.uint16(offset % (1 << 16))  # modulo 2^16: offsets may be negative
        ids[end] = EOS
        at = end + 1
    return ids.reshape(-1)


def _write_lines(stream: IO[bytes], piece: Piece) -> None:
    """Write a line of text a sequence; fairseq's binariser adds the last ``</s>``."""
    at = 0
    for length in piece.lengths:
        tokens = map(TOKENS.__getitem__, piece.ids[at : at + length - 1].tolist())
        stream.write((" ".join(tokens) + "\n").encode())
        at += length


def write_inputs(stream: IO[bytes], piece: Piece) -> None:
    """Write the performance inputs of the sequences of a file."""
    assert piece.performance is not None
    for start, stop, _ in piece.windows.tolist():
        stream.write(piece.performance[start:stop].tobytes())


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
            header = performance_header(stream, int(notes.sum()), options.inputs)
            stream.truncate(header + _input_bytes(int(notes.sum()), options))
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
            header = files["inputs"].stat().st_size - _input_bytes(notes, part.options)
            inputs = _at(stack, files["inputs"], header + _input_bytes(task.note, part.options))
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
    lengths = np.concatenate([done.lengths for done in sorted(ranges, key=lambda done: done.begin)])
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


def _input_bytes(notes: int, options: BuildOptions) -> int:
    return notes * options.inputs * np.dtype(np.float32).itemsize
