"""Rated segments as examples: labels, features of the MIDI files and ratings, joined by segment names."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import musicbert.features
import musicbert.features.against_score
import musicbert.midi
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.labels import LabelOptions, make_labels
from musicbert.annotation.names import (
    EIGHT_BAR_PARTS,
    LITERAL_REPEATS,
    SegmentName,
    parse_segment,
    segment_id,
)
from musicbert.annotation.study.answers import StudyOptions
from musicbert.annotation.study.read import read_study
from musicbert.annotation.table import read_ratings
from musicbert.arrays import Floats
from musicbert.corpus.files.archive import Member, MidiSource, copy_base
from musicbert.corpus.files.folders import read_npz, write_npz
from musicbert.corpus.files.matching import match
from musicbert.errors import DatasetError, MidiError, RatingError
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.predictions import PERFORMER, RATINGS
from musicbert.features import FEATURES, features
from musicbert.features.against_score import SCORE_FEATURES, score_features
from musicbert.midi import read_score
from musicbert.midi.score import Score

#: performer whose files are the written music
SCORE = "Score"


#: (id, performance) -> numbers [shape=(k,)]
Describe = Callable[[str, Score], Floats]


@dataclass(frozen=True)
class Description:
    """How a performance becomes numbers: `feature_table` keeps them by name, code and ``key``.

    ``make``: called with a reader of files and all files, once; ``packages``: the code that is used;
    ``width``: how many numbers; ``key``: of whatever else changes them, such as weights; ``layers``: of
    states of a network, which follow one another.
    """

    name: str
    packages: tuple[ModuleType, ...]
    width: int
    make: Callable[[Callable[[Member], Score], Sequence[Member]], Describe]
    key: str = ""
    layers: int = 1


def _key(
    source: MidiSource, members: Sequence[Member], description: Description, ids: Mapping[str, str]
) -> str:
    """Hash what a table is made from: names and bytes of the files, and the code of the features."""
    digest = hashlib.sha256(description.key.encode())
    for package in description.packages:
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py")):
            digest.update(path.read_bytes())
    for member in members:
        try:
            content = hashlib.sha256(source.read(member)).hexdigest()
        except DatasetError as error:
            content = error.reason
        named = f" {ids[member.path]}" if member.path in ids else ""
        digest.update(f"{member.path} {content}{named}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:16]


def feature_table(
    midi: str | PathLike[str],
    description: Description | None = None,
    *,
    labels: LabelMap | None = None,
    cache: str | PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Floats], dict[str, str]]:
    """Return by id the features of every MIDI file of an archive or folder, and why files have none.

    ``description``: what is computed (default: `PLAYING`, features of a file by itself); with `AGAINST_SCORE`
    a file without the score of its bars has the reason ``no-score``, one whose name does not name the music
    ``bad-name``.
    ``labels``: of a study with names of its own: files are matched to them as the data set does.
    ``cache``: folder for the table; its name holds a hash of the code that reads files and makes
    features, and of the files. ``progress``: called with (files done, all files).
    """
    description = description or PLAYING
    with MidiSource(midi) as source:
        ids: dict[str, str] = {}
        if labels is not None and labels.groups is not None:
            ids = {member.path: identifier for identifier, member in match(labels.ids, source).members}
        members = [m for m in source.members if m.path in ids or copy_base(m.name) is None]
        key = _key(source, members, description, ids)
        kept = None if cache is None else Path(cache) / f"{description.name}_{key}.npz"
        if kept is not None and kept.is_file():
            data = read_npz(kept)
            table = dict(zip(data["ids"].tolist(), data["features"], strict=True))
            return table, dict(zip(data["bad"].tolist(), data["reasons"].tolist(), strict=True))

        def read(member: Member) -> Score:
            return read_score(source.read(member), name=member.path)

        describe = description.make(read, members)
        table, bad = {}, {}
        for done, member in enumerate(members, start=1):
            identifier = ids.get(member.path, segment_id(member.name))
            try:
                table[identifier] = describe(identifier, read(member))
            except (MidiError, DatasetError, RatingError) as error:
                bad[identifier] = error.reason
            if progress is not None:
                progress(done, len(members))
    if kept is not None:
        values = np.stack(list(table.values())) if table else np.zeros((0, description.width))
        names = {"ids": list(table), "bad": list(bad), "reasons": list(bad.values())}
        write_npz(
            kept, {"features": values, **{name: np.array(texts, np.str_) for name, texts in names.items()}}
        )
    return table, bad


def _against_their_scores(read: Callable[[Member], Score], members: Sequence[Member]) -> Describe:
    """Describe a performance against the score of its bars, which is read when it is first needed.

    A file is a score where its name says ``Score`` for the performer (``Score2`` is a performance like any
    other).
    """
    of_region: dict[str, Member] = {}
    for member in members:
        try:
            segment = parse_segment(segment_id(member.name))
        except RatingError:
            continue
        if segment.performer == SCORE:
            of_region[segment.region] = member
    scores: dict[str, Score] = {}

    def describe(name: str, performance: Score) -> Floats:
        region = parse_segment(name).region
        if region not in of_region:
            raise DatasetError("no-score", f"there is no score of {region}")
        if region not in scores:
            scores[region] = read(of_region[region])
        return score_features(performance, scores[region])

    return describe


PLAYING = Description(
    name="features",
    packages=(musicbert.midi, musicbert.features),
    width=len(FEATURES),
    make=lambda _, __: lambda _, score: features(score),
)
AGAINST_SCORE = Description(
    "score_features",
    (musicbert.midi, musicbert.features, musicbert.features.against_score),
    len(SCORE_FEATURES),
    _against_their_scores,
)


def same_bars(segment: SegmentName) -> str:
    """Name the bars of the score that a segment plays: literal repeats have the same name.

    Finer than a content group, which joins all segments that share any bar.
    """
    movement = segment.movement if segment.work == "Schubert_D960" else ""
    parts = {8: (segment.number,), 16: EIGHT_BAR_PARTS.get(movement, {}).get(segment.number)}.get(
        segment.bars
    )
    if movement not in EIGHT_BAR_PARTS or parts is None:
        return segment.region
    first = {n: repeats[0] for repeats in LITERAL_REPEATS[movement] for n in repeats}
    return f"{segment.piece}_{'+'.join(str(first.get(n, n)) for n in parts)}"


def _against_peers(ids: list[str], table: Mapping[str, Floats]) -> Floats:
    """Return features minus their mean over all performances of the same bars in the table [shape=(n, k)].

    The means are taken over the files of the whole table, those of a test part and unlabelled ones included:
    no label is looked at, but other test items are.
    """
    regions: dict[str, list[Floats]] = {}
    for name, values in table.items():
        try:
            regions.setdefault(parse_segment(name).region, []).append(values)
        except RatingError:  # a file whose name says nothing about its music is nobody's peer
            continue
    centre = {region: np.mean(rows, axis=0) for region, rows in regions.items()}
    return np.stack([table[name] - centre[parse_segment(name).region] for name in ids])


def load_examples(
    labels: LabelMap,
    table: Mapping[str, Floats],
    *,
    score_table: Mapping[str, Floats] | None = None,
    states: Mapping[str, tuple[Mapping[str, Floats], int]] | None = None,
) -> dict[str, Examples]:
    """Join labels and features by id, in the order of the label map: examples by label.

    ``table``: id -> features [shape=(k,)], of segments without labels, too; ``score_table``: id -> features
    against the score [shape=(j,)]; where there are any, the examples have the inputs ``score`` and ``peers``.
    ``states``: by network, id -> states of all layers one after another, and the number of layers.
    Raises `DatasetError` (``no-match`` where no labelled id has features).
    """
    ids = [name for name in labels.ids if name in table]
    if not ids:
        raise DatasetError(
            "no-match",
            f"none of {len(labels)} labelled names is among {len(table)} MIDI files",
            hint="do the label map and the MIDI files belong to the same data set?",
        )
    mine = labels.subset(ids)
    more = {}
    if score_table and any(name in score_table for name in ids):
        more["score"] = _rows(ids, score_table)
        more["peers"] = _against_peers(ids, table)
    groups = mine.group_of()
    ratings = Examples(
        label=RATINGS,
        kind="regression",
        classes=tuple(dimension.name for dimension in mine.dimensions),
        features=np.stack([table[name] for name in ids]),
        target=mine.values,
        groups=np.array([groups[name] for name in ids]),
        ids=np.array(ids),
        identities=_identities(mine, groups),
        more=more,
        states={
            name: _rows(ids, known).reshape(len(ids), layers, -1).transpose(1, 0, 2)
            for name, (known, layers) in (states or {}).items()
        },
    )
    performer = replace(
        ratings, label=PERFORMER, kind="classes", classes=tuple(mine.classes), target=mine.class_of
    )
    return {RATINGS: ratings, PERFORMER: performer}


def _rows(ids: Sequence[str], table: Mapping[str, Floats]) -> Floats:
    """Rows of a table, NaN for ids that it lacks [shape=(n, k)]."""
    unknown = np.full(len(next(iter(table.values()))), np.nan)
    return np.stack([table.get(name, unknown) for name in ids])


def _identities(labels: LabelMap, groups: Mapping[str, str]) -> dict[str, NDArray[Any]]:
    """What look-ups of names may use: who plays, and which music."""
    if labels.groups is not None:
        known = {"performer": labels.performers, "bars": [groups[name] for name in labels.ids]}
        return {
            name: np.array(values) for name, values in known.items() if 1 < len(set(values)) < len(values)
        }
    names = [parse_segment(name) for name in labels.ids]
    return {
        "performer": np.array([f"{n.work} {n.performer}" for n in names]),
        "piece": np.array([n.piece for n in names]),
        "bars": np.array([same_bars(n) for n in names]),
    }


def rater_means(examples: Examples, labels: LabelMap, ratings: str | PathLike[str]) -> Examples:
    """Add the plain mean of all ratings of each label, and the number of raters.

    Unanswered questions are masked one by one and every annotator counts once a segment (``zeros="cell"``),
    so a segment may have a mean where a published rule drops rows. ``labels``: says which questions to read;
    ``ratings``: the table of ratings (``total.csv``), that of a study read as its labels say.
    Raises `RatingError` (what reading the table raises: ``wrong-columns`` where it lacks a question);
    `DatasetError` (``other-data`` for a table that the labels were not made from).
    """
    columns = [dimension.column for dimension in labels.dimensions]
    study = labels.source.get("study")
    table = read_ratings(ratings) if study is None else read_study(ratings, StudyOptions(**study))
    if study is not None and table.digest != labels.source.get("sha256"):
        raise DatasetError("other-data", "the labels were made from another table of ratings", path=ratings)
    means, _ = make_labels(table, LabelOptions(label="mean", columns=columns, zeros="cell"))
    empty = np.full(len(columns), np.nan)
    at = {name: i for i, name in enumerate(means.ids)}
    rows = [at.get(name) for name in examples.ids.tolist()]
    counts = np.zeros(means.values.shape) if means.n_raters is None else means.n_raters
    return replace(
        examples,
        means=np.stack([empty if i is None else means.values[i] for i in rows]),
        raters=np.array([0.0 if i is None else counts[i].mean() for i in rows]),
    )
