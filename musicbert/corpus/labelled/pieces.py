"""Pieces with labels: what every reader of a downstream task yields, and how a task is described.

A reader (``corpus/readers/``, one file a source) yields `LabelledPiece`; everything after it (encoding,
shards, training, scores) sees only these. A label of a note is joined to a token through the index of the
note, never by running position, so it cannot shift when an encoding sorts or drops notes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from musicbert.encoding.beat_notes import BeatNotes
from musicbert.midi import Score

#: what carries a label: each note, or the piece (a segment of it) as a whole
Level = Literal["note", "sequence"]
#: one class of several; any number of classes; numbers
Kind = Literal["classes", "multilabel", "regression"]

#: a label that is not there (not scored, not trained on)
NO_CLASS = -1


@dataclass(frozen=True, eq=False)
class LabelledPiece:
    """One piece of a downstream task.

    Attributes
    ----------
    name
        Unique in its set.
    notes
        The music: a `Score` (ticks), or `BeatNotes`.
    group
        What may not lie in two parts of a clean split (composition, song, near-duplicates).
    labels
        By label name: for notes [shape=(n_notes,), int64, `NO_CLASS` where missing] or [shape=(n_notes,),
        float64, NaN where missing], in the order of ``notes``; for the piece an int, a float, or an array
        [shape=(classes,)] (multi-hot, or several numbers).
    splits
        By name of a split (such as ``published``): the part (``train``, ``valid``, ``test``) or the fold
        number as text. A split that leaks says so in the task's ``splits``.
    source
        File or archive entry it came from, for messages.
    """

    name: str
    notes: Score | BeatNotes
    group: str
    labels: Mapping[str, Any]
    splits: Mapping[str, str] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True)
class Task:
    """What is to be learned from the labels of one name.

    Attributes
    ----------
    name
        Name on the command line, such as ``melody``.
    label
        Key in `LabelledPiece.labels`.
    level, kind
        See `Level` and `Kind`.
    classes
        Names of the classes (of the outputs, for regression).
    metric
        Name of the score that selects and that is reported first.
    ignore
        Classes that are neither trained on nor scored.
    splits
        Name of each split and, where it leaks, how (empty text where it does not).
    seeds
        Seeds of the published protocol.
    """

    name: str
    label: str
    level: Level
    kind: Kind
    classes: tuple[str, ...]
    metric: str
    ignore: tuple[int, ...] = ()
    splits: Mapping[str, str] = field(default_factory=dict)
    seeds: tuple[int, ...] = (2021,)
