"""Features of every MIDI file of an archive or folder, kept between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

import musicbert.features
from musicbert.annotation.names import segment_id
from musicbert.atomic import replacing
from musicbert.corpus.archive import Member, MidiSource, copy_base
from musicbert.errors import DatasetError, MidiError
from musicbert.features import FEATURES, features
from musicbert.midi import read_score

__all__ = ["feature_table"]


def _features_version() -> str:
    """Hash the source of the features, so that a cache never outlives them."""
    folder = Path(musicbert.features.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _key(source: MidiSource, members: Sequence[Member]) -> str:
    """Hash what the table is made from: names and bytes of the files, and the code of the features."""
    digest = hashlib.sha256(_features_version().encode())
    for member in members:
        try:
            content = hashlib.sha256(source.read(member)).hexdigest()
        except DatasetError as error:
            content = error.reason
        digest.update(f"{member.path} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def feature_table(
    midi: str | PathLike[str],
    *,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Return the features of every MIDI file of an archive or folder, and the files that have none.

    Parameters
    ----------
    midi
        Zip archive or folder.
    cache
        Folder for the table; it is found again by the features' code and the files' names and contents.
    progress
        Called with (files done, all files).

    Returns
    -------
    (id -> features [shape=(k,), float64], id -> reason)
    """
    with MidiSource(midi) as source:
        members = [m for m in source.members if copy_base(m.name) is None]
        kept = None if cache is None else Path(cache) / f"features_{_key(source, members)}.npz"
        if kept is not None and kept.is_file():
            with np.load(kept, allow_pickle=False) as data:
                found = dict(zip(data["ids"].tolist(), data["features"], strict=True))
                return found, dict(zip(data["bad"].tolist(), data["reasons"].tolist(), strict=True))
        found, bad = {}, {}
        for done, member in enumerate(members, start=1):
            try:
                found[segment_id(member.name)] = features(read_score(source.read(member), name=member.path))
            except (MidiError, DatasetError) as error:
                bad[segment_id(member.name)] = error.reason
            if progress is not None:
                progress(done, len(members))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        table = np.stack(list(found.values())) if found else np.zeros((0, len(FEATURES)))
        with replacing(kept) as file:
            np.savez_compressed(
                file,
                ids=np.array(list(found), np.str_),
                features=table,
                bad=np.array(list(bad), np.str_),
                reasons=np.array(list(bad.values()), np.str_),
            )
    return found, bad
