"""A data-bin for masked-LM pre-training, made from MIDI files without text in between.

`OUT/` holds `dict.txt`, `train.{bin,idx}`, `valid.{bin,idx}` and `ledger.jsonl`; with performance inputs
also `<split>.performance.npy` (float32 [shape=(notes of the split, P)], notes in the order of the sequences).
A sequence is 8 x `<s>`, the eight tokens of each note, 8 x `</s>`: the same ids that `fairseq-preprocess`
makes of the text of `musicbert.encoding.segments`.

Train and valid are divided by file, by a hash of seed and name, so the division does not depend on what else
is there; files with the notes of an earlier one (programs and pitches, `content_md5`) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from musicbert.corpus.archive import Member, MidiSource
from musicbert.corpus.atomic import build_directory, write_text
from musicbert.corpus.databin import write_indexed_dataset
from musicbert.corpus.ledger import OK, Outcome, count, write_ledger
from musicbert.encoding import (
    PERFORMANCE_INPUTS,
    Policies,
    content_md5,
    dictionary_text,
    encode_notes,
    performance_inputs,
    rows_to_ids,
    segments,
)
from musicbert.errors import DatasetError, MidiError
from musicbert.midi import read_score

__all__ = ["DUPLICATE", "EXCLUDED", "PretrainingOptions", "build_pretraining"]

#: Reasons in the ledger beside those of `MidiError`.
DUPLICATE = "duplicate"
EXCLUDED = "excluded"
FIELDS_PER_NOTE = 8
SPLITS = ("train", "valid")


@dataclass(frozen=True)
class PretrainingOptions:
    """How files become sequences.

    Attributes
    ----------
    window, overlap
        Notes of a sequence; sequences that a note is in, at most (1,000 and 4 as published).
    valid_share
        Share of the files that go to valid, in 0-1.
    exclude
        Regular expression; files whose path matches it are left out (test pieces of other tasks, say).
    performance
        Also write performance inputs.
    seed
        Seed of the division, the windows and the bar offsets.
    policies
        What to do with music that the encoding cannot hold.

    Raises
    ------
    DatasetError
        ``bad-options``.
    """

    window: int = 1000
    overlap: int = 4
    valid_share: float = 0.02
    exclude: str = ""
    performance: bool = False
    seed: int = 7
    policies: Policies = field(default_factory=Policies)

    def __post_init__(self) -> None:
        if self.window < 1 or self.overlap < 1 or self.seed < 0 or not 0 <= self.valid_share < 1:
            raise DatasetError(
                "bad-options",
                f"window {self.window}, overlap {self.overlap}, seed {self.seed}, valid {self.valid_share}",
                hint="window and overlap are at least 1, the seed at least 0, the valid share in 0-1",
            )
        try:
            re.compile(self.exclude)
        except re.error as error:
            raise DatasetError(
                "bad-options", f"{self.exclude!r} is no regular expression: {error}", hint="see --exclude"
            ) from None


@dataclass
class _Piece:
    """One file, encoded: sequences of ids and the performance inputs of their notes."""

    sequences: list[NDArray[np.int64]]
    inputs: list[NDArray[np.float32]]


def build_pretraining(
    source: str | PathLike[str] | Iterable[str | PathLike[str]],
    output: str | PathLike[str],
    options: PretrainingOptions | None = None,
    *,
    overwrite: bool = False,
    progress: bool = True,
) -> dict[str, int]:
    """Encode every MIDI file of the sources and write the data-bin.

    Parameters
    ----------
    source
        A folder or zip archive of MIDI files, or several.
    output
        Folder to write; it appears only when it is complete.
    options
        How to encode.
    overwrite
        Replace an earlier data-bin.
    progress
        Show a bar.

    Returns
    -------
    Number of files by outcome; ``"ok"`` and the reasons of the others.

    Raises
    ------
    DatasetError
        An unusable source, an existing output, or nothing left to write (``nothing-to-write``).
    """
    options = options or PretrainingOptions()
    sources = [source] if isinstance(source, str | PathLike) else list(source)
    excluded = re.compile(options.exclude) if options.exclude else None
    outcomes: list[Outcome] = []
    seen: dict[str, str] = {}
    with build_directory(output, overwrite=overwrite, recognise=_is_ours) as folder:
        write_text(folder / "dict.txt", dictionary_text())
        opened = [MidiSource(path) for path in sources]
        try:
            files = [(archive, member) for archive in opened for member in archive.members]
            for archive in opened:
                outcomes += [
                    Outcome(m.name, m.reason or "unreadable", path=m.path, detail=m.detail)
                    for m in archive.rejected
                ]
            for split in SPLITS:
                chosen = [f for f in files if _split_of(f[1].path, options) == split]
                if excluded:
                    left_out = [f for f in chosen if excluded.search(f[1].path)]
                    outcomes += [Outcome(m.name, EXCLUDED, path=m.path) for _, m in left_out]
                    chosen = [f for f in chosen if not excluded.search(f[1].path)]
                shown = tqdm(chosen, desc=f"encoding {split}", unit="file", disable=not progress)
                _write_split(folder / split, _pieces(shown, options, seen, outcomes.append), options)
        finally:
            for archive in opened:
                archive.close()
        summary = count(outcomes)
        if not summary.get(OK):
            raise DatasetError(
                "nothing-to-write", "no file could be encoded", path=str(output), hint=str(summary)
            )
        write_ledger(folder / "ledger.jsonl", outcomes)
    return summary


def _is_ours(folder: Path) -> bool:
    return (folder / "ledger.jsonl").exists() and (folder / "dict.txt").exists()


def _number(text: str) -> int:
    return int.from_bytes(sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "big")


def _split_of(path: str, options: PretrainingOptions) -> str:
    return "valid" if _number(f"{options.seed}:{path}") / 2**64 < options.valid_share else "train"


def _pieces(
    files: Iterable[tuple[MidiSource, Member]],
    options: PretrainingOptions,
    seen: dict[str, str],
    tell: Callable[[Outcome], Any],
) -> Iterator[_Piece]:
    """Encode files one after the other, telling the outcome of each."""
    for archive, member in files:
        try:
            score = read_score(archive.read(member), name=member.path)
            rows, index = encode_notes(score, policies=options.policies)
        except (MidiError, DatasetError) as error:
            tell(Outcome(member.name, error.reason, path=member.path, detail=error.message))
            continue
        digest = content_md5(rows)
        if digest in seen:
            tell(Outcome(member.name, DUPLICATE, path=member.path, copy_of=seen[digest]))
            continue
        seen[digest] = member.path
        inputs = performance_inputs(score, index) if options.performance else None
        rng = np.random.default_rng([options.seed, _number(member.path)])
        piece = _Piece([], [])
        for part in segments(
            rows, rng, window=options.window, overlap=options.overlap, policies=options.policies
        ):
            piece.sequences.append(rows_to_ids(part.rows).astype(np.int64))
            if inputs is not None:
                piece.inputs.append(inputs[part.start : part.start + len(part.rows)])
        written = sum(len(ids) // FIELDS_PER_NOTE - 2 for ids in piece.sequences)
        tell(Outcome(member.name, OK, path=member.path, notes=len(score), notes_written=written))
        yield piece


def _write_split(prefix: Path, pieces: Iterator[_Piece], options: PretrainingOptions) -> None:
    """Write sequences as they come; performance inputs go through a raw file beside them."""
    raw = prefix.with_suffix(".performance.raw")
    notes = 0
    with raw.open("wb") as stream:

        def sequences() -> Iterator[NDArray[np.int64]]:
            nonlocal notes
            for piece in pieces:
                for inputs in piece.inputs:
                    stream.write(np.ascontiguousarray(inputs, np.float32).tobytes())
                    notes += len(inputs)
                yield from piece.sequences

        write_indexed_dataset(sequences(), prefix)
    if options.performance:
        shape = (notes, len(PERFORMANCE_INPUTS))
        target = np.lib.format.open_memmap(
            f"{prefix}.performance.npy", mode="w+", dtype=np.float32, shape=shape
        )
        if notes:
            target[:] = np.memmap(raw, np.float32, mode="r", shape=shape)
        target.flush()
    raw.unlink()
