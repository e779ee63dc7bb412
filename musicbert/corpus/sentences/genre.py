"""Genre labels and MIDI files -> the raw set or the data-bin of every fold, as upstream's ``gen_genre.py``.

Labels are in ``midi_genre_map.json``, ``{"topmagd": {md5: [labels]}, "masd": ..., "magd": ...}``
(andrebola/patterns-genres; Ferraro and Lemström 2018). The md5 is the file's name. A label is stripped,
blanks become ``-``, and the labels of a file are a sorted set, as in MusicBERT's ``gen_genre``. The full
sets: TOP-MAGD 22,535 files and 13 classes, MASD 17,785 files and 25.

A piece is cut into windows as for pre-training (`encoding/random_segments.py`); of its longest ones
`windows` are drawn with replacement, each with its own bar offset: so many training lines, and for validation
and test the first `test_windows` of them (1 as published; with more, the scores of a piece are averaged).
Draws are seeded by the seed and the file's hash.

``OUT/<fold>/`` holds ``dict.txt``, ``label.dict.txt`` (classes of the whole set, the most frequent first, so
that every fold has the same) and ``<part>.{txt,label,id}``; labels of a line are separated by blanks. With
``layout="bin"`` it holds what `musicbert.corpus.labelled.binarize` would make of these, in one step and a
tenth of the space. ``OUT/about.json`` and ``OUT/ledger.jsonl`` account for the folds and for every file.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.folds import PARTS, Fold, Valid, leaks
from musicbert.atomic import parse_json, write_json, write_text
from musicbert.corpus.bins.databin import (
    label_dictionary,
    read_dictionary,
    text_to_ids,
    write_indexed_dataset,
)
from musicbert.corpus.files.archive import Member, MidiSource
from musicbert.corpus.files.folders import Spool, build_directory, read_whole
from musicbert.corpus.files.ledger import NO_LABEL, NO_MIDI, Outcome, write_ledger
from musicbert.corpus.files.matching import rejected
from musicbert.corpus.sentences.songs import SongPiece, read_songs
from musicbert.corpus.splits.song_groups import song_marks
from musicbert.corpus.splits.task_folds import RULES, genre_folds
from musicbert.encoding import N_FIELDS, dictionary_text, encode_notes, plan_windows, rows_to_ids
from musicbert.encoding.octuple import notes_beyond_limit
from musicbert.encoding.vocabulary import TOKENS
from musicbert.errors import DatasetError
from musicbert.midi import read_score

#: Sets of MusicBERT and their number of classes.
SUBSETS = {"topmagd": 13, "masd": 25}


@dataclass(frozen=True)
class GenreOptions:
    """How pieces become folds (``rule``, ``n_folds``, ``valid``: `musicbert.corpus.splits.task_folds`)."""

    subset: str  # set of the map: ``topmagd``, ``masd``, or another that it holds
    length: int = 1000  # notes of a window
    windows: int = 4  # lines of a piece in training
    test_windows: int = 1  # lines of a piece in validation and test
    rule: str = "grouped"
    n_folds: int = 5
    valid: Valid = "groups"
    seed: int = 7  # of every draw
    layout: Literal["text", "bin"] = "text"  # text as upstream, or a data-bin
    workers: int = 1


@dataclass(frozen=True)
class GenreReport:
    """What was written: fold -> part -> pieces, test pieces that leak, reasons of files left out."""

    sizes: dict[str, dict[str, int]]
    leaking: dict[str, int]
    songs: int
    left_out: dict[str, int]

    def summary(self) -> str:
        """Return lines for people."""
        lines = [
            f"fold {fold}: " + ", ".join(f"{n} {part}" for part, n in parts.items() if n)
            + (f"; {self.leaking[fold]} test pieces have a version in training" if self.leaking[fold] else "")
            for fold, parts in self.sizes.items()
        ]  # fmt: skip
        left = ", ".join(f"{count} {reason}" for reason, count in self.left_out.items())
        pieces = sum(parts["test"] for parts in self.sizes.values())
        return "\n".join([*lines, f"{pieces} pieces, {self.songs} songs; left out: {left or 'none'}"])


def read_genres(path: str | PathLike[str], subset: str) -> dict[str, tuple[str, ...]]:
    """Read the labels of a set, sorted, by the name of the file (its md5); files without one are left out.

    Raises `DatasetError` (``not-found``, ``bad-labels``).
    """
    try:
        content = parse_json(read_whole(path, "The table of genres", hint="see --map"))
    except ValueError as error:
        raise DatasetError("bad-labels", f"Not JSON: {error}", path=path) from error
    genres = content.get(subset) if isinstance(content, dict) else None
    if not isinstance(genres, dict) or not all(
        isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        for labels in genres.values()
    ):
        sets = ", ".join(content) if isinstance(content, dict) else "none"
        message = f"There is no set {subset!r} of files and their labels here; sets: {sets}"
        raise DatasetError("bad-labels", message, path=path)
    cleaned = {
        str(name): tuple(sorted({"-".join(label.split()) for label in labels if label.strip()}))
        for name, labels in genres.items()
    }
    return {name: labels for name, labels in cleaned.items() if labels}


def _read(member: Member, content: bytes, *, options: GenreOptions) -> SongPiece[list[NDArray[np.uint16]]]:
    score = read_score(content, name=member.path)
    rows, note_index = encode_notes(score)
    words = np.frombuffer(sha256(content).digest()[:16], "<u4").tolist()
    rng = np.random.default_rng([options.seed, *words])
    windows = list(plan_windows(rows[:, 0], rng, window=options.length))
    longest = max(window.stop - window.start for window in windows)
    windows = [window for window in windows if window.stop - window.start == longest]
    drawn = rng.choice(len(windows), max(options.windows, options.test_windows))
    ids = []
    for at in drawn.tolist():
        moved = rows[windows[at].start : windows[at].stop].copy()
        moved[:, 0] += windows[at].offset
        ids.append(rows_to_ids(moved).astype(np.uint16))
    marks, longest_line = song_marks(score, rows, note_index), max(map(len, ids)) // N_FIELDS - 2
    return SongPiece(len(score), marks, ids, longest_line, notes_beyond_limit(score))


def build_genre(
    genres: str | PathLike[str],
    midi: str | PathLike[str],
    output: str | PathLike[str],
    options: GenreOptions,
    *,
    overwrite: bool = False,
    progress: bool = False,
) -> GenreReport:
    """Write every fold, from ``midi_genre_map.json`` and a folder or zip of files named by their md5.

    Raises `DatasetError`: those of `read_genres`, `MidiSource`, `build_directory` and `genre_folds`;
    ``no-match`` where no file has a label, ``nothing-readable``.
    """
    if min(options.length, options.windows, options.test_windows) < 1:
        raise ValueError("length, windows and test_windows are at least 1")
    labels = read_genres(genres, options.subset)
    recognise = partial(_recognise, layout=options.layout)
    with build_directory(output, overwrite=overwrite, recognise=recognise) as folder, Spool(folder) as spool:
        outcomes, places, groups = _collect(midi, labels, options, spool, progress)
        kept = {name: labels[name] for name in places}
        folds = genre_folds(
            kept, groups, rule=options.rule, n_folds=options.n_folds, seed=options.seed, valid=options.valid
        )
        classes = label_dictionary(" ".join(kept[name]) for name in sorted(kept))
        for fold, parts in folds.items():
            (folder / fold).mkdir()
            lines = _lines(parts, places, options)
            _write_fold(folder / fold, lines, kept, classes, spool, options.layout)
        sizes = {fold: {part: len(parts[part]) for part in PARTS} for fold, parts in folds.items()}
        left_out = dict(Counter(file.outcome for file in outcomes if not file.ok).most_common())
        leaking = {fold: leaks(parts, groups)["test"] for fold, parts in folds.items()}
        report = GenreReport(sizes, leaking, len(set(groups.values())), left_out)
        about = {
            "task": options.subset,
            "classes": [line.split()[0] for line in classes.splitlines() if "madeupword" not in line],
            "rule": options.rule,
            "caution": RULES[options.rule],
            "folds": sizes,
            "leaking": leaking,
            "songs": report.songs,
            **{
                name: getattr(options, name)
                for name in ("length", "windows", "test_windows", "valid", "seed")
            },
            "left_out": left_out,
        }
        write_json(folder / "about.json", about)
        write_ledger(folder / "ledger.jsonl", outcomes)
    return report


def _collect(
    midi: str | PathLike[str],
    labels: Mapping[str, tuple[str, ...]],
    options: GenreOptions,
    spool: Spool,
    progress: bool,
) -> tuple[list[Outcome], dict[str, list[int]], dict[str, str]]:
    """Encode the labelled files; return outcomes, the spooled windows by name, and songs by name."""
    outcomes: list[Outcome] = []
    with MidiSource(midi) as source:
        members: dict[str, Member] = {}
        for file in source.members:
            if file.name not in labels:
                outcomes.append(Outcome(file.name, NO_LABEL, path=file.path))
            elif file.name in members:  # named by their content: the first will do
                first = members[file.name].path
                outcomes.append(Outcome(file.name, "duplicate-name", path=file.path, copy_of=first))
            else:
                members[file.name] = file
        if not members:
            hint = "give the folder or zip of lmd_full, whose files are named by their md5"
            raise DatasetError("no-match", "No file has a name that is in the map", path=midi, hint=hint)
        outcomes += [Outcome(name, NO_MIDI) for name in sorted(labels.keys() - members.keys())]
        outcomes += rejected(source)
        encoded, places, groups = read_songs(
            source,
            list(members.values()),
            partial(_read, options=options),
            lambda windows: [spool.append(ids) for ids in windows],
            name=lambda outcome: outcome.name,
            workers=options.workers,
            progress="windows" if progress else "",
        )
    if not places:
        message = f"None of the {len(members)} labelled files can be read"
        raise DatasetError("nothing-readable", message, path=midi)
    return encoded + outcomes, places, groups


def _lines(
    parts: Fold, places: Mapping[str, list[int]], options: GenreOptions
) -> dict[str, list[tuple[str, int]]]:
    """Return (name, number in the spool) of every line of each part that is there."""
    many = {"train": options.windows, "valid": options.test_windows, "test": options.test_windows}
    return {
        part: [(name, number) for name in parts[part] for number in places[name][: many[part]]]
        for part in PARTS
        if parts[part]
    }


def _write_fold(
    folder: Path,
    lines: dict[str, list[tuple[str, int]]],
    labels: Mapping[str, tuple[str, ...]],
    classes: str,
    spool: Spool,
    layout: Literal["text", "bin"],
) -> None:
    """Write a fold: sequences and labels as text, or as the data-bin that would be made of it."""
    text, beside = folder, folder
    if layout == "bin":
        text, beside = folder / "input0", folder / "label"
        text.mkdir()
        beside.mkdir()
        lines.setdefault("valid", lines["test"])  # as published where there is no validation part
    write_text(text / "dict.txt", dictionary_text())
    write_text(beside / ("dict.txt" if layout == "bin" else "label.dict.txt"), classes)
    for part, entries in lines.items():
        words = [" ".join(labels[name]) for name, _ in entries]
        sequences = (spool[number] for _, number in entries)
        if layout == "bin":
            write_indexed_dataset(sequences, text / part)
            write_indexed_dataset(text_to_ids(words, read_dictionary(beside / "dict.txt")), beside / part)
        else:
            with (text / f"{part}.txt").open("w", encoding="utf-8") as file:
                for ids in sequences:  # fairseq appends the last </s>
                    file.write(" ".join(map(TOKENS.__getitem__, ids[:-1].tolist())) + "\n")
        write_text(beside / f"{part}.label", "".join(f"{line}\n" for line in words))
        write_text(beside / f"{part}.id", "".join(f"{name}\n" for name, _ in entries))


def _recognise(folder: Path, layout: str) -> bool:
    marker = "label.dict.txt" if layout == "text" else "input0"
    return (folder / "about.json").is_file() and (folder / "0" / marker).exists()
