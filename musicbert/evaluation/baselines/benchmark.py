"""Baselines of the benchmark tasks: rules and tables of single notes, models on features of whole pieces.

A rule is a function ``fit(train, task) -> predict(piece)``: from labelled pieces to what gives a class to
each note of a piece (or to the piece). `baselines_of` says which baselines make sense for which task.

majority
    The most frequent class of training.
always
    For every note the class whose F1 is the score.
pitch, pitch+position, pitch+duration, position
    The most frequent class of training among notes of this pitch (and sixteenth of the bar, and duration).
previous
    The true label of the note before: how much longer labels last than a note. No fair comparison: it sees
    the true labels.
skyline
    Melody: the highest of the notes that begin together, the rest is piano.
order
    Melody, from the order of notes alone: where notes that begin together are listed track by track, each in
    rising pitch, a falling step is a new track. It works on the published order and on no other.
bass
    Chord root: the most frequent root of training above this lowest pitch class of the last beat.
key
    Local key: the best Krumhansl-Kessler profile (Krumhansl, "Cognitive Foundations of Musical Pitch", 1990)
    for the pitch classes of nine bars around the note.
centroid
    Pieces: the class with the nearest mean of pitch-class shares, pitch height, spread, density and duration.
logistic, extra_trees, svm, ensemble
    Pieces: models of `musicbert.evaluation.baselines.models` on the hand-made features of the whole piece
    (`musicbert.features`), and on its instruments where the pieces have several.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from musicbert.arrays import Floats, Ints
from musicbert.corpus.labelled.contract import LabelledSet
from musicbert.corpus.labelled.pieces import LabelledPiece, Task
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes, beat_notes_to_score
from musicbert.encoding.note_columns import note_columns as row_columns
from musicbert.errors import MidiError
from musicbert.evaluation.baselines.models import fit_outputs
from musicbert.evaluation.baselines.regressors import Examples
from musicbert.evaluation.metrics.benchmark import SIXTEENTHS
from musicbert.features import FEATURES, features
from musicbert.features.pitch import MAJOR, MINOR

Predict = Callable[[LabelledPiece], Any]
Fit = Callable[[Sequence[LabelledPiece], Task], Predict]
#: (training pieces, pieces to predict, task) -> classes of the notes of each piece, or the class of each
Baseline = Callable[[Sequence[LabelledPiece], Sequence[LabelledPiece], Task], list[Any]]
#: models of whole pieces, keys of `musicbert.evaluation.baselines.models.MODELS`
PIECE_MODELS = ("logistic", "extra_trees", "svm", "ensemble")
_DRUMS = 128

MELODY, BRIDGE, PIANO = 1, 2, 3
_AROUND_BARS = 4
_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def note_columns(piece: LabelledPiece) -> dict[str, Any]:
    """Return onset and offset in quarter notes (four a bar), pitch, position and duration in sixteenths."""
    notes = piece.notes
    unit = 1.0 if isinstance(notes, BeatNotes) else float(notes.ticks_per_beat)
    onset, offset = notes.onset / unit, notes.offset / unit
    steps = SIXTEENTHS // BEATS_PER_BAR
    return {
        "onset": onset,
        "offset": offset,
        "pitch": notes.pitch,
        "position": np.rint(onset * steps).astype(np.int64) % SIXTEENTHS,
        "duration": np.clip(np.rint((offset - onset) * steps), 0, 2 * SIXTEENTHS).astype(np.int64),
    }


def _most_frequent(counts: Counter[Any], default: int = 0) -> int:
    """Most frequent key, the smallest among equals."""
    return int(min(counts, key=lambda key: (-counts[key], key))) if counts else default


def majority(train: Sequence[LabelledPiece], task: Task) -> Predict:
    """Fit the most frequent class."""
    counts: Counter[int] = Counter()
    for piece in train:
        labels = np.atleast_1d(piece.labels[task.label])
        counts.update(int(label) for label in labels if label >= 0 and label not in task.ignore)
    best = _most_frequent(counts)
    return lambda piece: np.full(len(piece.notes), best) if task.level == "note" else best


def always(_train: Sequence[LabelledPiece], task: Task) -> Predict:
    """Nothing is fitted: every note gets the class whose F1 is the score."""
    wanted = task.classes.index(task.metric.removeprefix("f1:"))
    return lambda piece: np.full(len(piece.notes), wanted)


def lookup(*columns: str) -> Fit:
    """Return the fit of a table over columns; cells without training notes use the first column alone."""

    def keys(piece: LabelledPiece, names: Sequence[str]) -> list[tuple[int, ...]]:
        table = note_columns(piece)
        return list(zip(*(table[name].tolist() for name in names), strict=True))

    def fit(train: Sequence[LabelledPiece], task: Task) -> Predict:
        tables: list[tuple[Sequence[str], dict[Any, int]]] = []
        for names in (columns, columns[:1]):
            counts: defaultdict[Any, Counter[int]] = defaultdict(Counter)
            for piece in train:
                for key, label in zip(keys(piece, names), piece.labels[task.label].tolist(), strict=True):
                    if label >= 0 and label not in task.ignore:
                        counts[key][label] += 1
            tables.append((names, {key: _most_frequent(count) for key, count in counts.items()}))
        rest = majority(train, task)

        def predict(piece: LabelledPiece) -> Ints:
            result = rest(piece)
            for names, table in reversed(tables):
                result = np.array(
                    [table.get(key, old) for key, old in zip(keys(piece, names), result, strict=True)],
                    np.int64,
                )
            return np.asarray(result, np.int64)

        return predict

    return fit


def previous(train: Sequence[LabelledPiece], task: Task) -> Predict:
    """Fit the true label of the note before; the first note has the most frequent one."""
    first = majority(train, task)

    def predict(piece: LabelledPiece) -> Ints:
        order = np.lexsort((piece.notes.pitch, piece.notes.onset))
        labels = np.asarray(piece.labels[task.label])[order]
        result = np.empty(len(order), np.int64)
        result[order] = np.concatenate([first(piece)[:1], labels[:-1]])
        return result

    return predict


def skyline(_train: Sequence[LabelledPiece], _task: Task) -> Predict:
    """Nothing is fitted: the highest of the notes that begin together is the melody."""

    def predict(piece: LabelledPiece) -> Ints:
        onset, pitch = piece.notes.onset, piece.notes.pitch
        order = np.lexsort((pitch, onset))
        last = np.append(np.diff(onset[order]) != 0, True)
        result = np.full(len(order), PIANO, np.int64)
        result[order[last]] = MELODY
        return result

    return predict


def note_order(_train: Sequence[LabelledPiece], _task: Task) -> Predict:
    """Nothing is fitted: among notes that begin together, a falling step of the list is a new track."""

    def predict(piece: LabelledPiece) -> Ints:
        onset, pitch = piece.notes.onset, piece.notes.pitch
        by_track = np.zeros(len(onset), np.int64) if isinstance(piece.notes, BeatNotes) else piece.notes.track
        # the published program sorts each track by onset and pitch, then all by onset
        order = np.lexsort((pitch, by_track, onset)) if by_track.any() else np.argsort(onset, kind="stable")
        result = np.empty(len(order), np.int64)
        starts = np.flatnonzero(np.append(True, np.diff(onset[order]) != 0))
        for start, stop in zip(starts, np.append(starts[1:], len(order)), strict=True):
            group = order[start:stop]
            track = np.concatenate([[0], np.cumsum(np.diff(pitch[group]) < 0)])
            tracks = int(track[-1]) + 1
            names = {1: [PIANO], 2: [MELODY, PIANO]}.get(tracks, [MELODY, BRIDGE] + [PIANO] * (tracks - 2))
            result[group] = np.array(names)[track]
        return result

    return predict


def bass(train: Sequence[LabelledPiece], task: Task) -> Predict:
    """Fit the most frequent class above each lowest pitch class of a beat."""

    def lowest(piece: LabelledPiece) -> Ints:
        table = note_columns(piece)
        beat = np.floor(table["onset"] + 1e-6).astype(np.int64)
        _, where = np.unique(beat, return_inverse=True)
        low = np.full(where.max() + 1, 128)
        np.minimum.at(low, where, table["pitch"])
        return np.asarray(low[where] % 12)

    counts = np.zeros((12, len(task.classes)), np.int64)
    for piece in train:
        labels = np.asarray(piece.labels[task.label])
        np.add.at(counts, (lowest(piece)[labels >= 0], labels[labels >= 0]), 1)
    best = counts.argmax(axis=1)
    return lambda piece: best[lowest(piece)]


def key_profile(train: Sequence[LabelledPiece], task: Task) -> Predict:
    """Fit the spelling of each of the 24 keys; the profile decides which it is."""
    spelling = np.zeros((2, 12), np.int64)
    seen: Counter[int] = Counter()
    for piece in train:
        seen.update(np.asarray(piece.labels[task.label]).tolist())
    for number, _ in sorted(seen.items(), key=lambda item: item[1]):
        name = task.classes[number]
        if name[0].upper() in _NATURALS and name != "none":
            tonic = (_NATURALS[name[0].upper()] + name.count("#") - name.count("-")) % 12
            spelling[int(name[0].islower()), tonic] = number
    profiles = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])
    profiles = (profiles - profiles.mean(axis=1, keepdims=True)) / profiles.std(axis=1, keepdims=True)

    def predict(piece: LabelledPiece) -> Ints:
        table = note_columns(piece)
        bar = np.floor(table["onset"] / BEATS_PER_BAR + 1e-6).astype(np.int64)
        bar -= bar.min()
        shares = np.zeros((bar.max() + 1, 12))
        np.add.at(shares, (bar, table["pitch"] % 12), table["offset"] - table["onset"])
        total = np.cumsum(np.concatenate([np.zeros((1, 12)), shares]), axis=0)
        at = np.arange(len(shares))
        around = (
            total[np.minimum(at + _AROUND_BARS + 1, len(shares))] - total[np.maximum(at - _AROUND_BARS, 0)]
        )
        key = (around @ profiles.T).argmax(axis=1)
        return np.asarray(spelling.reshape(-1)[key][bar])

    return predict


def centroid(train: Sequence[LabelledPiece], task: Task) -> Predict:
    """Fit the mean of a few features of each class; the nearest is the class of a piece."""

    def features(piece: LabelledPiece) -> Floats:
        table = note_columns(piece)
        length = max(float(table["offset"].max() - table["onset"].min()), 1e-9)
        share = np.bincount(table["pitch"] % 12, minlength=12) / len(table["pitch"])
        duration = table["offset"] - table["onset"]
        rest = [table["pitch"].mean(), table["pitch"].std(), np.median(duration)]
        rest += [np.log(len(table["pitch"]) / length), duration.mean(), piece.notes.velocity.std()]
        return np.concatenate([share, rest])

    table = np.stack([features(piece) for piece in train])
    middle, spread = table.mean(axis=0), np.maximum(table.std(axis=0), 1e-9)
    classes = np.array([int(piece.labels[task.label]) for piece in train])
    known = np.unique(classes)
    means = np.stack([((table - middle) / spread)[classes == value].mean(axis=0) for value in known])

    def predict(piece: LabelledPiece) -> int:
        distance = np.linalg.norm(means - (features(piece) - middle) / spread, axis=1)
        return int(known[distance.argmin()])

    return predict


_NOTES: dict[str, Fit] = {
    "majority": majority,
    "pitch": lookup("pitch"),
    "pitch+position": lookup("pitch", "position"),
    "pitch+duration": lookup("pitch", "duration"),
    "position": lookup("position"),
    "previous": previous,
}
#: baselines of a single task
BASELINES: dict[str, dict[str, Fit]] = {
    "melody": {"skyline": skyline, "order": note_order},
    "chordroot": {"bass": bass},
    "localkey": {"key": key_profile},
}


def instruments(program: Ints) -> Floats:
    """Share of the notes of each program, drums last, and which there are [shape=(258,)]."""
    share = np.bincount(program, minlength=_DRUMS + 1) / max(len(program), 1)
    return np.concatenate([share, share > 0])


def piece_features(pieces: Sequence[LabelledPiece]) -> dict[str, Floats]:
    """Return by name what the models of whole pieces see [shape=(k,), NaN where undefined]."""
    playing, programs = {}, {}
    for piece in pieces:
        notes = piece.notes
        score = beat_notes_to_score(notes) if isinstance(notes, BeatNotes) else notes
        try:
            playing[piece.name] = features(score)
        except MidiError:  # no pitched note
            playing[piece.name] = np.full(len(FEATURES), np.nan)
        programs[piece.name] = np.where(score.drum, _DRUMS, score.program)
    return with_instruments(playing, programs)


def features_of(shards: LabelledSet) -> dict[str, Floats] | None:
    """Return by name what models of whole pieces see; None where a set has no features."""
    table = shards.features()
    if table is None:
        return None
    columns = (row_columns(shards.rows(number), shards.codec) for number in range(len(shards)))
    programs = {name: notes.program for name, notes in zip(shards.names, columns, strict=True)}
    return with_instruments(dict(zip(shards.names, table, strict=True)), programs)


def with_instruments(playing: dict[str, Floats], programs: Mapping[str, Ints]) -> dict[str, Floats]:
    """Put the instruments of each piece beside its features, where the pieces have several."""
    if len(np.unique(np.concatenate([*programs.values(), np.zeros(0, np.int64)]))) < 2:
        return playing
    return {name: np.concatenate([values, instruments(programs[name])]) for name, values in playing.items()}


def rule(fit: Fit) -> Baseline:
    """Return the baseline of a rule (see the module)."""

    def run(train: Sequence[LabelledPiece], test: Sequence[LabelledPiece], task: Task) -> list[Any]:
        predict = fit(train, task)
        return [predict(piece) for piece in test]

    return run


def _model(name: str, table: Mapping[str, Floats]) -> Baseline:
    def run(train: Sequence[LabelledPiece], test: Sequence[LabelledPiece], task: Task) -> list[int]:
        pieces = [*train, *test]
        examples = Examples(
            label=task.label,
            kind=task.kind,
            classes=task.classes,
            features=np.stack([table[piece.name] for piece in pieces]),
            target=np.array([int(piece.labels[task.label]) for piece in pieces]),
            groups=np.array([piece.group for piece in pieces], np.str_),
            ids=np.array([piece.name for piece in pieces], np.str_),
        )
        first, second = np.split(np.arange(len(pieces)), [len(train)])
        return [int(guess) for guess in fit_outputs(name, examples, first, second).argmax(axis=1)]

    return run


def baselines_of(task: Task, table: Mapping[str, Floats] | None = None) -> dict[str, Baseline]:
    """Return the baselines of a task, by name.

    ``table``: features of each piece by its name (`piece_features`), for models of whole pieces.
    """
    if task.level == "sequence":
        models = {} if table is None else {name: _model(name, table) for name in PIECE_MODELS}
        return {"majority": rule(majority), "centroid": rule(centroid), **models}
    rules = {**_NOTES, **BASELINES.get(task.name, {})}
    if task.metric.startswith("f1:"):
        rules = {"always": always, **rules}
    return {name: rule(fit) for name, fit in rules.items()}
