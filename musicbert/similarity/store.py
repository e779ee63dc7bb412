"""An index on disk: one folder, in which every file is written whole, so that a killed run loses one part.

``index.json``: what vectors were made with (``settings``), the folder, and of each piece its path and the
SHA-256 of its bytes. ``parts/<hash>.npz``: vectors of up to `PART` files, by the hash of their bytes.
``ledger.jsonl``: one line a file. An update describes new bytes alone; parts that nothing names any more go.
A part that a killed run left is used by the next. Counts are whole numbers on disk, states of
networks float16, half the size of float32; they are compared as float32.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from musicbert.atomic import MAX_MANIFEST, check_types, read_json, remove_partial, replacing, write_json
from musicbert.corpus.files.archive import MUSIC_SUFFIXES, MidiSource
from musicbert.corpus.files.folders import read_npz
from musicbert.corpus.files.ledger import OK, Outcome, count, write_ledger
from musicbert.corpus.files.matching import rejected
from musicbert.errors import DatasetError, MusicBertError
from musicbert.midi import Score, programs_elsewhere, read_score
from musicbert.progress import progress_bar
from musicbert.reuse import differences, file_differences, hold_folder, made_from, record_hash
from musicbert.similarity.describe import FEATURES, PIECE, Bars, Describer, open_describer

INDEX, PARTS, LEDGER = "index.json", "parts", "ledger.jsonl"
#: files of a part, and files that are described together
PART, BATCH = 256, 8
_FORMAT = 2


@dataclass(frozen=True)
class Update:
    """What `index_folder` did: files by what became of them, and lines that say what changed.

    ``programs_elsewhere``: notes whose program another track of their channel sets; they are described
    without it (`musicbert.midi.channels`).
    """

    outcomes: dict[str, int]
    described: int
    kept: int
    changes: tuple[str, ...]
    programs_elsewhere: int = 0

    def __str__(self) -> str:
        """Return it in one line."""
        left_out = {reason: number for reason, number in self.outcomes.items() if reason != OK}
        said = f"{self.outcomes.get(OK, 0)} files: {self.described} described now, {self.kept} kept"
        out = ", ".join(f"{number} {reason}" for reason, number in left_out.items())
        more = [f"left out: {out} (see {LEDGER})"] if out else []
        if self.programs_elsewhere:
            more += [f"{self.programs_elsewhere:,} notes have a program that another track sets, left aside"]
        return "; ".join([said, *more, *self.changes])


def index_folder(
    folder: str | PathLike[str],
    output: str | PathLike[str],
    *,
    model: str | PathLike[str] = FEATURES,
    layer: int | None = None,
    device: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> Update:
    """Describe all MIDI files of a folder (or zip archive), and keep it in the folder ``output``.

    An index that is there already is brought up to date: files with other bytes are described again, removed
    ones are dropped. A run that was stopped continues.

    Parameters
    ----------
    model
        ``features`` (counts of what is played, no network), or the name of a network.
    layer
        Of a network, the block whose states describe a note; None: the middle one.
    overwrite
        Replace an index that was made with another model, layer or version.
    progress
        Show a progress bar on a terminal.

    Raises
    ------
    DatasetError
        Those of `MidiSource` (``no-midi``: no MIDI file there), ``other-settings`` (the index was made with
        something else), ``output-not-ours``, ``output-busy``, ``cannot-write``, ``nothing-usable`` (no file
        can be described).
    CheckpointError
        As `musicbert.from_pretrained`.
    """
    describer = open_describer(model, layer=layer, device=device)
    record = made_from(settings_of(describer), {})
    output = Path(output)
    with MidiSource(folder, suffixes=MUSIC_SUFFIXES) as source, hold_folder(output):
        before = _before(output, record, overwrite)
        remove_partial(output, INDEX, LEDGER)  # of a killed run
        store = Store(output, record)
        outcomes, names, described = _describe_all(source, describer, store, progress)
        if not names:
            first = next(outcome for outcome in outcomes if not outcome.ok)
            raise DatasetError(
                "nothing-usable",
                f"None of the {len(outcomes)} files can be described; {first.path}: {first.detail}",
                path=source.path,
                hint="give a folder with other files",
            )
        write_ledger(output / LEDGER, outcomes)
        manifest = {"format": _FORMAT, "model": describer.name, "spread": describer.spread, **record}
        write_json(output / INDEX, {**manifest, "files": names}, indent=None)
        store.drop_all_but(set(names.values()))
    changes = file_differences(before, names) if before else []
    elsewhere = sum(outcome.programs_elsewhere or 0 for outcome in outcomes)
    return Update(count(outcomes), described, len(names) - described, tuple(changes), elsewhere)


def settings_of(describer: Describer) -> dict[str, Any]:
    """What two descriptions have to share to be compared."""
    return {"what it is": "index of likeness", "format": _FORMAT, **describer.settings}


def _before(output: Path, record: Mapping[str, Any], overwrite: bool) -> dict[str, str]:
    """Files of the index that is there, by name; none if there is none, or another is to be replaced."""
    names = {entry.name for entry in output.iterdir() if not entry.name.startswith(".")}
    if names <= {PARTS, LEDGER}:
        return {}
    if INDEX not in names:
        raise DatasetError(
            "output-not-ours",
            "The output folder holds something other than an index",
            path=output,
            hint="choose another with --output",
        )
    try:
        manifest = read_manifest(output)
    except DatasetError:
        if overwrite:
            return {}
        raise
    changed = differences({**manifest, "files": {}}, record)
    if changed and not overwrite:
        raise DatasetError(
            "other-settings",
            f"The index was made with something else: {'; '.join(changed)}",
            path=output,
            hint="choose another --output, or replace it with --overwrite",
        )
    return {} if changed else dict(manifest["files"])


def read_manifest(folder: Path) -> dict[str, Any]:
    """Content of ``index.json``; raises `DatasetError` (``not-found``, ``bad-index``, ``other-settings``)."""
    make = "`musicbert index FOLDER --output INDEX"
    try:
        manifest = read_json(folder / INDEX, most=MAX_MANIFEST)
        check_types(manifest, format=int, model=str, spread=bool, settings=dict, files=dict)
        if manifest["format"] != _FORMAT:
            raise DatasetError(
                "other-settings",
                f"The index was made by another version: its format is {manifest['format']}, not {_FORMAT}",
                path=folder,
                hint=f"make it again with {make} --overwrite`",
            )
        if not all(isinstance(value, str) for value in manifest["files"].values()):
            raise ValueError("a file has no hash")
        layer = manifest["settings"].get("layer")
        if layer is not None and (manifest["model"] == FEATURES or type(layer) is not int or layer < 0):
            raise ValueError(f"there is no layer {str(layer)[:60]} of {manifest['model'][:60]}")
    except OSError as error:
        message = f"There is no index here: {error.strerror}"
        raise DatasetError("not-found", message, path=folder, hint=f"make it with {make}`") from error
    except ValueError as error:
        hint = f"make it again with {make} --overwrite`"
        raise DatasetError("bad-index", f"The index is damaged: {error}", path=folder, hint=hint) from error
    return dict(manifest)


def parts_of(folder: Path, settings: Mapping[str, Any]) -> list[Path]:
    """Parts of an index that were made with these settings."""
    return sorted((folder / PARTS).glob(f"{_prefix(settings)}-*.npz"))


def _prefix(settings: Mapping[str, Any]) -> str:
    return record_hash(settings)[:16]


def read_pieces(path: Path) -> tuple[list[str], NDArray[np.float16]]:
    """Hashes and vectors [shape=(p, W)] of the pieces of a part; raises `DatasetError` (``bad-index``)."""
    with _damage(path):
        arrays = read_npz(path, "hashes", "pieces")
        hashes, pieces = arrays["hashes"].tolist(), arrays["pieces"]
        if pieces.ndim != 2 or len(pieces) != len(hashes) or not np.isfinite(pieces).all():
            raise ValueError("its arrays do not fit together")
    return hashes, pieces


def read_bars(path: Path) -> tuple[list[str], Bars]:
    """Hashes of the pieces of a part, and their bars; as `read_pieces`."""
    with _damage(path):
        arrays = read_npz(path, "hashes", "key", "notes", "values")
        hashes, bars = arrays["hashes"].tolist(), Bars(arrays["key"], arrays["notes"], arrays["values"])
        if not (
            bars.values.ndim == 2
            and len(bars.key) == len(bars.values) == len(bars.notes)
            and (np.diff(bars.key) > 0).all()
            and np.unique(bars.key // PIECE).tolist() == list(range(len(hashes)))
            and (bars.values.dtype.kind == "u" or np.isfinite(bars.values).all())
        ):
            raise ValueError("its arrays do not fit together")
    return hashes, bars


@contextmanager
def _damage(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        hint = "remove this file and run `musicbert index` again, which describes its pieces anew"
        raise DatasetError("bad-index", f"The index is damaged: {error}", path=path, hint=hint) from error


class Store:
    """The parts of an index: which bytes are described already, and new ones written part by part."""

    def __init__(self, folder: Path, record: Mapping[str, Any]) -> None:
        self.folder, self.prefix = folder / PARTS, _prefix(record["settings"])
        self.folder.mkdir(exist_ok=True)
        self.parts = {path: frozenset(read_pieces(path)[0]) for path in parts_of(folder, record["settings"])}
        self.known = {digest for hashes in self.parts.values() for digest in hashes}

    def add(self, described: Sequence[tuple[str, Bars]], *, spread: bool) -> None:
        """Write a part."""
        hashes = tuple(digest for digest, _ in described)
        keys = [bars.key + number * PIECE for number, (_, bars) in enumerate(described)]
        values = np.concatenate([bars.values for _, bars in described])
        arrays = {
            "hashes": np.array(hashes),
            "pieces": np.stack([bars.whole(spread=spread) for _, bars in described]).astype(np.float16),
            "key": np.concatenate(keys),
            "notes": np.concatenate([bars.notes for _, bars in described]),
            "values": values.astype(np.float16) if spread else values,
        }
        path = self.folder / f"{self.prefix}-{record_hash(hashes)[:16]}.npz"
        with replacing(path) as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        self.parts[path] = frozenset(hashes)
        self.known.update(hashes)

    def drop_all_but(self, wanted: set[str]) -> None:
        """Remove parts of other settings, and parts without a wanted piece."""
        for path in self.folder.iterdir():
            if not self.parts.get(path, frozenset()) & wanted:
                path.unlink()


def _describe_all(
    source: MidiSource, describer: Describer, store: Store, progress: bool
) -> tuple[list[Outcome], dict[str, str], int]:
    """Outcome of every file, the hash of each described one by its path, and how many were described now."""
    outcomes = {outcome.path: outcome for outcome in rejected(source)}
    names: dict[str, str] = {}
    batch: dict[str, Score] = {}
    waiting: list[tuple[str, Bars]] = []
    fresh: set[str] = set()
    failed: dict[str, MusicBertError] = {}
    elsewhere: dict[str, int] = {}

    def describe(*, last: bool = False) -> None:
        for digest, found in _each(describer, batch):
            if isinstance(found, Bars):
                waiting.append((digest, found))
                fresh.add(digest)
            else:
                failed[digest] = found
        batch.clear()
        if len(waiting) >= PART or (last and waiting):
            store.add(waiting, spread=describer.spread)
            waiting.clear()

    for member in progress_bar(source.members, shown=progress, unit="file"):
        name = member.path
        try:
            content = source.read(member)
            digest = hashlib.sha256(content).hexdigest()
            if digest not in elsewhere:
                elsewhere[digest] = programs_elsewhere(content)
            if not any(digest in known for known in (store.known, fresh, failed, batch)):
                batch[digest] = read_score(content, name=name)
        except MusicBertError as error:
            outcomes[name] = _left_out(name, None, error)
            continue
        names[name] = digest
        if len(batch) == BATCH:
            describe()
    describe(last=True)
    for name, digest in names.items():
        error = failed.get(digest)
        programs = elsewhere[digest] or None
        good = Outcome(name, OK, path=name, sha256=digest, programs_elsewhere=programs)
        outcomes[name] = good if error is None else _left_out(name, digest, error)
    names = {name: digest for name, digest in names.items() if digest not in failed}
    return list(outcomes.values()), names, sum(digest in fresh for digest in names.values())


def _each(describer: Describer, scores: Mapping[str, Score]) -> Iterator[tuple[str, Bars | MusicBertError]]:
    """Describe scores together, or one by one where one of them cannot be described."""
    try:
        yield from zip(scores, describer.describe(list(scores.values())), strict=True)
    except MusicBertError:
        for digest, score in scores.items():
            try:
                yield digest, describer.describe([score])[0]
            except MusicBertError as error:
                yield digest, error


def _left_out(name: str, digest: str | None, error: MusicBertError) -> Outcome:
    return Outcome(name, error.reason, path=name, sha256=digest, detail=error.message)
