"""The worker: a chunk of files becomes a shard.

A pure function of the files' bytes and the options, so number and order of workers change nothing: the
generator of a piece's windows and bar offsets is seeded by the seed and the hash of its bytes. It runs in
this process, in a process of a pool, or on a machine of a cluster that sees the work folder.
"""

import os
import threading
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from musicbert.arrays import Floats, Ints
from musicbert.atomic import write_text
from musicbert.corpus.bins.rows_bin import write_meta
from musicbert.corpus.builder.byte_sources import FilePlace, UrlPlace
from musicbert.corpus.builder.options import BuildOptions
from musicbert.corpus.builder.shards import ShardWriter
from musicbert.corpus.builder.sources import Entry
from musicbert.corpus.files.archive import ArchiveLimits
from musicbert.corpus.files.beats import aligned_beats, annotations_hash
from musicbert.corpus.files.ledger import OK, Outcome
from musicbert.corpus.splits.fingerprints import Fingerprints, fingerprint
from musicbert.corpus.splits.near_duplicates import NO_SIGNATURE, signature
from musicbert.encoding import (
    FIELD_OFFSETS,
    content_md5,
    dictionary_text,
    encode_notes,
    performance_inputs,
    plan_windows,
    score_inputs,
)
from musicbert.encoding.codecs import get_codec
from musicbert.encoding.compound_word import accepted_for_pretraining
from musicbert.encoding.octuple import notes_beyond_limit
from musicbert.encoding.quantise import positions
from musicbert.encoding.vocabulary import FIELDS, N_FIELDS
from musicbert.errors import DatasetError, MidiError
from musicbert.midi import Score, programs_elsewhere, read_score

#: Outcome of a file that ended the process that read it.
CRASHED = "crashed"
#: Outcome of a file that holds a piece of ``exclude_music``; test pieces that its ledger line names.
TEST_MUSIC = "test-music"
_NAMED = 3
#: Seconds between two looks at whether the parent process lives.
_WATCH_S = 0.5


@dataclass(frozen=True)
class Chunk:
    """What a worker is asked to do: write shard ``number`` from files, in order.

    Entries of the indices ``crashed`` ended a process before and are not read. ``tests`` is the file of the
    `Fingerprints` of pieces that must not be in it, if there are any.
    """

    number: int
    entries: list[Entry]
    folder: str
    options: BuildOptions
    crashed: tuple[int, ...] = ()
    tests: str = ""


@dataclass(frozen=True)
class ChunkDone:
    """What it answers: the shard's number, its files, and the processor time they took."""

    number: int
    files: int
    cpu_seconds: float


def encode_chunk(chunk: Chunk) -> ChunkDone:
    """Encode the files of a chunk and commit the shard."""
    began = time.process_time()
    options = chunk.options
    tests = _fingerprints(chunk.tests, Path(chunk.tests).stat().st_mtime_ns) if chunk.tests else None
    with ShardWriter(chunk.folder, chunk.number, performance=options.performance) as shard:
        for index, entry in enumerate(chunk.entries):
            beats, version = beats_hash(entry, options), remote_version(entry)  # before the file is read
            if index in chunk.crashed:
                detail = "the process that read it came to a sudden end (memory, or a fault of the parser)"
                outcome = replace(_outcome(entry, CRASHED), detail=detail, beats=beats)
                shard.add(outcome, content=content_hash(entry), version=version)
                continue
            start = time.perf_counter()
            outcome, arrays = encode_file(entry, options, tests)
            milliseconds = (time.perf_counter() - start) * 1e3
            shard.add(replace(outcome, beats=beats), arrays, milliseconds=milliseconds, version=version)
        shard.commit()
    return ChunkDone(chunk.number, len(chunk.entries), time.process_time() - began)


def content_hash(entry: Entry) -> str:
    """Return the SHA-256 of the bytes of a file, or the reason why they cannot be read."""
    if entry.place is None:
        return entry.member.reason or "unreadable"
    try:
        return sha256(entry.place.read(ArchiveLimits().member_bytes)).hexdigest()
    except DatasetError as error:
        return error.reason


def remote_version(entry: Entry) -> str | None:
    """Return what a server says that identifies the bytes of a file (see `UrlPlace.version`)."""
    place = entry.place
    return place.version() if isinstance(place, UrlPlace) and place.remote else None


def beats_hash(entry: Entry, options: BuildOptions) -> str | None:
    """Return the hash of the annotations beside a file, where the options ask for them."""
    place = entry.place
    return annotations_hash(place.path) if options.score and isinstance(place, FilePlace) else None


@lru_cache(maxsize=1)
def _fingerprints(path: str, _changed: int) -> Fingerprints:
    """`Fingerprints.load`, once a process and version of the file."""
    return Fingerprints.load(path)


def encode_file(
    entry: Entry, options: BuildOptions, tests: Fingerprints | None = None
) -> tuple[Outcome, dict[str, NDArray[np.generic]]]:
    """Turn a file into its outcome and, where it is a piece, the arrays of a shard (`.shards`)."""
    member = entry.member
    if entry.place is None:
        return _outcome(entry, member.reason or "unreadable"), {}
    try:
        content = entry.place.read(ArchiveLimits().member_bytes)
    except DatasetError as error:
        return replace(_outcome(entry, error.reason), detail=error.message), {}
    digest = sha256(content).digest()
    try:
        score = read_score(
            content,
            reader=options.reader,
            name=member.path,
            channel_programs=options.channel_programs,
            repeats=options.repeats,
        )
        if tests is not None and (held := tests.matches(fingerprint(score))):
            outcome = replace(_outcome(entry, TEST_MUSIC), notes=len(score), sha256=digest.hex())
            return replace(outcome, detail=", ".join(map(str, held[:_NAMED]))), {}
        seeds = [options.seed, *np.frombuffer(digest[:16], "<u4").tolist()]
        piece = encode_piece(score, options, np.random.default_rng(seeds))
        arrays: dict[str, NDArray[np.generic]] = {
            "rows": piece.rows,
            "windows": piece.windows,
            "signatures": NO_SIGNATURE,
        }
        if options.performance:
            arrays["performance"] = performance_inputs(score, piece.note_index).astype(np.float32)
        if options.score:
            seconds = score.seconds(score.onset[piece.note_index])
            inputs = score_inputs(seconds, *_aligned_beats(entry))
            arrays["performance"] = np.hstack([arrays["performance"], inputs])
    except (MidiError, DatasetError) as error:
        outcome = _outcome(entry, error.reason)
        return replace(outcome, sha256=digest.hex(), detail=error.message), {}
    if options.near_duplicates == "group":
        onset = positions(score.onset[piece.note_index], score.ticks_per_beat)
        order = np.argsort(onset, kind="stable")  # rows of octuples have it already
        arrays["signatures"] = signature(onset[order], piece.program[order], piece.pitch[order])
    octuple = options.encoding == "octuple"
    drops = octuple and options.policies.beyond_limit == "drop"
    outcome = replace(
        _outcome(entry, OK),
        notes=len(score),
        seconds=_duration(score),
        sha256=digest.hex(),
        content=piece.content,
        beyond_limit=notes_beyond_limit(score) or None if drops else None,
        programs_elsewhere=programs_elsewhere(content) or None if octuple else None,
        notation=score.notation or None,
        detail="; ".join(score.remarks) or None,
    )
    return outcome, arrays


def _aligned_beats(entry: Entry) -> tuple[Floats, Floats]:
    if not isinstance(entry.place, FilePlace):
        raise DatasetError(
            "bad-beats", "Beats are read beside the files of a folder", hint="unpack the archive"
        )
    return aligned_beats(entry.place.path)


def _duration(score: Score) -> float:
    begin, end = score.seconds(np.array([score.onset.min(), score.offset.max()])).tolist()
    return round(float(end - begin), 3)


def _outcome(entry: Entry, reason: str) -> Outcome:
    member = entry.member
    return Outcome(member.name, reason, path=member.path, detail=member.detail, source=entry.source)


def watch_parent(parent: int) -> None:
    """End this process soon after its parent: a killed run leaves no workers behind."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


_OFFSETS = np.array(FIELD_OFFSETS, np.uint16)
_DRUMS = 128


class EncodedPiece:
    """A piece as it goes into a shard.

    ``rows`` [shape=(n, F), uint16]: token ids of octuples, or rows of another codec; ``windows`` [shape=(w,
    3), int32] (`musicbert.encoding.Window`); ``note_index`` [shape=(n,), int64]: note of the score of each
    row; ``program`` (128 is percussion) and ``pitch`` find versions, ``content`` is the hash that duplicates
    share.
    """

    def __init__(
        self,
        rows: NDArray[np.integer],
        windows: Ints,
        note_index: Ints,
        program: Ints,
        pitch: Ints,
        content: str,
    ) -> None:
        self.rows = rows.astype(np.uint16, copy=False)
        self.windows = windows.astype(np.int32).reshape(-1, 3)
        self.note_index, self.program, self.pitch, self.content = note_index, program, pitch, content


def encode_piece(score: Score, options: BuildOptions, rng: np.random.Generator) -> EncodedPiece:
    """Encode a piece, as `read_score` gives it, and plan its sequences.

    Raises `MidiError`: those of the encoding; ``other-metre`` for a piece that ``metres="one-4/4"`` leaves
    out.
    """
    if options.metres == "one-4/4" and not accepted_for_pretraining(score):
        raise MidiError("other-metre", "It does not have exactly one time signature that is 4/4")
    if options.encoding == "octuple":
        rows, note_index = encode_notes(score, policies=options.policies, checked=True)
        windows = plan_windows(
            rows[:, 0], rng, window=options.window, overlap=options.overlap, policies=options.policies
        )
        planned = np.array(list(windows), np.int64)
        program, pitch = rows[:, 2], rows[:, 3]
        return EncodedPiece(
            rows.astype(np.uint16) + _OFFSETS, planned, note_index, program, pitch, content_md5(rows)
        )
    rows, note_index = get_codec(options.encoding).encode(score)
    program = np.where(score.drum[note_index], _DRUMS, score.program[note_index])
    pitch = score.pitch[note_index]
    table = np.zeros((len(rows), N_FIELDS), np.int64)
    table[:, FIELDS.index("program")] = program
    table[:, FIELDS.index("pitch")] = pitch + 128 * (program == _DRUMS)
    one_window = np.array([[0, len(rows), 0]], np.int64)
    return EncodedPiece(rows, one_window, note_index, program, pitch, content_md5(table))


def describe_corpus(folder: Path, options: BuildOptions) -> None:
    """Write the file that says what the sequences of a folder are."""
    if options.encoding == "octuple":
        write_text(folder / "dict.txt", dictionary_text())
    else:
        write_meta(folder, options.encoding)
