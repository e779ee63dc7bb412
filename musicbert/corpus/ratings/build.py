"""The raw rating data set: a label map and MIDI files in, folds of text lines and labels out.

Every file is accounted for in ``OUT/ledger.jsonl``: each labelled segment, then each MIDI file without a
label, then whatever could not be taken. The same input gives the same bytes, whatever the number of workers
or the order of the archive, and the output folder appears when it is complete. Layout:
``docs/architecture.md``.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from musicbert import __version__
from musicbert.annotation.dimensions import rating_scale
from musicbert.annotation.folds import PARTS, Fold, Folds, Valid
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.splits import make_folds
from musicbert.atomic import write_json, write_text
from musicbert.corpus.files.archive import MidiSource
from musicbert.corpus.files.folders import build_directory, write_npy
from musicbert.corpus.files.ledger import NO_LABEL, NO_MIDI, OK, Outcome, count, write_ledger
from musicbert.corpus.files.matching import match
from musicbert.corpus.ratings.gather import encode_members
from musicbert.corpus.ratings.piece import EncodeOptions, Piece
from musicbert.corpus.splits.fold_files import read_folds
from musicbert.encoding import PERFORMANCE_INPUTS, dictionary_text
from musicbert.errors import DatasetError
from musicbert.provenance import file_hash

LABELS = "midi_label_map_apex_reg_cls.json"
#: Names under which the MIDI files have been published, archive or folder.
MIDI_NAMES = ("segment_midi.zip", "segmented_midi.zip", "segment_midi", "segmented_midi")
OUTPUT = "xai_data_raw_apex_reg_cls"
#: Why a file that could be encoded is in no part of any fold.
NOT_IN_SPLIT = "not-in-split"


@dataclass(frozen=True)
class SplitOptions:
    """How segments are divided (``n_folds``, ``performers``: `musicbert.annotation.splits.make_folds`)."""

    #: one of `musicbert.annotation.splits.RULES`, ignored where there is a folds file; None: ``segment``, or
    #: ``k-fold`` of a study with names of its own
    rule: str | None = None
    folds_file: str | None = None  # ``FILE`` or ``FILE:NAME`` (`musicbert.corpus.splits.fold_files`)
    n_folds: int | None = None
    performers: tuple[str, ...] | None = None
    seed: int = 7  # of every choice
    valid: Valid = "groups"  # take a validation part out of training; ``none``: the compatible two-way split
    group_column: str | None = None  # of the label map; None: the first, or content groups

    def folds(self, ids: Sequence[str], labels: LabelMap) -> Folds:
        """Divide segments into folds."""
        named = labels.groups is not None
        groups = labels.group_of(self.group_column) if named or self.group_column else None
        seed, valid, n_folds = self.seed, self.valid, self.n_folds
        if self.folds_file is not None:
            return read_folds(self.folds_file, ids, seed=seed, valid=valid, groups=groups)
        return make_folds(
            self.rule or ("k-fold" if named else "segment"),
            ids,
            seed=seed,
            valid=valid,
            n_folds=n_folds,
            performers=self.performers,
            groups=groups,
            players=labels.performer_of if named else None,
        )


@dataclass(frozen=True)
class Report:
    """What was written: fold -> part -> number of pieces, and the outcome of every file."""

    sizes: dict[str, dict[str, int]]
    outcomes: list[Outcome] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """Number of files by outcome."""
        return count(self.outcomes)

    def summary(self) -> str:
        """Return one line that accounts for every file."""
        counts = self.counts
        written = counts.pop(OK, 0)
        no_midi, no_label = counts.pop(NO_MIDI, 0), counts.pop(NO_LABEL, 0)
        left_out = counts.pop(NOT_IN_SPLIT, 0)
        copies = sum(file.outcome == NO_LABEL and file.copy_of is not None for file in self.outcomes)
        if len(self.sizes) == 1:
            (sizes,) = self.sizes.values()
            where = ", ".join(f"{sizes[part]} {part}" for part in PARTS if sizes.get(part))
        else:
            tests = sorted({sizes["test"] for sizes in self.sizes.values()})
            span = str(tests[0]) if len(tests) == 1 else f"{tests[0]}-{tests[-1]}"
            where = f"in {len(self.sizes)} folds of {span} test"
        parts = [f"{written} written ({where})"]
        if left_out:
            parts.append(f"{left_out} left out by the split")
        parts.append(f"{no_midi} labelled without MIDI")
        parts.append(f"{no_label} MIDI without label" + (f" ({copies} of them copies)" if copies else ""))
        reasons = f" ({', '.join(f'{n} {reason}' for reason, n in counts.items())})" if counts else ""
        midi = sum(file.path is not None for file in self.outcomes)
        parts.append(f"{sum(counts.values())} unreadable{reasons} of {midi} MIDI files")
        beyond = sum(file.beyond_limit or 0 for file in self.outcomes)
        if beyond:
            parts.append(f"{beyond} notes after 1,024 bars of 4/4 left out")
        return ", ".join(parts)


def find_default(names: Iterable[str], folder: str | PathLike[str] = ".") -> Path:
    """Find the first of some names in a folder or its ``data`` folder; the first name if none exists."""
    names = list(names)
    tried = [Path(folder, place, name) for place in ("", "data") for name in names]
    return next((path for path in tried if path.exists()), tried[0])


def build(
    labels: str | PathLike[str],
    midi: str | PathLike[str],
    output: str | PathLike[str],
    *,
    encoding: EncodeOptions | None = None,
    split: SplitOptions | None = None,
    columns: str | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: bool = False,
) -> Report:
    """Write the raw data set.

    ``labels``: label map (`musicbert.annotation.label_map.LabelMap`); ``midi``: zip archive or folder of MIDI
    files named after the segments; ``columns``: name of the label map's column set, if it has no side file.
    Raises `RatingError` (the label map cannot be used); `DatasetError`: the MIDI files cannot be used, none
    belongs to a label (``no-match``), none can be read (``nothing-readable``), the split leaves a part empty,
    or the output exists.
    """
    encoding, split = encoding or EncodeOptions(), split or SplitOptions()
    label_map = LabelMap.load(labels, columns=columns)
    has_groups = label_map.groups is not None
    rule = split.rule or ("k-fold" if has_groups else "segment")
    with build_directory(output, overwrite=overwrite, recognise=_is_raw_set) as partial:
        with MidiSource(midi) as source:
            matched = match(label_map.ids, source)
            encoded = encode_members(source, matched.members, encoding, workers=workers, progress=progress)
        pieces = {piece.name: piece for _, piece in encoded if piece is not None}
        if not pieces:
            reasons = count(outcome for outcome, _ in encoded)
            message = f"None of the {len(encoded)} labelled MIDI files can be read: {reasons}"
            raise DatasetError("nothing-readable", message, path=midi)
        folds = split.folds([name for name in label_map.ids if name in pieces], label_map)
        used = {name for fold in folds.values() for part in fold.values() for name in part}
        outcomes = [
            replace(outcome, outcome=NOT_IN_SPLIT, notes_written=None)
            if outcome.ok and outcome.name not in used
            else outcome
            for outcome, _ in encoded
        ]
        labels_hash = file_hash(labels)
        about = {
            "split": Path(split.folds_file).name if split.folds_file else rule,
            "folds": len(folds),
            "valid": split.valid,
            "seed": split.seed,
            "bar_offset": encoding.bar_offset,
            "neutral_tempo_and_metre": encoding.neutralise,
            "performance_inputs": list(PERFORMANCE_INPUTS) if encoding.performance else None,
            "provenance": {
                "labels": {"name": Path(labels).name, "sha256": labels_hash},
                "midi": {"name": Path(midi).resolve().name, "sha256": _content_hash(outcomes)},
                "reader": encoding.reader,
                "musicbert": __version__,
            },
        }
        groups = label_map.group_of(split.group_column) if has_groups else None
        for name, fold in folds.items():
            _write_fold(partial / name, fold, pieces, label_map, {**about, "fold": int(name)}, groups)
        outcomes += matched.outcomes
        write_ledger(partial / "ledger.jsonl", outcomes)
    sizes = {name: {part: len(names) for part, names in fold.items()} for name, fold in folds.items()}
    return Report(sizes, outcomes)


def _content_hash(outcomes: Iterable[Outcome]) -> str:
    """Hash of the names and contents of the labelled MIDI files, equal for an archive and its folder."""
    digest = sha256()
    for file in sorted(outcomes, key=lambda outcome: outcome.name):
        digest.update(f"{file.name} {file.sha256}\n".encode())
    return digest.hexdigest()


def _is_raw_set(folder: Path) -> bool:
    return (folder / "ledger.jsonl").is_file()


def _write_fold(
    folder: Path,
    fold: Fold,
    pieces: Mapping[str, Piece],
    labels: LabelMap,
    about: Mapping[str, Any],
    groups: Mapping[str, str] | None,
) -> None:
    folder.mkdir()
    write_text(folder / "dict.txt", dictionary_text())
    meta = labels.meta()
    source = {name: value for name, value in labels.source.items() if name != "study"}  # it may name raters
    named = {"classes": list(labels.classes), "dimensions": meta["dimensions"], "scale": meta["scale"]}
    named |= {"kind": labels.kind, "label_source": source}
    named["rating_scale"] = list(rating_scale(labels.source).scale)
    write_json(folder / "classes.json", {**named, **about})
    for part in PARTS:
        names = fold.get(part, [])
        if not names:
            continue
        write_text(folder / f"{part}.txt", "".join(pieces[name].line + "\n" for name in names))
        write_text(folder / f"{part}.label", "".join(json.dumps(labels.row(name)) + "\n" for name in names))
        write_text(folder / f"{part}.id", "".join(name + "\n" for name in names))
        if labels.means is not None:
            rows = (labels.row(name, means=True) for name in names)
            write_text(folder / f"{part}.means", "".join(json.dumps(row) + "\n" for row in rows))
        if labels.n_raters is not None:
            rows_of_counts = (labels.raters(name) for name in names)
            write_text(folder / f"{part}.raters", "".join(json.dumps(row) + "\n" for row in rows_of_counts))
        if groups is not None:
            write_text(folder / f"{part}.group", "".join(groups[name] + "\n" for name in names))
        tables = [table for name in names if (table := pieces[name].performance) is not None]
        if tables:
            write_npy(folder / f"{part}.performance.npy", np.concatenate(tables))
