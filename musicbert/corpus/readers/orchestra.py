"""Orchestral texture (OTC): 18 symphony movements of Haydn, Mozart and Beethoven, 242 parts.

``scores_midi/<movement>.mid``, one track a part, and ``annotations/<movement>.npy`` [shape=(bars, parts, 3),
bool: melody, rhythm, harmony]. Every part is a piece of its own. A note has the class of its bar,
4 melody + 2 rhythm + 1 harmony; 0 is no role, which is neither trained on nor scored.

Bars: ``dbeats/<movement>.csv`` (column onset, quarter notes), which no public repository holds, or else the
time signatures of the MIDI file, which give the same bars. Each is stretched to 4 beats. ``published`` and
``clean`` are the same, whole movements.
"""

import io
from functools import partial

import numpy as np

from musicbert.arrays import Bools, Floats
from musicbert.corpus.readers.beats import times_to_beats
from musicbert.corpus.readers.contract import Item, Loaded, Source
from musicbert.corpus.readers.files import SourceFiles
from musicbert.encoding.beat_notes import BEATS_PER_BAR, BeatNotes
from musicbert.errors import DatasetError
from musicbert.midi import Score, read_score

_MIDI = r"(?:^|/)scores_midi/(?P<name>[^/]+)\.mid$"
_TEST = ("k504-1", "hob099-1", "beethoven_op21-1")
_VALID = ("k543-1", "hob100-1", "beethoven_op36-1")
ROLES = 3


def bar_lines(score: Score, bars: int) -> Floats:
    """Beginnings of bars, and the end of the last, by the time signatures of a score (4/4 where it has none).

    A change of metre within a bar begins a new one. Returns [shape=(bars + 1,), float64, quarter notes].
    """
    ticks = list(score.metre_tick / score.ticks_per_beat)
    lengths = list(4.0 * score.metre_numerator / score.metre_denominator)
    if not ticks or ticks[0] > 0:
        ticks, lengths = [0.0, *ticks], [4.0, *lengths]
    lines: list[float] = []
    for start, length, stop in zip(ticks, lengths, [*ticks[1:], np.inf], strict=True):
        left = bars + 1 - len(lines)
        within = left if np.isinf(stop) else min(left, int(np.ceil((stop - start) / length - 1e-9)))
        lines.extend(start + length * np.arange(max(within, 0)))
    return np.array(lines, np.float64)


def _items(files: SourceFiles, _compatible: bool) -> list[Item]:
    items = []
    for match in files.require(_MIDI, "scores_midi/<movement>.mid"):
        name, path = match["name"], match.string
        part = "test" if name in _TEST else "valid" if name in _VALID else "train"
        splits = {"published": part, "clean": part}
        items.append(Item(name, path, name, splits, partial(_load, files, path, name)))
    return items


def _load(files: SourceFiles, path: str, name: str) -> list[Loaded]:
    folder = path.rpartition("scores_midi/")[0]
    roles = _roles(files, f"{folder}annotations/{name}.npy")
    score = read_score(files.read(path), name=path)
    if score.track.max() >= roles.shape[1]:
        raise DatasetError("bad-annotation", f"Annotations of {roles.shape[1]} parts, more tracks", path=path)
    lines = _lines(files, f"{folder}dbeats/{name}.csv", score, len(roles))
    classes = roles @ np.array([4, 2, 1])  # (bars, parts)
    pieces: list[Loaded] = []
    for part in np.unique(score.track):
        of = np.flatnonzero(score.track == part)
        of = of[np.lexsort((score.pitch[of], score.onset[of]))]
        onset, offset = (
            times_to_beats(times[of] / score.ticks_per_beat, lines) for times in (score.onset, score.offset)
        )
        bar = np.floor(onset / BEATS_PER_BAR).astype(np.int64)
        known = (bar >= 0) & (bar < len(classes))
        texture = np.where(known, classes[np.clip(bar, 0, len(classes) - 1), part], 0)
        notes = BeatNotes(onset, offset, score.pitch[of], score.velocity[of])
        pieces.append((f"{name}/{part:02d}", notes, {"texture": texture.astype(np.int64)}))
    return pieces


def _roles(files: SourceFiles, path: str) -> Bools:
    try:
        roles = np.load(io.BytesIO(files.read(path)), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise DatasetError("bad-annotation", f"The annotation cannot be read: {error}", path=path) from error
    if roles.ndim != 3 or roles.shape[2] != ROLES or not len(roles):
        raise DatasetError("bad-annotation", f"Not an array of bars, parts and {ROLES} roles", path=path)
    return roles.astype(np.bool_)  # type: ignore[no-any-return]


def _lines(files: SourceFiles, path: str, score: Score, bars: int) -> Floats:
    if path not in files:
        return bar_lines(score, bars)
    import pandas as pd  # slow to import, and many callers read no table

    lines = pd.read_csv(io.BytesIO(files.read(path)))["onset"].to_numpy(np.float64)
    return np.append(lines, 2 * lines[-1] - lines[-2])  # the last bar is as long as the one before


ORCHESTRA = Source(
    name="orchestra",
    about="roles of the parts in 18 symphony movements",
    origin="github.com/YaHsuanChu/orchestraTextureClassification, annotations by Le et al. 2022",
    licence="none stated in the repository",
    layout="scores_midi/<movement>.mid, annotations/<movement>.npy[, dbeats/<movement>.csv]",
    wanted=r"(?:^|/)(?:scores_midi/[^/]+\.mid|annotations/[^/]+\.npy|dbeats/[^/]+\.csv)$",
    items=_items,
    versions=False,
)
