"""POP909: melody extraction (ME) and velocity estimation (VE).

Two layouts: the songs as published (``<NNN>/<NNN>.mid``, ``beat_audio.txt`` and ``beat_midi.txt``), put on
the grid of their beats as in `musicbert.corpus.readers.beats`; or the result of that,
``{train,valid,test}/<NNN>.mid`` (MIDI-BERT's ``pop909_processed``). Tracks 0, 1, 2 are vocal melody, bridge
and piano: classes 1, 2, 3 of ``melody``. ``velocity`` is the class of MIDI velocity, 1-6, bounds 32, 48, 64,
80 and 96.

In the published notes (``compatible=True``) tracks follow one another, so that among notes that begin
together the melody comes first: in the test part it does in every case, while it is the highest note in 80 %
of them. A program of 0, 1 or 2 gives it away too. Here notes are sorted by onset, pitch and offset with ties
in random order, all on one track of program 0, and the velocity that is to be estimated is 64 throughout.

``published`` and ``clean`` are the same songs (693, 86, 86).
"""

from dataclasses import replace
from functools import partial
from hashlib import sha256

import numpy as np

from musicbert.annotation.folds import PARTS
from musicbert.arrays import Ints
from musicbert.corpus.readers.beats import align_to_beats, read_beats
from musicbert.corpus.readers.contract import Item, Loaded, Source
from musicbert.corpus.readers.files import SourceFiles
from musicbert.corpus.readers.published import pop909_part
from musicbert.errors import DatasetError
from musicbert.midi import Score, read_score

_PROCESSED = r"(?:^|/)(?P<part>train|valid|test)/(?P<song>\d{3})\.mid$"
_RAW = r"(?:^|/)(?P<song>\d{3})/(?P=song)\.mid$"
_BEATS = r"(?:^|/)\d{3}/beat_(?:audio|midi)\.txt$"
TRACKS = 3
VELOCITY_BOUNDS = (0, 32, 48, 64, 80, 96, 128)
_HIDDEN_VELOCITY = 64


def velocity_class(velocity: Ints) -> Ints:
    """Return the published class of MIDI velocities [shape=(n,), int64, 1-6]."""
    return np.searchsorted(VELOCITY_BOUNDS, velocity, side="right").astype(np.int64)


def neutral_order(score: Score, seed: str) -> Ints:
    """Order of notes that says nothing but onset, pitch and offset [shape=(n,)]; the seed decides ties."""
    digest = int.from_bytes(sha256(seed.encode()).digest()[:8], "little")
    ties = np.random.default_rng(digest).random(len(score))
    return np.lexsort((ties, score.offset, score.pitch, score.onset))


def _items(files: SourceFiles, compatible: bool) -> list[Item]:
    items = []
    processed = files.find(_PROCESSED)
    for match in processed:
        song, path = match["song"], match.string
        splits = {"published": match["part"], "clean": match["part"]}
        items.append(Item(song, path, song, splits, partial(_load, files, path, song, compatible)))
    if items:
        return items
    layout = "<NNN>/<NNN>.mid with beat_audio.txt, or {train,valid,test}/<NNN>.mid"
    for match in files.require(_RAW, layout):
        song, path = match["song"], match.string
        part = pop909_part(int(song))
        splits = {"published": part, "clean": part} if part in PARTS else {}
        items.append(Item(song, path, song, splits, partial(_load_raw, files, path, song, compatible)))
    return items


def _load(files: SourceFiles, path: str, song: str, compatible: bool) -> list[Loaded]:
    return [_labelled(read_score(files.read(path), name=path), path, song, compatible)]


def _load_raw(files: SourceFiles, path: str, song: str, compatible: bool) -> list[Loaded]:
    folder = path.rpartition("/")[0]
    audio, midi = (read_beats(files.text(f"{folder}/beat_{kind}.txt"), path) for kind in ("audio", "midi"))
    score = align_to_beats(read_score(files.read(path), name=path), audio, midi)
    return [_labelled(score, path, song, compatible)]


def _labelled(score: Score, path: str, song: str, compatible: bool) -> Loaded:
    if score.track.max() >= TRACKS:
        raise DatasetError("bad-tracks", f"More than the {TRACKS} tracks vocal, bridge and piano", path=path)
    melody, velocity = score.track + 1, velocity_class(score.velocity)
    if compatible:
        return song, score, {"melody": melody, "velocity": velocity}
    order = neutral_order(score, song)
    nothing = np.zeros(len(score), np.int64)
    notes = replace(
        score,
        onset=score.onset[order],
        offset=score.offset[order],
        pitch=score.pitch[order],
        velocity=np.full(len(score), _HIDDEN_VELOCITY, np.int64),
        program=nothing,
        drum=nothing.astype(np.bool_),
        track=nothing,
    )
    return song, notes, {"melody": melody[order], "velocity": velocity[order]}


POP909 = Source(
    name="pop909",
    about="909 pop songs for piano with vocal melody, bridge and accompaniment",
    origin="github.com/music-x-lab/POP909-Dataset",
    licence="MIT",
    layout="<NNN>/{<NNN>.mid,beat_audio.txt,beat_midi.txt}, or {train,valid,test}/<NNN>.mid",
    wanted=rf"{_PROCESSED}|{_BEATS}|(?:^|/)\d{{3}}/\d{{3}}\.mid$".replace("(?P<part>", "(?:").replace(
        "(?P<song>", "(?:"
    ),
    items=_items,
)
