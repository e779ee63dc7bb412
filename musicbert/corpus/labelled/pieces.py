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

    ``labels`` of notes are [shape=(n_notes,), int64, `NO_CLASS` where missing] or [shape=(n_notes,), float64,
    NaN where missing], in the order of ``notes``; the label of a piece is an int, a float, or an array
    [shape=(classes,)] (multi-hot, or several numbers).
    """

    name: str  # unique in its set
    notes: Score | BeatNotes
    group: str  # a clean split never divides a group (composition, song, near-duplicates)
    labels: Mapping[str, Any]  # by label name
    #: by name of a split (such as ``published``): the part (train, valid, test) or the fold number as text
    splits: Mapping[str, str] = field(default_factory=dict)
    source: str = ""  # file or archive entry it came from, for messages
    programs_elsewhere: int | None = None  # see `musicbert.corpus.files.ledger.Outcome`


@dataclass(frozen=True)
class Task:
    """What is to be learned from the labels of one name."""

    name: str  # on the command line, such as ``melody``
    label: str  # key in `LabelledPiece.labels`
    level: Level
    kind: Kind
    classes: tuple[str, ...]  # names of the classes (of the outputs, for regression)
    metric: str  # the score that selects the checkpoint and that is reported first
    ignore: tuple[int, ...] = ()  # classes that are neither trained on nor scored
    splits: Mapping[str, str] = field(default_factory=dict)  # name -> how it leaks; empty if it does not
    seeds: tuple[int, ...] = (2021,)  # of the published protocol
