"""Features of every MIDI file of an archive or folder, kept between runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

import musicbert.features
import musicbert.features.against_score
from musicbert.annotation.names import parse_segment, segment_id
from musicbert.atomic import replacing
from musicbert.corpus.files.archive import Member, MidiSource, copy_base
from musicbert.errors import DatasetError, MidiError, RatingError
from musicbert.features import FEATURES, features
from musicbert.features.against_score import SCORE_FEATURES, score_features
from musicbert.midi import read_score
from musicbert.midi.score import Score

__all__ = ["feature_table", "score_feature_table"]

#: Performer whose files are the written music.
SCORE = "Score"


#: A file's features by its name and score.
_Describe = Callable[[str, Score], NDArray[np.float64]]


def _code_version(*packages: ModuleType) -> str:
    """Hash the source of the features, so that a cache never outlives them."""
    digest = hashlib.sha256()
    for package in packages:
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _key(source: MidiSource, members: Sequence[Member], version: str) -> str:
    """Hash what the table is made from: names and bytes of the files, and the code of the features."""
    digest = hashlib.sha256(version.encode())
    for member in members:
        try:
            content = hashlib.sha256(source.read(member)).hexdigest()
        except DatasetError as error:
            content = error.reason
        digest.update(f"{member.path} {content}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def _table(
    midi: str | PathLike[str],
    prepare: Callable[[Callable[[Member], Score], Sequence[Member]], _Describe],
    *,
    name: str,
    version: str,
    width: int,
    cache: str | PathLike[str] | None,
    progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Describe every file; ``prepare`` sees how to read a member, and all members, before the first one."""
    with MidiSource(midi) as source:
        members = [m for m in source.members if copy_base(m.name) is None]
        kept = None if cache is None else Path(cache) / f"{name}_{_key(source, members, version)}.npz"
        if kept is not None and kept.is_file():
            with np.load(kept, allow_pickle=False) as data:
                found = dict(zip(data["ids"].tolist(), data["features"], strict=True))
                return found, dict(zip(data["bad"].tolist(), data["reasons"].tolist(), strict=True))

        def read(member: Member) -> Score:
            return read_score(source.read(member), name=member.path)

        describe = prepare(read, members)
        found, bad = {}, {}
        for done, member in enumerate(members, start=1):
            try:
                found[segment_id(member.name)] = describe(member.name, read(member))
            except (MidiError, DatasetError, RatingError) as error:
                bad[segment_id(member.name)] = error.reason
            if progress is not None:
                progress(done, len(members))
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        table = np.stack(list(found.values())) if found else np.zeros((0, width))
        with replacing(kept) as file:
            np.savez_compressed(
                file,
                ids=np.array(list(found), np.str_),
                features=table,
                bad=np.array(list(bad), np.str_),
                reasons=np.array(list(bad.values()), np.str_),
            )
    return found, bad


def _alone(_read: Callable[[Member], Score], _members: Sequence[Member]) -> _Describe:
    """Describe a performance by itself."""
    return lambda _name, performance: features(performance)


def feature_table(
    midi: str | PathLike[str],
    *,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
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
    return _table(
        midi,
        _alone,
        name="features",
        version=_code_version(musicbert.features),
        width=len(FEATURES),
        cache=cache,
        progress=progress,
    )


def _against_their_scores(read: Callable[[Member], Score], members: Sequence[Member]) -> _Describe:
    """Find the score of each region by name, and read it when it is first needed."""
    of_region: dict[str, Member] = {}
    for member in members:
        try:
            segment = parse_segment(segment_id(member.name))
        except RatingError:
            continue
        if segment.performer == SCORE:
            of_region[segment.region] = member
    scores: dict[str, Score] = {}

    def describe(name: str, performance: Score) -> NDArray[np.float64]:
        region = parse_segment(segment_id(name)).region
        if region not in of_region:
            raise DatasetError("no-score", f"there is no score of {region}")
        if region not in scores:
            scores[region] = read(of_region[region])
        return score_features(performance, scores[region])

    return describe


def score_feature_table(
    midi: str | PathLike[str],
    *,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Return the features of every performance against the score of its bars, and the files that have none.

    A file is a score where its name says ``Score`` for the performer (``Score2`` is a performance like any
    other). Without one, the reason is ``no-score``; ``bad-name`` where a name says nothing about the music.

    Parameters
    ----------
    midi, cache, progress
        As in :func:`feature_table`.

    Returns
    -------
    (id -> features [shape=(k,), float64], id -> reason)
    """
    return _table(
        midi,
        _against_their_scores,
        name="score_features",
        version=_code_version(musicbert.features, musicbert.features.against_score),
        width=len(SCORE_FEATURES),
        cache=cache,
        progress=progress,
    )
