"""Labels, features and ratings joined by the names of segments: what baselines are fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from os import PathLike

import numpy as np
from numpy.typing import NDArray

from musicbert.annotation.content import EIGHT_BAR_PARTS, LITERAL_REPEATS, content_groups
from musicbert.annotation.label_map import LabelMap
from musicbert.annotation.labels import LabelOptions, make_labels
from musicbert.annotation.names import SegmentName, parse_segment
from musicbert.annotation.table import read_ratings
from musicbert.errors import DatasetError, RatingError
from musicbert.evaluation.baselines.examples import Examples

__all__ = ["load_examples", "rater_means", "same_bars"]

Floats = NDArray[np.float64]


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
) -> Examples:
    """Join labels and features by id, in the order of the label map.

    Parameters
    ----------
    labels
        Label map.
    table
        id -> features [shape=(k,)], of segments without labels, too.
    score_table
        id -> features against the score [shape=(j,)]; where there are any, the examples have the further
        inputs ``score`` and ``peers``.

    Raises
    ------
    DatasetError
        ``no-match`` where no labelled id has features.
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
        unknown = np.full(len(next(iter(score_table.values()))), np.nan)
        more["score"] = np.stack([score_table.get(name, unknown) for name in ids])
        more["peers"] = _against_peers(ids, table)
    names = [parse_segment(name) for name in ids]
    groups = content_groups(ids)
    content = np.array([groups[name] for name in ids])
    return Examples(
        ids=np.array(ids),
        features=np.stack([table[name] for name in ids]),
        labels=mine.values,
        class_of=mine.class_of,
        n_classes=len(mine.classes),
        groups=content,
        identities={
            "performer": np.array([f"{n.work} {n.performer}" for n in names]),
            "piece": np.array([n.piece for n in names]),
            "bars": np.array([same_bars(n) for n in names]),
        },
        more=more,
        dimensions=tuple(dimension.name for dimension in mine.dimensions),
        classes=mine.classes,
    )


def rater_means(examples: Examples, labels: LabelMap, ratings: str | PathLike[str]) -> Examples:
    """Add the plain mean of all ratings of each label, and the number of raters.

    Unanswered questions are masked one by one and every annotator counts once a segment (``zeros="cell"``),
    so a segment may have a mean where a published rule drops rows.

    Parameters
    ----------
    examples
        Examples made from ``labels``.
    labels
        Label map; its dimensions say which questions to read.
    ratings
        The table of ratings (``total.csv``).

    Raises
    ------
    RatingError
        What reading the table raises: ``wrong-columns`` where it lacks a question.
    """
    columns = [dimension.column for dimension in labels.dimensions]
    means, _ = make_labels(read_ratings(ratings), LabelOptions(label="mean", columns=columns, zeros="cell"))
    empty = np.full(len(columns), np.nan)
    at = {name: i for i, name in enumerate(means.ids)}
    rows = [at.get(name) for name in examples.ids.tolist()]
    counts = np.zeros(means.values.shape) if means.n_raters is None else means.n_raters
    return replace(
        examples,
        means=np.stack([empty if i is None else means.values[i] for i in rows]),
        raters=np.array([0.0 if i is None else counts[i].mean() for i in rows]),
    )
